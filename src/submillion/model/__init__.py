"""The classifier: transformers and peft own modules and parameters; here they are built, run and saved."""
