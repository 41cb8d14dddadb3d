"""Sphinx configuration of the documentation; the build needs no network."""

from __future__ import annotations

from typing import Any

import submillion

project = "submillion"
author = "the submillion developers"
copyright = "the submillion developers, Apache-2.0"
version = release = submillion.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns: list[str] = []
source_suffix = {".md": "markdown"}
highlight_language = "none"
default_role = "code"  # single backticks in docstrings

myst_enable_extensions = ["colon_fence"]
smartquotes = False  # they would turn the dashes of options into one
myst_heading_anchors = 3

# Cross references to other projects would need their inventories from the network; only ours are resolved, and
# of the types in signatures those that are documented.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!submillion\b).*"), (r"py:class", r"submillion\.\w+\..*")]

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


def public_reference(app: Any, environment: Any, node: Any, content: Any) -> Any:
    """Resolve a type by the name under which the package exports it, e.g. `submillion.run.Run` by `submillion.Run`."""
    name = str(node.get("reftarget", "")).rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in submillion.__all__:
        return None
    target = f"submillion.{name}"
    domain = environment.domains["py"]
    return domain.resolve_xref(environment, node["refdoc"], app.builder, "obj", target, node, content)


def setup(app: Any) -> None:
    """Register the resolver."""
    app.connect("missing-reference", public_reference)
