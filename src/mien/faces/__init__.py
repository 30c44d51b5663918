"""Finds faces and crops them: detectors with one contract, and one place that aligns."""
