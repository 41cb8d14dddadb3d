"""The class in a label's cell, also where the cell holds a list, an object or the text of one."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from submillion import notices
from submillion.data.columns import Columns
from submillion.data.rows import flaw_of_text, label_text, shown
from submillion.data.table import Table, Unlabelled
from submillion.wording import listed, plural

REMEMBERED = 10_000  # labels that are not parsed again
LONGEST = 2_000  # characters of a cell that is parsed
UNLABELLED = "without a label"
_ATOM = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?(?:0|[1-9]\d{0,29})(?:\.\d{1,30})?|True|False|None)"""
_ITEMS = rf"\s*(?:{_ATOM}(?:\s*,\s*{_ATOM})*\s*,?\s*)?"
_PAIR = rf"\s*{_ATOM}\s*:\s*(?:{_ATOM}|\[{_ITEMS}\])\s*"
FLAT = re.compile(rf"\[{_ITEMS}\]|\(\s*{_ATOM}\s*,{_ITEMS}\)|\{{{_PAIR}(?:,{_PAIR})*\}}")
"""Lists, tuples and objects of texts and numbers as Python writes them."""
CONTAINER = re.compile(r"[\[{]+\s*['\"]")
BRACKETS = {"[": "]", "{": "}", "(": ")"}


TO_PREDICT = "A file without labels can be predicted, but not trained on or scored."
TO_SKIP = "Label these rows, or leave them out with @{data.skip_unlabelled=true}."


class LabelCells:
    """Reads the label column of one file, and counts what it meets."""

    def __init__(self, table: Table, chosen: Columns, skip_unlabelled: bool = False) -> None:
        self._table = table
        self._skip = skip_unlabelled
        self._column = chosen.label
        self._names = table.class_names.get(chosen.label or "")
        self._left_out: Counter[str] = Counter()
        self._unwrapped = 0
        self._example = ""
        self._known: dict[str, str] = {}
        self.count = 0
        """Rows, without those that an annotation tool rejected."""
        self.missing = 0
        """Rows whose label is missing, or a number that marks a hidden one."""

    def label(self, value: Any) -> tuple[str | None, tuple[str, ...] | None]:
        """Return a row's label, None if it has none, and the (expected, found, remedy) of a problem with it."""
        self.count += 1
        if isinstance(value, str) and value in self._known:
            return self._known[value], None
        if isinstance(value, Unlabelled):
            self.count -= 1
            self.leave_out(value.reason)
            return None, None
        found = one_class(value)
        if isinstance(found, NotOneClass):
            expected = f"one class in column '{self._column}'"
            return None, (
                expected,
                f"{found.found}: {shown(value)}",
                "Give each row one class, or remove it.",
            )
        label = label_text(found, self._names)
        if label is None:
            missing = found is None or found != found or found in ("", -1)
            self.missing += missing
            if missing and self._skip:
                self.leave_out(UNLABELLED)
                return None, None
            wanted = f"a label among 0 to {len(self._names) - 1}" if self._names else "a label"
            return None, (f"{wanted} in column '{self._column}'", shown(value), TO_SKIP if missing else "")
        if flaw := flaw_of_text(label):
            return None, flaw
        if found is not value:
            self._unwrapped += 1
            self._example = self._example or f"{shown(value)} as the class {label!r}"
        elif isinstance(value, str) and len(self._known) < REMEMBERED:
            self._known[value] = label
        return label, None

    def leave_out(self, reason: str) -> None:
        """Count a row that is left out."""
        self._left_out[reason] += 1

    def announce(self) -> None:
        """Report what was counted."""
        name = self._table.path.name
        if self._unwrapped:
            notices.emit(
                "label_lists",
                f"{name}: {plural(self._unwrapped, 'label')} of column '{self._column}' "
                f"{'is' if self._unwrapped == 1 else 'are'} read from lists or objects: {self._example}.",
                rows=self._unwrapped,
            )
        if total := self._left_out.total():
            reasons = listed(f"{count:,} {reason}" for reason, count in self._left_out.most_common())
            notices.emit(
                "rows_left_out", f"{name}: {plural(total, 'row')} left out: {reasons}.", **self._left_out
            )


@dataclass(frozen=True)
class NotOneClass:
    """A label that is a list or an object, but not of one class."""

    found: str


def one_class(value: Any) -> Any:
    """Return the class in a label's value.

    Args:
        value: of a label's cell.

    Returns:
        The value itself if it is no container. The one class of `["a"]`, `{"choices": ["a"]}`, `[{"value": "a"}]`,
        `{"a": 1, "b": 0}`, also where the cell has them as text (JSON or Python); None if it is empty; NotOneClass for
        several classes and for other containers.
    """
    if isinstance(value, str):
        parsed = _parsed(value)
        return value if parsed is None else one_class(parsed)
    if isinstance(value, dict):
        return _of_object(value)
    if isinstance(value, list | tuple | set):
        return _of_list(list(value))
    return value


def _of_list(values: list[Any]) -> Any:
    if any(isinstance(value, list | tuple) for value in values):
        return NotOneClass("lists inside a list, such as marked spans of the text")
    classes = [one_class(value) if isinstance(value, dict) else value for value in values]
    wrong = next((value for value in classes if isinstance(value, NotOneClass)), None)
    if wrong:
        return wrong
    if any(other != classes[0] for other in classes):
        return NotOneClass("several classes")
    return classes[0] if classes else None


def _of_object(value: dict[Any, Any]) -> Any:
    for name in ("choices", "value"):  # Label Studio, Argilla
        if name in value:
            return one_class(value[name])
    scores = list(value.values())
    if scores and all(isinstance(score, bool | int | float) for score in scores):  # spaCy
        if any(score not in (0, 1) for score in scores):
            return NotOneClass("an object of classes with scores other than 0 and 1")
        chosen = [name for name, score in value.items() if score]
        if len(chosen) == 1:
            return chosen[0]
        return NotOneClass("several classes" if chosen else "an object in which no class has 1")
    return NotOneClass("an object") if value else None


def _parsed(text: str) -> Any:
    """Return the list or object that a text represents, None if it is just a text."""
    text = text.strip()
    if not text or BRACKETS.get(text[0]) != text[-1]:
        return None
    if len(text) <= LONGEST:
        if FLAT.fullmatch(text):
            with contextlib.suppress(ValueError, SyntaxError):  # a wrong escape sequence
                return ast.literal_eval(text)
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(text)
            return value if isinstance(value, list | dict) else None
    # Nested lists and numpy's form, ['a' 'b'], are no class either.
    return [[text]] if CONTAINER.match(text) else None
