"""Confidence: calibration, temperature scaling and selective prediction."""
