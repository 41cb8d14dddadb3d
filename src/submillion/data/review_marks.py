"""Reports rows that a column of the file seems to mark as rejected, although they are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from submillion import notices
from submillion.data.table import Malformed, Table
from submillion.wording import plural, printable

STATES = {
    "answer",
    "status",
    "state",
    "review",
    "review_status",
    "annotation_status",
    "label_status",
    "decision",
}
REJECTED = {
    *("reject", "rejected", "discard", "discarded", "ignore", "ignored", "skip", "skipped"),
    *("cancelled", "canceled", "invalid", "excluded", "deleted"),
}
FLAGS = {
    *(
        "rejected",
        "discarded",
        "deleted",
        "skipped",
        "ignored",
        "cancelled",
        "canceled",
        "excluded",
        "invalid",
    ),
    *("is_rejected", "is_discarded", "is_deleted", "is_skipped", "is_ignored", "is_excluded", "is_invalid"),
    *("reject", "discard", "skip", "ignore", "exclude"),
}
OPPOSITE_FLAGS = {"accepted", "approved", "valid", "is_accepted", "is_approved", "is_valid"}
TRUE, FALSE = {"true", "yes", "y", "1", "1.0"}, {"false", "no", "n", "0", "0.0"}
SHOWN = 30  # characters of a value in the notice


def announce_marked(table: Table, used: Collection[str]) -> None:
    """Report how many rows a column such as `status` or `is_valid` marks as rejected.

    The columns of known annotation tools are followed (`annotation.mark_of`); what another column means is the user's
    to say. A file in which all rows are marked alike gives no notice.

    Args:
        table: the file.
        used: columns with another role.
    """
    for name in table.columns:
        words = _words_of(name)
        if not words or name in used or table.columns.count(name) != 1:
            continue
        counts = Counter(
            _plain(values[0]) for _, values in table.rows([name]) if not isinstance(values, Malformed)
        )
        marked = {value: count for value, count in counts.items() if value in words}
        rows = sum(marked.values())
        if 0 < rows < counts.total():
            shown = ", ".join(f"'{printable(value, SHOWN)}'" for value in sorted(marked))
            notices.emit(
                "rows_marked",
                f"{table.path.name}: {plural(rows, 'row')} with {shown} in column '{name}' are used like the others; "
                "remove them from the file if that marks them as rejected.",
                rows=rows,
            )


def _words_of(name: str) -> set[str]:
    """Return the values, in lower case, by which a column of this name marks a row as rejected."""
    name = name.strip().lower().replace(" ", "_").replace("-", "_")
    if name in STATES:
        return REJECTED
    if name in FLAGS:
        return TRUE
    return FALSE if name in OPPOSITE_FLAGS else set()


def _plain(value: Any) -> str:
    return str(value).strip().lower() if isinstance(value, str | bool | int | float) else ""
