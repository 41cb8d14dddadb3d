"""The report of a run: figures, page and model card, made from the run directory alone."""
