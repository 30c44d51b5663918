"""Stores made from stores."""
