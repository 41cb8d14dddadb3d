"""A static folder that classifies in the visitor's browser, without a server."""
