"""Studies: many runs of one recipe, trained on one or several machines and compared."""
