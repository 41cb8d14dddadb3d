"""The terminal: text that cannot control it, progress bars and plain-text tables."""
