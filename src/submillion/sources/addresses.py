"""What to do about a source that nothing reads: a web address, or a pattern of file names."""

from __future__ import annotations

import re

# A scheme has two letters or more: `C:/x` is a path. A path that was made of an address has a single slash.
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?P<rest>.+)")
_ON_HUB = re.compile(r"(?:datasets/)?(?P<id>[\w.-]+(?:/[\w.-]+)?)(?:/(?:tree|blob|resolve|viewer)/.*)?/?")
_HUB_HOSTS = ("huggingface.co/", "www.huggingface.co/", "hf.co/")
_HUB_SCHEME = "hf"
_PATTERN = re.compile(r"[*?\[\]{}]")


def remedy_for(source: str, hub: bool = True) -> str:
    """Return what to name in place of an address or a pattern; an empty string for another source.

    Args:
        source: as the user named it, or as `pathlib.Path` wrote that; nothing that exists.
        hub: whether the id of a repository can be named in its place.

    Example:
        >>> remedy_for("https://huggingface.co/datasets/fancyzhx/ag_news")
        'On the hub, name it by its id: fancyzhx/ag_news.'
    """
    address = _ADDRESS.fullmatch(source)
    if address is None:
        return "Put the files into one folder, and name the folder." if _PATTERN.search(source) else ""
    rest = address["rest"].partition("?")[0]
    host = next((host for host in _HUB_HOSTS if rest.startswith(host)), None)
    if hub and (host or address["scheme"].lower() == _HUB_SCHEME):
        on_hub = _ON_HUB.fullmatch(rest.removeprefix(host or ""))
        if on_hub:
            return f"On the hub, name it by its id: {on_hub['id']}."
    return "Download it, and name the file."
