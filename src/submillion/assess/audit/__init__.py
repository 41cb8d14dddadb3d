"""Audit: counterfactual word swaps, subgroups, and texts outside the domain."""
