"""Baselines on the same rows: a constant answer, a linear model of words and a linear probe."""
