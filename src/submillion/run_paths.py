"""Paths that a run names: relative to its directory in its files, absolute in use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def located(source: str, run: Path) -> str:
    """Return a source that a run names; a path that begins with `./` or `../` is relative to the run."""
    if not source.startswith(("./", "../")):
        return source
    return os.path.normpath(run.resolve() / source)


def relative(value: Any, sources: Iterable[str], run: Path) -> Any:
    """Return a JSON value in which some absolute paths are relative to a run, so that both can be moved together.

    Paths that share no folder with the run but the root of the file system stay absolute. Keys and class names
    (`labels`) are unchanged.

    Args:
        value: texts in it may contain paths, as notices do.
        sources: the absolute paths.
        run: the run directory.
    """
    place = run.resolve()
    return _renamed(value, {source: name for source in sources if (name := _beside(source, place))})


def moved(value: Any, sources: Iterable[str], run: Path, copy: Path) -> Any:
    """Return a JSON value of a run for its copy in another folder: its paths point to the same files.

    Args:
        value: as `relative` returned it.
        sources: the absolute paths.
        run: the run directory.
        copy: the directory of the copy; paths inside the run are those inside the copy.
    """
    place, target = run.resolve(), copy.resolve()
    outside = [source for source in sources if not Path(source).is_relative_to(place)]
    return _renamed(
        value, {_beside(source, place) or source: _beside(source, target) or source for source in outside}
    )


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a JSON value in whose texts paths have other names; keys and class names are unchanged."""
    if not names:
        return value
    # The longest first: a source may be a file in a folder that is a source too. `../x` is no part of `../../x`.
    ends = r"(?![\w-]|\.\w)"
    pattern = re.compile(
        "|".join(
            (r"(?<![\w./-])" if name.startswith(".") else r"(?<![\w.-])") + re.escape(name) + ends
            for name in sorted(names, key=len, reverse=True)
        )
    )

    def replaced(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: part if key == "labels" else replaced(part) for key, part in item.items()}
        if isinstance(item, list):
            return [replaced(part) for part in item]
        return pattern.sub(lambda match: names[match[0]], item) if isinstance(item, str) else item

    return replaced(value)


def relative_file(file: Path, run: Path) -> str:
    """Return a file's path relative to a run, or absolute if they share no folder but the root of the file system."""
    absolute = str(file.resolve())
    return _beside(absolute, run.resolve()) or absolute


def _beside(source: str, place: Path) -> str | None:
    """Return an absolute path relative to a directory; None if they share no folder but the root."""
    try:
        common = Path(os.path.commonpath([source, place]))
    except ValueError:  # on two drives
        return None
    if common == common.parent:
        return None
    path = Path(os.path.relpath(source, place)).as_posix()
    return path if path.startswith("../") else f"./{path}"
