"""Data quality: near-duplicates across splits and labels that look wrong."""
