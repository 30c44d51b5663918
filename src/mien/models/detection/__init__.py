"""Architectures of face detectors, one file each."""
