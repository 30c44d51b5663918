"""Where the faces are, and how each is cut out: detectors behind one contract, and the one crop function."""
