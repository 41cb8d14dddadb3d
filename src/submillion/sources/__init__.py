"""Sources of encoders and data: catalog, package registry, hub, folders and files, all checked by sha256."""
