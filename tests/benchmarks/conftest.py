"""The tiny model, its run and its data."""

from tests.tiny import tiny_model, tiny_run, tiny_samples

__all__ = ["tiny_model", "tiny_run", "tiny_samples"]
