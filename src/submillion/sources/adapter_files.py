"""The names in an adapter of peft: of its files, and of the tensors in them."""

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
HEAD = "head.safetensors"
"""The file of a head that reads the mean of the last states, which submillion writes beside peft's two."""
PREFIX = "base_model.model."
"""What peft puts before every name of the model that it wraps."""
