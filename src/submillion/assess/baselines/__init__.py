"""Baselines: the majority class, a linear model of TF-IDF features, and a linear probe."""
