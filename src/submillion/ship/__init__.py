"""Inference with a finished run: labels for the texts of a file."""
