"""The types of the JSON files in a run directory."""
