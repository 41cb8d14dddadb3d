"""Verification of claims: those of a run, recomputed from its files, and published ones, checked by arithmetic."""
