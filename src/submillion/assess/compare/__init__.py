"""Comparison of runs on the same rows."""
