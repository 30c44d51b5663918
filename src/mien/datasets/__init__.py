"""Data sets: samples, the store that keeps them, and the builders of published data sets."""

from mien.datasets.samples import Samples

__all__ = ["Samples"]
