"""The budget: what a configuration trains, counted from the encoder's config alone, and what fits best."""
