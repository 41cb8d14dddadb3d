"""Problems with the rows of a file: grouped by kind, with the places of each, in at most ten lines."""

from __future__ import annotations

from submillion.data.table import Table
from submillion.errors import BadInput, Problem
from submillion.sources.records import places_of
from submillion.wording import plural

LINES = 10  # of a message
KINDS = 1000  # distinct problems that are listed; the rows of further ones are only counted


class NoLabels(BadInput):
    """A file has no label column, or no row with a label: it can be predicted, but not trained on or scored."""


class RowProblems:
    """Problems with a file's rows."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows = 0
        """Rows whose problem came after KINDS kinds, and is only counted."""
        self._kinds: dict[tuple[str, str, str], list[int]] = {}

    def __len__(self) -> int:
        return self.rows + sum(map(len, self._kinds.values()))

    def add(self, place: int, expected: str, found: str, remedy: str = "") -> None:
        """Add a problem with the row at `place`."""
        kind = (expected, found, remedy)
        if kind in self._kinds or len(self._kinds) < KINDS:
            self._kinds.setdefault(kind, []).append(place)
        else:
            self.rows += 1

    def raise_any(self) -> None:
        """Raise BadInput with all problems, if any."""
        if not self._kinds:
            return
        path, unit = self.table.path, self.table.unit
        shown = list(self._kinds.items())[: LINES if len(self._kinds) <= LINES else LINES - 1]
        problems = [Problem(f"{path}, {places_of(places, unit)}", *kind) for kind, places in shown]
        if rest := len(self) - sum(len(places) for _, places in shown):
            problems.append(
                Problem(
                    str(path),
                    "a text and a label in every row",
                    f"{plural(rest, 'more problem')} of this kind",
                )
            )
        raise BadInput(problems)
