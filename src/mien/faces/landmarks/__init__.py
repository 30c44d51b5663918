"""Dense landmarks of found faces."""
