"""Studies: many runs of one recipe, planned, trained on one machine or many, continued, and judged."""
