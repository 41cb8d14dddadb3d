"""The checks of published figures: whether they are possible and consistent with each other."""
