"""What a finished run is for: answering about new texts."""
