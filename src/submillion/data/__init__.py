"""Labelled texts: read, checked, split, turned into tokens and batches."""
