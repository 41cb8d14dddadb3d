"""Fitting: the training loop, its optimizer, checkpoints, early stopping, tracking and progress."""
