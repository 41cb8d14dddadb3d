"""Maps labels, written as class names or as numbers, to class indices over one list of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from submillion import notices
from submillion.data.rows import LabelledRows
from submillion.errors import BadInput, Problem, did_you_mean

KINDS = 10  # unknown labels listed in one message
NAMES = 20  # class names listed in one message


def label_names(names: Sequence[str] | None, splits: Mapping[str, LabelledRows]) -> list[str]:
    """Return the class names in the order of their indices.

    Args:
        names: from the recipe or from the source; None takes the training labels, sorted, numbers by their size.
        splits: rows by split, `train` among them.
    """
    return list(names) if names else sorted(set(splits["train"].labels), key=_by_size)


def class_indices(
    split: str, rows: LabelledRows, names: Sequence[str], first: int | None = None
) -> list[int]:
    """Return the class index of every row [N].

    A label is a class name, or the number of a class, counted from 0 or from 1: as `first` says, or else as the
    split's own numbers show.

    Args:
        split: name for messages.
        rows: labelled rows.
        names: class names in order.
        first: number of the first class in the training data, if that has numbers.

    Raises:
        BadInput: labels outside the set, each with the places of its rows, or numbers that could be either.
    """
    index = {name: position for position, name in enumerate(names)}
    unknown = sorted(set(rows.labels) - index.keys(), key=_by_size)
    numbers = [label for label in unknown if label.isdecimal()]
    # If the names are numbers themselves, another number is not a class.
    if numbers and not any(name.isdecimal() for name in names):
        first = first_number(rows, names) if first is None else first
        if first is None and any(int(number) > len(names) for number in numbers):
            first = 1  # a number is outside either way; the others need no error of their own
        if first is None:
            raise BadInput(
                Problem(
                    f"{split} labels",
                    f"names, or numbers that show whether the {len(names)} classes count from 0 or from 1",
                    f"the numbers {', '.join(numbers)}",
                    f"Write the names: {', '.join(names)}; or name other classes with @{{data.labels}}.",
                )
            )
        index = {str(first + position): position for position in range(len(names))} | index
        if first == 1:
            notices.emit("label_numbers", f"{split}: the numbers of the classes are read as counting from 1.")
    outside = [label for label in unknown if label not in index]
    if outside:
        raise BadInput([_unknown(split, rows, label, names) for label in outside[:KINDS]])
    return [index[label] for label in rows.labels]


def first_number(rows: LabelledRows, names: Sequence[str]) -> int | None:
    """Return the number of the first class, 0 or 1, as a split's labels show it; None if they do not."""
    numbers = set(rows.labels) - set(names)
    if "0" in numbers:
        return 0
    return 1 if str(len(names)) in numbers else None


def _unknown(split: str, rows: LabelledRows, label: str, names: Sequence[str]) -> Problem:
    places = [row for row, value in enumerate(rows.labels) if value == label]
    found = f"'{label}' in {len(places)} of {len(rows)} rows: {'; '.join(rows.examples(places))}"
    listed = names if len(names) <= NAMES else [*names[:NAMES], f"... ({len(names)} in all)"]
    return Problem(f"{split} labels", f"one of {', '.join(listed)}", found, did_you_mean(label, names))


def _by_size(label: str) -> tuple[bool, int, str]:
    """Sort numbers by their size, before names."""
    number = label.removeprefix("-")
    return (False, int(label), label) if number.isdecimal() else (True, 0, label)
