"""Checks of the class names of the training rows: refuses targets that are no classes, and reports doubtful names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from submillion import notices
from submillion.data.file_names import names_of_files
from submillion.data.label_cell import one_class
from submillion.data.label_values import folded, is_whole, number_of
from submillion.data.rows import LabelledRows
from submillion.errors import BadInput, Problem
from submillion.wording import listed, plural, printable

FEW_DECIMALS, MOST_DECIMALS = 3, 20
"""Different numbers with decimals that may be classes, such as ratings in half stars; more than the first only if they
repeat."""
MOST_SINGLE = 20
"""Classes of which most may have one row, as in a small trial."""
LONG_NAME = 100
"""Characters per class name on average, above which the names are probably texts."""
SHOWN = 3  # names or groups quoted in a message
QUOTED = 40  # characters of a quoted name
SAMPLE = 1000  # rows that show whether the texts repeat
SEPARATORS = (";", "|", ",", "/", "+")
# `1,2` may list two classes, but no list names a class twice, begins a number with 0 or counts to thousands.
_COMMA_DECIMAL = re.compile(r"[+-]?(\d+),(\1|0\d+|\d{3,})", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}", re.ASCII)


def check_classes(train: LabelledRows, named: Sequence[str] | None) -> dict[str, Any]:
    """Check the labels of the training rows.

    Args:
        train: the training rows.
        named: class names of the recipe or the source; the user has then said what the classes are.

    Returns:
        The findings, for the manifest: `classes`, `spellings` (names that differ only in case or blanks).

    Raises:
        BadInput: the texts are names of files, the rows have one class, or labels that are no classes: numbers with
            decimals, ids, texts, lists, names with control characters.
    """
    counts = Counter(train.labels)
    problem = names_of_files(train) or _one_class_only(train, counts) or _unprintable(train, counts)
    if not problem and not named:
        problem = _containers(train, counts) or _continuous(train, counts) or _single(train, counts)
    if problem:
        raise BadInput(problem)
    spellings = _spellings(counts, named or ())
    if not named:
        _notice_unlikely(counts)
    return {"classes": len(counts), "spellings": spellings}


def _where(train: LabelledRows) -> str:
    if train.class_values:
        return "@{labels}"
    files = [str(path) for path, _ in train.files]
    more = [f"{len(files) - SHOWN:,} more files"] if len(files) > SHOWN else []
    columns = dict.fromkeys(f"'{chosen.label}'" for chosen in train.columns if chosen.label)
    return (
        f"{listed([*files[:SHOWN], *more])}, column {listed(columns)}"
        if columns
        else listed([*files[:SHOWN], *more])
    )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{printable(name, QUOTED)}'" for name in names[:SHOWN])


def _one_class_only(train: LabelledRows, counts: Counter[str]) -> Problem | None:
    if len(counts) > 1:
        return None
    found = f"{plural(len(train), 'row')}, all of class '{next(iter(counts))}'" if counts else "no rows"
    return Problem(_where(train), "training rows of at least two classes", found)


def _unprintable(train: LabelledRows, counts: Counter[str]) -> Problem | None:
    names = [name for name in counts if printable(name) != name]
    if not names:
        return None
    rows = sum(counts[name] for name in names)
    found = f"{plural(len(names), 'class', 'classes')} with such characters in {plural(rows, 'row')}: {_quoted(names)}"
    return Problem(
        _where(train), "class names without control characters", found, "Remove them from the labels."
    )


def _containers(train: LabelledRows, counts: Counter[str]) -> Problem | None:
    """Files have their lists unwrapped when they are read; labels from memory are taken as they are."""
    names = [name for name in counts if one_class(name) is not name]
    if not names:
        return None
    rows = sum(counts[name] for name in names)
    return Problem(
        _where(train),
        "one class per text",
        f"lists or objects written as text in {plural(rows, 'row')}: {_quoted(names)}",
        "Pass the class itself; a text of several classes needs one row for each, or one of them.",
    )


def _continuous(train: LabelledRows, counts: Counter[str]) -> Problem | None:
    comma = any(map(_COMMA_DECIMAL.fullmatch, counts))
    written = {name: name.replace(",", ".", 1) if comma else name for name in counts}
    numbers = {name: number for name in counts if (number := number_of(written[name])) is not None}
    decimals = [name for name, number in numbers.items() if not is_whole(number)]
    if not decimals or len(numbers) < len(counts):
        return None
    few = len(counts) <= FEW_DECIMALS or (len(counts) <= MOST_DECIMALS and len(train) >= 2 * len(counts))
    if few:
        return None
    return Problem(
        _where(train),
        "classes",
        f"{len(counts):,} different numbers with decimals in {plural(len(train), 'row')} "
        f"({('; ' if comma else ', ').join(decimals[:SHOWN])}): the target of a regression",
        "Make classes of them in another column, such as low and high, and name it with @{data.label}; or list the "
        "numbers in @{data.labels} to train them as classes.",
    )


def _single(train: LabelledRows, counts: Counter[str]) -> Problem | None:
    single = sum(1 for count in counts.values() if count == 1)
    if len(counts) <= MOST_SINGLE or single <= len(train) / 2:
        return None
    swapped = len({train.texts[row] for row in range(min(len(train), SAMPLE))}) <= MOST_SINGLE
    remedy = (
        "The text and the label column may be swapped: name them with @{data.text} and @{data.label}."
        if swapped
        else "Name the label column with @{data.label}; or list the classes in @{data.labels} if these are classes."
    )
    return Problem(
        _where(train),
        "classes, each of several rows",
        f"{len(counts):,} different labels in {plural(len(train), 'row')}, {single:,} of them in one row only "
        f"({_quoted(sorted(counts))}): {_kind(counts)}",
        remedy,
    )


def _kind(counts: Counter[str]) -> str:
    """Return the probable kind of many different labels."""
    if all(_DATE.fullmatch(name) for name in counts):
        return "dates"
    if all(number_of(name) is not None or name.isdecimal() for name in counts):
        return "ids or a number to predict"
    return "texts" if sum(" " in name for name in counts) > len(counts) / 2 else "ids or texts"


def _spellings(counts: Counter[str], named: Sequence[str]) -> list[list[str]]:
    """Return groups of class names that differ only in case, blanks or compatibility forms, after a notice."""
    groups: dict[str, list[str]] = {}
    for name in sorted(counts):
        groups.setdefault(folded(name), []).append(name)
    # Spellings that the recipe does not name are read as the class that it names.
    names = set(named)
    alike = [
        group for group in groups.values() if len(group) > 1 and (not names or len(names & set(group)) > 1)
    ]
    if alike:
        shown = [
            listed(f"'{name}' ({plural(counts[name], 'row')})" for name in group) for group in alike[:SHOWN]
        ]
        more = f"; and {len(alike) - SHOWN:,} more" if len(alike) > SHOWN else ""
        notices.emit(
            "class_spellings",
            f"classes whose names differ only in case or blanks: {'; '.join(shown)}{more}. They are trained as "
            "different classes; to merge them, list one spelling of each class in data.labels.",
            groups=len(alike),
        )
    return alike


def _notice_unlikely(counts: Counter[str]) -> None:
    """Report class names that are probably something else."""
    names = list(counts)
    if all(_DATE.fullmatch(name) for name in names):
        notices.emit(
            "class_dates", f"the {len(names):,} classes are dates, such as {_quoted(sorted(names))}."
        )
    elif sum(map(len, names)) > LONG_NAME * len(names):
        mean = sum(map(len, names)) / len(names)
        notices.emit(
            "class_texts",
            f"the {len(names):,} class names have {mean:.0f} characters on average and are perhaps texts: "
            f"{_quoted(sorted(names))}.",
        )
    for separator in SEPARATORS:
        several = [name for name in names if separator in name and _parts(name, separator) <= counts.keys()]
        if several:
            rows = sum(counts[name] for name in several)
            verb = "lists" if len(several) == 1 else "list"
            notices.emit(
                "class_combinations",
                f"{plural(len(several), 'class name')} ({plural(rows, 'row')}) {verb} other classes, such as "
                f"{_quoted(several[:1])}; each combination is trained as a class of its own.",
                classes=len(several),
                rows=rows,
            )
            return


def _parts(name: str, separator: str) -> set[str]:
    return {part.strip() for part in name.split(separator)}
