"""The parts of the documentation that a benchmark writes, between the comments `NAME: begin` and `NAME: end`."""

from __future__ import annotations

from pathlib import Path


def part_of(page: str, name: str) -> tuple[str, str, str]:
    """Return a page before, in and after one of its parts.

    Raises:
        ValueError: the page lacks a comment of the part.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begun, rest = page.partition(begin)
    part, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"expected the comments {begin} and {end}")
    return before + begin, part, end + after


def insert(text: str, file: Path, name: str) -> None:
    """Replace a part of a page.

    Args:
        text: what to write.
        file: the page.
        name: of the part.

    Raises:
        SystemExit: the page lacks a comment of the part.
    """
    try:
        before, _, after = part_of(file.read_text(encoding="utf-8"), name)
    except ValueError as error:
        raise SystemExit(f"{file}: {error}") from error
    file.write_text(f"{before}\n\n{text}\n\n{after}", encoding="utf-8")
