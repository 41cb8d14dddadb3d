"""Sphinx configuration of the documentation; the build needs no network."""

from __future__ import annotations

import submillion

project = "submillion"
author = "the submillion developers"
copyright = "the submillion developers, Apache-2.0"
version = release = submillion.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns: list[str] = []
source_suffix = {".md": "markdown"}
highlight_language = "none"

myst_enable_extensions = ["colon_fence"]
smartquotes = False  # they would turn the dashes of options into one
myst_heading_anchors = 3

# Cross references to other projects would need their inventories from the network; only ours are resolved.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!submillion\b).*")]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"submillion {release}"
html_static_path = ["_static"]
html_css_files = ["submillion.css"]
html_copy_source = False
html_show_sphinx = False
# Furo's colours; links and the brand follow the report's blue.
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1b5e9b", "color-brand-content": "#1b5e9b"},
    "dark_css_variables": {"color-brand-primary": "#7db8f0", "color-brand-content": "#7db8f0"},
}
