"""Commands that measure every number in README and documentation, with the programs they are compared to."""
