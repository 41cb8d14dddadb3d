"""The checks of published figures: whether they can be true and agree with each other."""
