"""Lines of fastText's form: `__label__CLASS text`, as its supervised training reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from submillion.data.table import LABEL, TEXT, RowStream, Table
from submillion.sources.records import decoded_lines

PREFIX = "__label__"


def fasttext(path: Path, encoding: str | None = None) -> Table:
    """Open a file of such lines, with the columns `text` and `label`.

    A line without a label has none; several labels become a list, of which a row may have one only. Empty lines are
    left out.

    Args:
        path: the file.
        encoding: of the file; None finds it.
    """

    def rows(wanted: Sequence[str]) -> RowStream:
        for number, line in enumerate(decoded_lines(path, encoding), start=1):
            labels, text = parsed(line)
            if labels or text:
                label = labels[0] if len(labels) == 1 else labels or None
                yield number, [{TEXT: text, LABEL: label}[name] for name in wanted]

    return Table(path, [TEXT, LABEL], rows, text=TEXT, label=LABEL, is_plain=True)


def parsed(line: str) -> tuple[list[str], str]:
    """Return the labels at the beginning of a line, and the text after them.

    Example:
        >>> parsed("__label__sports The match ended 2 : 1.")
        (['sports'], 'The match ended 2 : 1.')
    """
    labels, rest = [], line.strip()
    while rest.startswith(PREFIX):
        first, _, rest = rest.partition(" ")
        labels.append(first.removeprefix(PREFIX))
        rest = rest.lstrip()
    return labels, rest
