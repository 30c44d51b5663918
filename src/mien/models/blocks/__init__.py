"""What networks are put together from, and how they are counted and drawn; no networks themselves."""
