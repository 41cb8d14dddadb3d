"""The encoder families: where transformers keeps their modules, and how many parameters those have."""
