"""The checks of one run: everything it reports, recomputed from its own files."""
