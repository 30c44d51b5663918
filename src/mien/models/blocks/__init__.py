"""The parts that architectures are built from, and how networks are counted and drawn."""
