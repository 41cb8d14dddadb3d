"""Data quality: near-duplicates, and labels that look wrong."""
