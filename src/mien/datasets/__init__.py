"""Data sets: samples, the store that holds them, and builders that make stores of published data sets."""

from mien.datasets.samples import Samples

__all__ = ["Samples"]
