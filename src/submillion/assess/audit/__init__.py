"""The audit: counterfactual word swaps, subgroups and texts from outside the domain."""
