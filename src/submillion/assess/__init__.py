"""Scores and analysis of a run, computed from its saved predictions."""
