"""Words that stand for a missing label, and what becomes of training rows that have one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from submillion import notices
from submillion.data.rows import LabelledRows
from submillion.wording import listed, plural

MARKS = {"null", "nan", "n/a", "?", "unlabeled", "unlabelled"}
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
    marks = listed(f"'{mark}' ({plural(counts[mark], 'row')})" for mark in sorted(counts))
    rows = counts.total()
    if not skip:
        notices.emit(
            "unlabelled_classes",
            f"trained as a class, although such a name usually marks a missing label: {marks}. To leave these rows "
            "out, set data.skip_unlabelled to true.",
            rows=rows,
        )
        return train
    notices.emit(
        "rows_left_out", f"train: {plural(rows, 'row')} without a label left out: {marks}.", rows=rows
    )
    return train.take([row for row, label in enumerate(train.labels) if label not in counts])
