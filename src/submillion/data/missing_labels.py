"""Words that stand for a missing label, and what becomes of training rows that have one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set

from submillion import notices
from submillion.data.rows import LabelledRows
from submillion.wording import listed, plural

MARKS = {
    *("null", "nan", "n/a", "?", "unlabeled", "unlabelled"),
    *("#n/a", "#n/a n/a", "#na", "#nv", "#n/d", "#n/b"),  # spreadsheets, also German, Spanish and Dutch ones
    *("<na>", "\\n"),  # pandas, and `\N` of MySQL
}
"""Labels in lower case that stand for none, unless a class has such a name."""
AMBIGUOUS = {"-1", "-1.0", "none", "na"}
"""Labels that stand for none among rows of known classes, but are often classes: of -1, 0 and 1, or of countries."""


def without_marks(train: LabelledRows, named: Sequence[str] | None, skip: bool) -> LabelledRows:
    """Return the training rows without those whose label stands for none; or all of them, after a notice.

    Args:
        train: the training rows.
        named: class names of the recipe or the source, which are classes whatever they are.
        skip: leave the rows out.
    """
    classes = set(named or ())
    counts = Counter(label for label in train.labels if label not in classes and label.lower() in MARKS)
    if not counts:
        return train
    if not skip:
        marks = listed(f"'{mark}' ({plural(counts[mark], 'row')})" for mark in sorted(counts))
        notices.emit(
            "unlabelled_classes",
            f"trained as a class, although such a name usually marks a missing label: {marks}. To leave these rows "
            "out, set data.skip_unlabelled to true.",
            rows=counts.total(),
        )
        return train
    return leave_out("train", train, counts.keys())


def leave_out(split: str, rows: LabelledRows, marks: Set[str]) -> LabelledRows:
    """Return rows without those that have some labels, which are counted in a notice.

    Args:
        split: of the rows, for the notice.
        rows: labelled rows.
        marks: labels that stand for none.
    """
    kept = [row for row, label in enumerate(rows.labels) if label not in marks]
    missing = len(rows) - len(kept)
    listed_marks = ", ".join(repr(mark) for mark in sorted(marks))
    notices.emit(
        "rows_left_out",
        f"{split}: {plural(missing, 'row')} without a label ({listed_marks}) left out.",
        rows=missing,
    )
    return rows.take(kept)
