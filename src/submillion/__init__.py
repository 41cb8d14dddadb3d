"""submillion: the best text classifier that fits in a million trainable parameters, with proof."""

__version__ = "0.1.0"
