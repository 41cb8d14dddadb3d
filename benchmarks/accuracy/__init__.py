"""Accuracy under a million parameters: submillion and its rivals on the same rows of five data sets."""
