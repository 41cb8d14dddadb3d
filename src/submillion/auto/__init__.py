"""`auto`, the default recipe: facts about data, encoder and machine, and the complete recipe that they decide."""
