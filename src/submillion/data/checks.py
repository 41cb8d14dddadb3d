"""Checks of the data before training; each finding is a notice and an entry of the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from submillion import notices
from submillion.data.rows import LabelledRows
from submillion.data.split import alike, squeezed
from submillion.errors import BadInput, Problem
from submillion.wording import listed, printable

LONGEST = 60  # characters of a class name in a notice
NAMED = 10  # class names listed in a notice
SEVERAL = 3  # rows; two of the same text are refused as too few


def empty_texts(split: str, rows: LabelledRows, drop: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Find rows whose text is empty or only white space.

    Args:
        split: name for the notice.
        rows: N rows.
        drop: drop such rows (training rows, which teach nothing), or keep them (scored rows, since dropping them
            would change the score).

    Returns:
        Indices of the remaining rows, and the finding.
    """
    empty = [row for row, text in enumerate(rows.texts) if not text.strip()]
    if empty:
        outcome = "dropped" if drop else "kept"
        notices.emit(
            "empty_texts",
            f"{split}: {_rows(len(empty))} without text, {outcome} ({'; '.join(rows.examples(empty))}).",
            rows=len(empty),
        )
    dropped = empty if drop else []
    finding = {"rows": len(empty), "examples": rows.examples(empty), "dropped": len(dropped)}
    return _without(len(rows), dropped), finding


def duplicates(split: str, rows: LabelledRows, names: Sequence[str]) -> dict[str, Any]:
    """Find rows with the text of an earlier row, white space aside, and texts that have different labels.

    Args:
        split: name for the notice.
        rows: N rows with their classes.
        names: class names.

    Returns:
        `rows` (copies beyond the first), `conflicting_texts`, and `conflicts`, rows and labels of a few.
    """
    groups = _alike(rows.texts)
    conflicts = [group for group in groups if len({rows.classes[row] for row in group}) > 1]
    copies = sum(len(group) - 1 for group in groups)
    shown = [
        {"rows": rows.examples(group), "labels": [names[rows.classes[row]] for row in group[:5]]}
        for group in conflicts[:5]
    ]
    if conflicts:
        first = " and ".join(
            f"'{label}' ({place})" for place, label in zip(shown[0]["rows"], shown[0]["labels"], strict=True)
        )
        notices.emit(
            "conflicting_labels",
            f"{split}: texts that appear with different labels: {len(conflicts):,}, for example {first}.",
            texts=len(conflicts),
        )
    if copies:
        notices.emit("duplicates", f"{split}: {_rows(copies)} with the text of an earlier one.", rows=copies)
    return {"rows": copies, "conflicting_texts": len(conflicts), "conflicts": shown}


def first_copies(rows: LabelledRows) -> np.ndarray:
    """Return the indices of rows whose text and label no earlier row has."""
    keys = _keys(f"{label} {squeezed(text)}" for label, text in zip(rows.classes, rows.texts, strict=True))
    return np.sort(np.unique(keys, return_index=True)[1])


def overlap(
    rows: LabelledRows, split: str, other: LabelledRows, other_split: str, drop: bool
) -> tuple[np.ndarray, dict[str, Any]]:
    """Find rows whose text, white space aside, is also a text of another split.

    Args:
        rows: N rows.
        split: their name, for the notice.
        other: rows of the other split.
        other_split: its name.
        drop: drop such rows; otherwise they are kept, and the score is optimistic.

    Returns:
        Indices of the remaining rows, and the finding.
    """
    same = np.flatnonzero(
        np.isin(_keys(map(squeezed, rows.texts)), _keys(map(squeezed, other.texts)))
    ).tolist()
    if same:
        outcome = "dropped" if drop else "kept, so the score is optimistic"
        notices.emit(
            f"{split}_rows_in_{other_split}",
            f"{split}: {_rows(len(same))} with the text of a {other_split} row, {outcome}.",
            rows=len(same),
        )
    dropped = same if drop else []
    finding = {"rows": len(same), "examples": rows.examples(same), "dropped": len(dropped)}
    return _without(len(rows), dropped), finding


def texts_differ(rows: LabelledRows) -> None:
    """Refuse training rows whose texts are all the same, white space aside; raises BadInput."""
    if len(rows) < SEVERAL or len({squeezed(rows.texts[row]) for row in range(SEVERAL)}) > 1:
        return
    if len(np.unique(_keys(map(squeezed, rows.texts)))) == 1:
        columns = listed(dict.fromkeys(f"'{name}'" for chosen in rows.columns for name in chosen.text))
        found = f"the same text in all {len(rows):,} rows"
        where = "@{texts}" if rows.class_values else f"{rows.files[0][0]}, {columns}"
        raise BadInput(Problem(where, "texts that differ", found, "Name the text column with @{data.text}."))


def balance(
    split: str, rows: LabelledRows, names: Sequence[str], announced: Sequence[str] = ()
) -> dict[str, Any]:
    """Count rows per class; a notice names classes without rows.

    Args:
        split: name for the notice.
        rows: N rows with their classes, N > 0.
        names: class names.
        announced: classes without rows that another notice has named.

    Returns:
        `rows`, `label_counts` by name, `largest_share` and `smallest_share` of a class.
    """
    by_class = Counter(rows.classes)
    counts = {name: by_class[index] for index, name in enumerate(names)}
    absent = [name for name, count in counts.items() if not count and name not in announced]
    if absent:
        notices.emit("absent_classes", f"{split}: no row of {some_names(absent)}.", classes=len(absent))
    return {
        "rows": len(rows),
        "label_counts": counts,
        "largest_share": round(max(counts.values()) / len(rows), 4),
        "smallest_share": round(min(counts.values()) / len(rows), 4),
    }


def some_names(names: Sequence[str]) -> str:
    """Return class names in quotes, of many only the first few."""
    quoted = [f"'{printable(name, LONGEST)}'" for name in names[:NAMED]]
    return listed(quoted if len(names) <= NAMED else [*quoted, f"{len(names) - NAMED:,} more"])


def _alike(texts: Sequence[str]) -> list[list[int]]:
    """Return the rows of each text that appears more than once, white space aside; empty texts are skipped."""
    order, begins, ends = alike(_keys(map(squeezed, texts)))
    several = ends - begins > 1
    groups = (order[begin:end].tolist() for begin, end in zip(begins[several], ends[several], strict=True))
    return sorted(group for group in groups if texts[group[0]].strip())


def _keys(texts: Iterable[str]) -> np.ndarray:
    """Return a hash of 16 bytes per text [N], so that the texts need not be in memory."""
    keys = bytearray()
    for text in texts:
        keys += blake2b(text.encode(), digest_size=16).digest()
    return np.frombuffer(keys, dtype="V16")


def _without(count: int, dropped: Sequence[int]) -> np.ndarray:
    """Return the indices of the remaining rows, ascending."""
    kept = np.ones(count, dtype=bool)
    kept[list(dropped)] = False
    return np.flatnonzero(kept)


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
