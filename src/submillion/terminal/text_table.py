"""Text tables: columns aligned for a terminal, and the same cells as Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from submillion.wording import printable


def align_columns(rows: Sequence[Sequence[str]], right: Collection[int] | None = None) -> list[str]:
    """Return one line per row, with columns two spaces apart and no trailing spaces; control characters are escaped.

    Args:
        rows: cells, the header first if there is one; all rows have the same number of cells.
        right: indices of the columns that are aligned to the right; None aligns all but the first.

    Example:
        >>> align_columns([["part", "size"], ["head", "3,076"]])
        ['part   size', 'head  3,076']
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    to_right = range(1, len(widths)) if right is None else right
    return [
        "  ".join(
            cell.rjust(width) if index in to_right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table: the first column aligned to the left, the others to the right."""
    cells = [" | ".join(printable(cell).replace("|", "\\|") for cell in row) for row in (header, *rows)]
    title, *body = [f"| {line} |" for line in cells]
    return [title, f"| --- |{' ---: |' * (len(header) - 1)}", *body]
