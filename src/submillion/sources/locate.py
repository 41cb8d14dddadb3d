"""What the name of an encoder or data set means: a path, an entry of the catalog, or a repository of the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.sources.addresses import remedy_for
from submillion.sources.catalog import Entry, find
from submillion.sources.suffixes import DATA_SUFFIXES

# A hub id or a catalog name; for data, optionally a configuration after a colon and a revision after an @.
HUB_ID = re.compile(r"(?P<id>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>\S+))?")


@dataclass(frozen=True)
class HubSource:
    """A hub id with its catalog entry, if any."""

    id: str
    config: str | None
    revision: str | None
    entry: Any


def locate(source: str, catalog: Mapping[str, Entry], kind: str) -> Path | Entry | HubSource:
    """Return the path, the catalog entry (if it comes in wheels) or the hub id that a source names.

    Args:
        source: as the user named it.
        catalog: entries by name.
        kind: `encoder` or `data`.

    Raises:
        BadInput: it names none of them, or another version of data that come in wheels.
    """
    path = Path(os.path.expanduser(source))  # noqa: PTH111  # Path.expanduser raises for ~nobody
    match = HUB_ID.fullmatch(source)
    if kind == "encoder" and match and (match["config"] or match["revision"]):
        match = None
    entry = find(catalog, match["id"]) if match else None
    if source and path.exists():
        if entry:
            notices.emit(
                "path_over_name", f"{source}: the path of this name is used, not the {kind} of the catalog."
            )
        return _checked(path.absolute(), source, kind)
    if looks_like_a_path(source):
        raise _missing(path, source, kind)
    if match and entry and entry.wheels:
        if match["config"] or match["revision"]:
            expected = f"{match['id']} alone: data from wheels have neither configurations nor revisions"
            found = f"'{source.removeprefix(match['id'])}' after it"
            raise BadInput(Problem(f"{kind} '{source}'", expected, found, "Omit it."))
        return entry
    if match and entry and entry.hub:
        return HubSource(entry.hub, match["config"], match["revision"], entry)
    if match and "/" in match["id"]:
        return HubSource(match["id"], match["config"], match["revision"], None)
    names = [*catalog, *(item.name for item in Path().iterdir())]
    form = "organisation/name" if kind == "encoder" else "organisation/name[:configuration][@revision]"
    raise BadInput(
        Problem(
            f"{kind} '{source}'",
            f"a path, a hub id ({form}) or one of {', '.join(catalog)}",
            "none of them",
            remedy_for(source) or did_you_mean(source, names),
        )
    )


def is_hub_id(source: str) -> bool:
    """Whether a source that does not exist as a path can be the id of a repository, such as `organisation/name`."""
    match = HUB_ID.fullmatch(source)
    if match is None or "/" not in match["id"] or looks_like_a_path(source):
        return False
    return not Path(source).parent.is_dir()


def _checked(path: Path, source: str, kind: str) -> Path:
    if kind == "encoder" and not path.is_dir():
        raise BadInput(
            Problem(source, "an encoder's folder (config.json, tokenizer files, model.safetensors)", "a file")
        )
    return path


def looks_like_a_path(source: str) -> bool:
    """Whether a source can only be a path: `./x`, `~/x`, `a/b/c`, `C:\\x`, `x.csv`."""
    name = source.split("@")[0]  # a hub revision may contain slashes
    return (
        name.startswith((".", "/", "~"))
        or "\\" in name
        or name.count("/") > 1
        or Path(name).suffix.lower() in DATA_SUFFIXES
    )


def _missing(path: Path, source: str, kind: str) -> BadInput:
    """Return the error for a missing path: the file, or already its folder."""
    parent, remedy = path.parent, remedy_for(source)
    expected = "an encoder at this path" if kind == "encoder" else f"{kind} at this path"
    if not parent.is_dir():
        return BadInput(Problem(source, expected, f"no folder {parent}", remedy))
    names = [item.name for item in parent.iterdir()]
    remedy = remedy or did_you_mean(path.name, names)
    return BadInput(Problem(source, expected, "nothing there", remedy))
