"""Sends a run to the Hugging Face hub: adapter, head, tokenizer, card and figures, and an export on request."""
