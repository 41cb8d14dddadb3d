"""The classes of a run, and the class of every label, written as a name or as a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any, Self, TypeVar

from submillion import notices
from submillion.data.label_values import folded, is_whole, number_of, plain_symbols, sort_key, truth_of
from submillion.data.rows import LabelledRows
from submillion.errors import BadInput, Problem, nearest
from submillion.run_format.splits import SPLITS
from submillion.wording import listed, plural, printable

LINES = 10  # of a message
NAMES = 20  # class names listed in one message
LONGEST = 60  # characters of a class name in a message
PAIRS = 5  # labels with another spelling listed in one notice
COMPARED = 1000  # class names that an unknown label is compared with

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Classes:
    """The classes of a run in the order of their indices, and how labels name them."""

    names: list[str]
    numbered: bool = False
    """Whether the names were given to numbers, by the recipe or the source. Only then may a label be the number of a
    class; otherwise it is the class of that name or value, or none."""
    first: int | None = None
    """Number of the first class, 0 or 1, if the training rows show it."""

    @classmethod
    def of_run(cls, manifest: Mapping[str, Any]) -> Self:
        """Return the classes that a run recorded in its manifest."""
        # The names of an adopted run were passed in the order of the numbers of its classes.
        form = manifest.get("data", {}).get("label_form", {"numbered": "adopted" in manifest})
        return cls(list(manifest["labels"]), form.get("numbered", False), form.get("first"))

    def form(self) -> dict[str, Any]:
        """Return how labels name the classes, for the manifest."""
        return {"numbered": self.numbered, "first": self.first}

    def of_training(self, rows: LabelledRows) -> Self:
        """Return the classes with the number of the first one, as the training labels show it."""
        if not self.numbered:
            return self
        return replace(self, first=0 if rows.numbers_named else self._first_number(set(rows.labels)))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def _by_number(self) -> dict[Decimal, int]:
        return _unique((number_of(name), index) for index, name in enumerate(self.names))

    @cached_property
    def _by_truth(self) -> dict[Decimal, int]:
        return _unique((truth_of(name), index) for index, name in enumerate(self.names))

    @cached_property
    def _by_fold(self) -> dict[str, int]:
        return _unique((folded(name), index) for index, name in enumerate(self.names))

    def find(self, label: str) -> int | None:
        """Return the index of the class with a label's name or value; None if there is not exactly one.

        The class is the one of the same name, of the same number (`1` for `1.0`), of the same truth value (`true` for
        `True`, and `1` if the classes are false and true), or of the same name in another case.
        """
        if label in self._index:
            return self._index[label]
        number, truth = number_of(label), truth_of(label)
        if number is not None and number in self._by_number:
            return self._by_number[number]
        if truth is not None and truth in self._by_truth:
            return self._by_truth[truth]
        value = number if truth is None else truth
        if value is not None and len(self.names) == 2:
            two = self._by_number if truth is not None else self._by_truth
            if two.keys() == {Decimal(0), Decimal(1)} and value in two:
                return two[value]
        return self._by_fold.get(folded(label))

    def of(self, split: str, labels: Iterable[str]) -> dict[str, int]:
        """Return the class index of each label; labels of no class are left out.

        Args:
            split: name for messages.
            labels: of a split.

        Raises:
            BadInput: the labels are numbers of classes, and could count from 0 or from 1.
        """
        distinct = set(labels)
        index = {label: found for label in distinct if (found := self.find(label)) is not None}
        others = {
            label: number
            for label in distinct - index.keys()
            if (number := self._position(label)) is not None
        }
        # If the names are numbers themselves, another number is not a class.
        if not others or not self.numbered or self._by_number:
            return index
        first = self._first_number(distinct) if self.first is None else self.first
        if first is None:
            raise BadInput(self._ambiguous(split, sorted(others, key=sort_key)))
        if first == 1:
            notices.emit("label_numbers", f"{split}: the numbers of the classes are read as counting from 1.")
        positions = {label: number - first for label, number in others.items()}
        return index | {label: place for label, place in positions.items() if 0 <= place < len(self.names)}

    def _position(self, label: str) -> int | None:
        number = number_of(label)
        if number is None:
            number = truth_of(label) if len(self.names) == 2 else None
        return int(number) if number is not None and is_whole(number) else None

    def _first_number(self, labels: set[str]) -> int | None:
        """Return the number of the first class, 0 or 1, as the labels of a split show it; None if they do not."""
        unnamed = labels - self._index.keys()
        numbers = {self._position(label) for label in unnamed} - {None}
        if 0 in numbers or any(truth_of(label) is not None for label in unnamed):
            return 0
        # A number above the last class is an error either way; the others need none of their own.
        return 1 if any(number >= len(self.names) for number in numbers if number is not None) else None

    def _ambiguous(self, split: str, numbers: Sequence[str]) -> Problem:
        more = f" and {len(numbers) - NAMES:,} more" if len(numbers) > NAMES else ""
        return Problem(
            f"{split} labels",
            f"names, or numbers that show whether the {len(self.names)} classes count from 0 or from 1",
            f"the numbers {', '.join(numbers[:NAMES])}{more}",
            f"Write the names: {_some(self.names)}; or name other classes with @{{data.labels}}.",
        )


def class_names(names: Sequence[str] | None, train: LabelledRows) -> list[str]:
    """Return the class names in the order of their indices.

    Args:
        names: from the recipe or from the source; None takes the training labels, sorted, numbers by their size.
        train: the training rows.
    """
    return list(names) if names else sorted(set(train.labels), key=sort_key)


def class_indices(split: str, rows: LabelledRows, classes: Classes) -> list[int]:
    """Return the class index of every row [N]; labels in another spelling than the class are named in a notice.

    Args:
        split: name for messages.
        rows: labelled rows.
        classes: of the run.

    Raises:
        BadInput: labels of no class, with their number of rows and the nearest class, in at most ten lines; or numbers
            that could count from 0 or from 1.
    """
    index = classes.of(split, rows.labels)
    if rows.numbers_named and not index.keys() & set(rows.numbers_named):
        # The file names its numbers, and the run knows the numbers alone.
        numbers = {name: str(number) for number, name in enumerate(rows.numbers_named)}
        found = classes.of(split, {numbers[label] for label in set(rows.labels)})
        index = {label: found[numbers[label]] for label in set(rows.labels) if numbers[label] in found}
    if unknown := sorted(set(rows.labels) - index.keys(), key=sort_key):
        raise BadInput(_unknown(split, rows, unknown, classes))
    _announce(split, rows, index, classes)
    return [index[label] for label in rows.labels]


def one_spelling(rows: LabelledRows, names: Sequence[str] | None) -> LabelledRows:
    """Return training rows in which a whole number, a truth value or an emoji has one spelling, the most frequent.

    `1`, `1.0` and `1e0` are one class, so are `true` and `True`, and an emoji with and without the selector of its
    form. Spellings that the recipe names stay different, and so do those of numbers in a column that also has numbers
    with decimals: 1.1 and 1.10 may be versions.

    Args:
        rows: the training rows.
        names: class names of the recipe or the source, if any.
    """
    counts = Counter(rows.labels)
    numbers = {label: number_of(label) for label in counts}
    groups: dict[tuple[str, Decimal | str], list[str]] = {}
    for label in counts:
        if not label.isascii() and label not in (names or ()):
            groups.setdefault(("symbols", plain_symbols(label)), []).append(label)
    if not any(number is not None and not is_whole(number) for number in numbers.values()):
        for label, number in numbers.items():
            if number is not None and label not in (names or ()):
                groups.setdefault(("number", number), []).append(label)
    if all(truth_of(label) is not None for label in counts):
        for label in counts:
            groups.setdefault(("truth", truth_of(label) or Decimal(0)), []).append(label)
    chosen: dict[str, str] = {}
    for labels in groups.values():
        usual = min(labels, key=lambda label: (-counts[label], len(label), label))
        chosen |= {label: usual for label in labels if label != usual}
    if not chosen:
        return rows
    pairs = [
        f"'{printable(label, LONGEST)}' ({plural(counts[label], 'row')}) as '{usual}'"
        for label, usual in sorted(chosen.items())
    ]
    notices.emit(
        "label_forms",
        f"train: labels of the same value are one class: {_shortened(pairs)}.",
        **_rows_of(chosen, counts),
    )
    return replace(rows, labels=[chosen.get(label, label) for label in rows.labels])


def _announce(split: str, rows: LabelledRows, index: Mapping[str, int], classes: Classes) -> None:
    """Name the labels that are not written as their class; numbers of classes are as the recipe announced them."""
    other = {
        label: classes.names[place]
        for label, place in index.items()
        if label != classes.names[place] and (rows.numbers_named or classes.find(label) is not None)
    }
    if other:
        counts = Counter(label for label in rows.labels if label in other)
        pairs = [
            f"'{printable(label, LONGEST)}' ({plural(counts[label], 'row')}) as '{printable(name, LONGEST)}'"
            for label, name in sorted(other.items(), key=lambda pair: sort_key(pair[0]))
        ]
        notices.emit(
            "label_forms",
            f"{split}: labels are read as the classes they mean: {_shortened(pairs)}.",
            **_rows_of(other, counts),
        )


def _rows_of(labels: Iterable[str], counts: Counter[str]) -> dict[str, int]:
    return {"rows": sum(counts[label] for label in labels)}


def _shortened(pairs: Sequence[str]) -> str:
    return listed(pairs if len(pairs) <= PAIRS else [*pairs[:PAIRS], f"{len(pairs) - PAIRS:,} more"])


def _unknown(split: str, rows: LabelledRows, unknown: Sequence[str], classes: Classes) -> list[Problem]:
    """Return one problem per unknown label, those with most rows first, in at most LINES lines."""
    outside = set(unknown)
    counts = Counter(label for label in rows.labels if label in outside)
    by_rows = sorted(unknown, key=lambda label: -counts[label])
    shown = by_rows if len(unknown) <= LINES else by_rows[: LINES - 1]
    places: dict[str, list[int]] = {label: [] for label in shown}
    for row, label in enumerate(rows.labels):
        if label in places:
            places[label].append(row)
    where, expected = f"{split} labels", f"one of {_some(classes.names)}"
    remedy = ""
    if not classes.numbered and all(label.isdecimal() for label in unknown):
        remedy = "Write the class names in place of numbers"
        remedy += (
            ", or list the names in the order of their numbers in @{data.labels}." if split in SPLITS else "."
        )
    problems = [
        Problem(
            where,
            expected,
            f"'{printable(label, LONGEST)}' in {len(places[label]):,} of {len(rows):,} rows: "
            f"{'; '.join(rows.examples(places[label]))}",
            _nearest(label, classes.names) or (remedy if label == shown[0] else ""),
        )
        for label in shown
    ]
    if rest := by_rows[len(shown) :]:
        found = f"{len(rest):,} more labels in {plural(sum(counts[label] for label in rest), 'row')}"
        problems.append(Problem(where, f"{len(classes.names):,} classes", found))
    return problems


def _nearest(label: str, names: Sequence[str]) -> str:
    """Return a question with the nearest class: `007` for 7, otherwise by spelling."""
    same = [name for name in names if name.lstrip("0") == label.lstrip("0")] if label.isdecimal() else []
    name = same[0] if len(same) == 1 else nearest(label[:COMPARED], names[:COMPARED])
    return f"Did you mean '{name}'?" if name else ""


def _some(names: Sequence[str]) -> str:
    shown = [printable(name, LONGEST) for name in names[:NAMES]]
    return ", ".join(shown if len(names) <= NAMES else [*shown, f"... ({len(names):,} in all)"])


def _unique(pairs: Iterable[tuple[Key | None, int]]) -> dict[Key, int]:
    """Return the index by key, without keys that are None or that several indices have."""
    found: dict[Key, int] = {}
    several = set()
    for key, index in pairs:
        if key is not None and found.setdefault(key, index) != index:
            several.add(key)
    return {key: index for key, index in found.items() if key not in several}
