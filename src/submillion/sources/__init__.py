"""Where bytes come from: catalog, package registry, hub, folders and files; all proven by sha256."""
