"""The checks of a run: everything that it reports is recomputed from its own files."""
