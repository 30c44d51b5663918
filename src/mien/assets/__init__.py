"""Weights and what travels with them: the manifest, the store that finds and checks files, the ONNX session."""
