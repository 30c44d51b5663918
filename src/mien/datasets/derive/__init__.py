"""Data sets made from others with the help of trained models: soft targets, crops of a detector."""
