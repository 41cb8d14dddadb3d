"""What a user does without submillion: plain transformers and peft."""
