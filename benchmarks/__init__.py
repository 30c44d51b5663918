"""Measurements: run as `python -m benchmarks.<name>`; what they print is committed in `results`."""
