"""From labels as files write them, by name or by number, to class indices over one set of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from submillion import notices
from submillion.data.rows import LabelledRows
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.sources.catalog import DATASETS

KINDS = 10  # unknown labels told apart in one message
# Classes 1 to 4 of the official files (Zhang, Zhao, LeCun 2015, arXiv:1509.01626; their classes.txt).
AGNEWS = list(DATASETS["ag_news"].labels)


def label_names(given: Sequence[str] | None, splits: Mapping[str, LabelledRows]) -> list[str]:
    """Return the class names in the order of their indices.

    Args:
        given: names from the recipe or from the source; they decide.
        splits: rows by split, `train` among them. Without given names, data with files in the official form
            of AG News has its names, as long as all labels fit; else the names are the training labels,
            sorted, numbers by their size.
    """
    if given:
        return list(given)
    numbers = {str(number) for number in range(1, len(AGNEWS) + 1)}
    official = [split for split, rows in splits.items() if rows.official]
    fits = all(set(rows.labels) <= (numbers if rows.official else set(AGNEWS)) for rows in splits.values())
    if official and fits:
        notices.emit(
            "agnews_form",
            f"{' and '.join(official)}: read in the form of AG News, "
            f"whose classes 1 to {len(AGNEWS)} are {', '.join(AGNEWS)}.",
        )
        return list(AGNEWS)
    return sorted(set(splits["train"].labels), key=_by_size)


def class_indices(
    split: str, rows: LabelledRows, names: Sequence[str], first: int | None = None
) -> list[int]:
    """Return the class index of every row [N].

    A label is a class name, or the number of one, from 0 or from 1: from 1 in the official form of AG News,
    otherwise as `first` says, or else as the split's own numbers show.

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
    # Where the names are numbers themselves, another number is no class.
    if numbers and not any(name.isdecimal() for name in names):
        first = first_number(rows, names) if first is None or rows.official else first
        if first is None:
            raise BadInput(
                Problem(
                    f"{split} labels",
                    f"names, or numbers that show whether the {len(names)} classes count from 0 or from 1",
                    f"the numbers {', '.join(numbers)}",
                    f"Write the names: {', '.join(names)}.",
                )
            )
        index = {str(first + position): position for position in range(len(names))} | index
        if first == 1 and not rows.official:
            notices.emit("label_numbers", f"{split}: the numbers of the classes are read as counting from 1.")
    strange = [label for label in unknown if label not in index]
    if strange:
        raise BadInput([_unknown(split, rows, label, names) for label in strange[:KINDS]])
    return [index[label] for label in rows.labels]


def first_number(rows: LabelledRows, names: Sequence[str]) -> int | None:
    """Return the number of the first class, 0 or 1, as a split's labels show it; None where they do not."""
    if rows.official:
        return 1
    numbers = set(rows.labels) - set(names)
    if "0" in numbers:
        return 0
    return 1 if str(len(names)) in numbers else None


def _unknown(split: str, rows: LabelledRows, label: str, names: Sequence[str]) -> Problem:
    places = [row for row, value in enumerate(rows.labels) if value == label]
    found = f"'{label}' in {len(places)} of {len(rows)} rows: {'; '.join(rows.examples(places))}"
    shown = names if len(names) <= 20 else [*names[:20], f"... ({len(names)} in all)"]
    return Problem(f"{split} labels", f"one of {', '.join(shown)}", found, did_you_mean(label, names))


def _by_size(label: str) -> tuple[bool, int, str]:
    """Sort numbers by their size, before names."""
    number = label.removeprefix("-")
    return (False, int(label), label) if number.isdecimal() else (True, 0, label)
