"""Serves finished runs over HTTP, in the shapes that existing clients send and expect."""
