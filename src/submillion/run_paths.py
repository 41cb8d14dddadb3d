"""Paths that a run names: relative to its directory in its files, absolute in use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
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
    names = {source: name for source in sources if (name := _beside(source, place))}
    if not names:
        return value
    # The longest first: a source may be a file in a folder that is a source too.
    longest_first = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w.-])(?:{longest_first})(?![\w-]|\.\w)")

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
