"""The files that a desktop writes into every folder that it shows, without being asked: nobody's work."""

from __future__ import annotations

DESKTOP_FILES = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
"""Of macOS and of Windows; they hold views, thumbnails and icons of a folder."""
