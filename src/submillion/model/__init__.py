"""The classifier: builds, runs and saves the modules that transformers and peft define."""
