"""The exports of annotation tools as flat rows: Label Studio, Argilla and spaCy; rows that annotators rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from submillion import notices
from submillion.data.table import LABEL, TEXT, Malformed, Table, Unlabelled

# Columns in which a tool marks rows that must not train: the words it uses, and those of rows to leave out.
MARKS: dict[str, tuple[set[Any], set[Any]]] = {
    "answer": ({"accept", "reject", "ignore"}, {"reject", "ignore"}),  # Prodigy
    "status": (
        {"Validated", "Discarded", "Default", "submitted", "discarded", "draft", "pending"},
        {"Discarded", "discarded"},
    ),
    "was_cancelled": (
        {True, False, "true", "false", "True", "False"},
        {True, "true", "True"},
    ),  # Label Studio
}
"""(all words, words of rows to leave out); Prodigy's `answer`, Argilla's `status`, Label Studio's `was_cancelled`."""


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Export:
    """How the entries of a JSON file become flat rows."""

    form: str = ""
    """What the file is, for a notice; empty for a file that needs no conversion."""
    flat: Callable[[Any], Any] = _same
    """Converts an entry."""
    text: str | None = None
    """Column that certainly has the text, if the form says so."""
    label: str | None = None
    """Column that certainly has the class, if the form says so."""

    def table(self, table: Table) -> Table:
        """Return a table with the columns that this form is certain of."""
        if not self.form:
            return table
        names = ", ".join(repr(name) for name in table.columns[:10])
        notices.emit("export", f"{table.path.name}: read as {self.form}, with the columns {names}.")
        return replace(table, text=self.text, label=self.label)


def export_of(entries: Sequence[Any]) -> Export:
    """Return the form of a JSON file.

    Args:
        entries: the first few of the file.
    """
    first = entries[0] if entries else None
    if isinstance(first, list) and is_pair(first):
        return Export("an export of spaCy", _from_pair, TEXT, "cats" if "cats" in first[1] else None)
    if not isinstance(first, dict):
        return Export()
    if is_task(first):
        return _label_studio(entries)
    if isinstance(first.get("fields"), dict) and ("responses" in first or "suggestions" in first):
        fields, responses = first["fields"], first.get("responses")
        return Export(
            "an export of Argilla",
            _from_argilla,
            _only(fields),
            _only(responses) if isinstance(responses, dict) else None,
        )
    if "inputs" in first and "annotation" in first:
        return Export("an export of Argilla", _from_old_argilla, TEXT, "annotation")
    if isinstance(first.get("accept"), list) and first.get("answer") in MARKS["answer"][0]:
        return Export("an export of Prodigy", label="accept")
    if isinstance(first.get("cats"), dict) and LABEL not in first:
        return Export("an export of spaCy", label="cats")
    return Export()


def is_pair(entry: Any) -> bool:
    """Return whether an entry is an example of spaCy 2: [text, annotations]."""
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and isinstance(entry[1], dict)
    )


def is_task(entry: Any) -> bool:
    """Return whether an entry is a task of Label Studio with its annotations."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("data"), dict)
        and any(isinstance(entry.get(name), list) for name in ("annotations", "completions"))
    )


def mark_of(table: Table, used: Sequence[str]) -> str | None:
    """Return the column in which an annotation tool marks rejected rows, None if the file has none.

    Args:
        table: the file.
        used: columns with another role.
    """
    for name, (words, _) in MARKS.items():
        if name in used or table.columns.count(name) != 1:
            continue
        _, values = next(table.rows([name]), (0, [None]))
        if not isinstance(values, Malformed) and isinstance(values[0], str | bool) and values[0] in words:
            return name
    return None


def is_rejected(name: str, value: Any) -> bool:
    """Return whether a row with this value in the column of `mark_of` is to be left out."""
    return isinstance(value, str | bool) and value in MARKS[name][1]


def _only(names: Mapping[str, Any]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None


def _from_pair(entry: Any) -> Any:
    """Convert an example of spaCy 2: (text, {"cats": {...}})."""
    if is_pair(entry):
        return entry[1] | {TEXT: entry[0]}
    return entry


def _from_argilla(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    flat = {name: value for name, value in entry.items() if name not in ("fields", "responses")}
    for part in (entry.get("fields"), entry.get("responses")):
        flat |= part if isinstance(part, dict) else {}
    return flat


def _from_old_argilla(entry: Any) -> Any:
    inputs = entry.get("inputs") if isinstance(entry, dict) else None
    if not isinstance(inputs, dict | str):
        return entry
    label = entry.get("annotation")
    flat = {name: value for name, value in entry.items() if name != "inputs"}
    flat |= inputs if isinstance(inputs, dict) else {TEXT: inputs}
    return flat | {"annotation": Unlabelled("without an annotation") if label is None else label}


def _label_studio(entries: Sequence[Any]) -> Export:
    tasks = [entry for entry in entries if is_task(entry)]
    names = sorted({str(result.get("from_name")) for task in tasks for _, result in _choices(task)})
    texts = [name for name, value in tasks[0]["data"].items() if isinstance(value, str)]

    def flat(entry: Any) -> Any:
        if not is_task(entry):
            return entry
        classes = {name: _class_of(entry, name) for name in names or ["choices"]}
        return {"id": entry.get("id")} | entry["data"] | classes

    label = names[0] if len(names) == 1 else None if names else "choices"
    return Export("an export of Label Studio", flat, texts[0] if len(texts) == 1 else None, label)


def _choices(task: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield (annotation, result) for the results of a task that choose classes."""
    annotations = task.get("annotations", task.get("completions"))
    for annotation in annotations if isinstance(annotations, list) else []:
        results = annotation.get("result") if isinstance(annotation, dict) else None
        for result in results if isinstance(results, list) else []:
            if (
                isinstance(result, dict)
                and isinstance(result.get("value"), dict)
                and "choices" in result["value"]
            ):
                yield annotation, result


def _class_of(task: Any, name: str) -> Any:
    """Return the class that the annotators of a task chose, or why it has none."""
    chosen = [
        (annotation, result["value"]["choices"])
        for annotation, result in _choices(task)
        if result.get("from_name") == name
    ]
    valid = [(annotation, choices) for annotation, choices in chosen if not annotation.get("was_cancelled")]
    valid = [pair for pair in valid if pair[0].get("ground_truth")] or valid
    answers = [choices for _, choices in valid if choices]
    if not answers:
        return Unlabelled("skipped by the annotator" if chosen else "without an annotation")
    if any(answer != answers[0] for answer in answers):
        return Unlabelled("on which the annotators disagree")
    return answers[0]
