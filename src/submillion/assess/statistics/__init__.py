"""Statistics of scores: bootstrap intervals, paired tests, variation over seeds and groups of rows."""
