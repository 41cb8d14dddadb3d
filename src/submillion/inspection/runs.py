"""Lists the runs below a folder with their scores, the best first, from their small JSON files alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from submillion import run_paths, run_place
from submillion.adopted_recipe import UNKNOWN
from submillion.errors import BadInput, Problem
from submillion.files import strict_json
from submillion.run_format.interval import Interval
from submillion.run_format.manifest import FORMAT
from submillion.run_format.quantities import Count, Share
from submillion.run_format.reported import reported_scores
from submillion.run_format.splits import REPORTED_SPLITS
from submillion.run_format.typed import check
from submillion.run_layout import MANIFEST, RECIPE
from submillion.terminal.text_table import align_columns
from submillion.wording import percent, percent_interval, plural, printable, shorten

MAX_DEPTH = 5
"""Levels below the folder in which runs are searched; the runs of a study are in the third."""
LONGEST_NAME = 28
LONGEST_REASON = 200
# A directory that holds one of these beside a recipe was a run before it lost its manifest.
REMAINS = ("history.jsonl", "predictions", "adapter", "checkpoint", "tokenizer")


class _Budget(TypedDict):
    trainable: Count
    budget: Count


class _Data(TypedDict):
    name: str


class _Encoder(TypedDict):
    source: str


class _Manifest(TypedDict):
    """The keys of a manifest that the list shows."""

    format: int
    name: str
    created: str
    status: str
    seed: NotRequired[int]
    budget: _Budget
    data: NotRequired[_Data]
    encoder: _Encoder
    unfinished: NotRequired[dict[str, Any]]
    test_held_back: NotRequired[bool]


class _Scores(TypedDict):
    """The keys of a split's metrics that the list shows."""

    rows: Count
    accuracy: NotRequired[Share]
    accuracy_interval: NotRequired[Interval]
    macro_f1: NotRequired[Share]


class _Estimate(TypedDict):
    """The keys of an interval that the list shows."""

    value: Share
    low: Share | None
    high: Share | None


class _Folds(TypedDict):
    """The keys of a cross-validation that the list shows."""

    accuracy: _Estimate
    macro_f1: _Estimate


@dataclass(frozen=True)
class ListedRun:
    """One run of the list."""

    path: str
    """The folder that was searched, and the run's place in it."""
    name: str
    status: str
    """`complete`, `interrupted`, `training`, `killed` (its process has ended), or `unfinished` (an `evaluate` or
    `report` was killed); `resume` continues the last four unless a process works on them."""
    split: str | None
    """The scored split: test if there is one, else validation or cross-validation; None before the run is scored."""
    rows: int | None
    accuracy: float | None
    low: float | None
    """Lower limit of the accuracy's 95% interval."""
    high: float | None
    macro_f1: float | None
    trainable: int
    budget: int
    data: str
    """Name of the training data; `unknown` of an adopted run."""
    encoder: str
    seed: int | None
    created: str
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class UnreadableRun:
    """A directory that holds a run which cannot be read."""

    path: str
    reason: str


@dataclass(frozen=True)
class RunList:
    """The runs below a folder."""

    folder: str
    runs: list[ListedRun]
    """Best accuracy first; those without a score last."""
    unreadable: list[UnreadableRun]

    def to_json(self) -> dict[str, Any]:
        """Return the folder, the runs and the unreadable ones, with the fields of their classes."""
        return asdict(self)

    def render(self) -> str:
        """Return a table of the runs, and a line per unreadable one."""
        lines = []
        if self.runs:
            lines += align_columns([COLUMNS, *map(_row, self.runs)], right={1, 3, 4})
        else:
            lines.append(f"no runs below {printable(self.folder)}")
        if self.unreadable:
            lines += [
                "",
                f"{plural(len(self.unreadable), 'directory', 'directories')} that cannot be read as a run:",
            ]
            lines += [f"  {printable(run.path)}: {run.reason}" for run in self.unreadable]
        return "\n".join(lines)


STATED = {"accuracy", "accuracy_interval", "macro_f1"}
"""The scores of a split that has labels."""
COLUMNS = ("run", "accuracy", "95% interval", "split", "trainable", "data", "date", "status")


def list_runs(folder: str | Path) -> RunList:
    """Find and read the runs below a folder, at most MAX_DEPTH levels deep; links to folders are not followed.

    Args:
        folder: a folder of runs, or one run.

    Raises:
        BadInput: there is no such folder.
    """
    place = Path(folder)
    if not place.is_dir():
        found = "a file" if place.exists() else "no such folder"
        raise BadInput(Problem(str(folder), "a folder with runs", found, "Name another folder."))
    runs, unreadable = [], []
    for path in _directories(place, MAX_DEPTH):
        try:
            runs.append(_read(path))
        except BadInput as error:
            unreadable.append(UnreadableRun(str(path), _reason(path, error)))
    runs.sort(key=lambda run: (run.accuracy is None, -(run.accuracy or 0), run.path))
    return RunList(str(folder), runs, sorted(unreadable, key=lambda run: run.path))


def _directories(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the directories that hold a run or its remains, and those that cannot be opened."""
    try:
        with os.scandir(folder) as entries:
            names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError:
        yield folder
        return
    remains = RECIPE in names and not names.keys().isdisjoint(REMAINS)
    if remains or not names.keys().isdisjoint((MANIFEST, run_place.REPLACED, run_place.MOVING)):
        yield folder
    elif depth:
        for name, is_folder in sorted(names.items()):
            if is_folder and not name.startswith("."):
                yield from _directories(folder / name, depth - 1)


def _read(path: Path) -> ListedRun:
    manifest: _Manifest = strict_json.read(path / MANIFEST, "the manifest of a run")
    if isinstance(manifest, dict) and (version := manifest.get("format")) != FORMAT:
        raise BadInput(Problem(str(path), f"a run of format {FORMAT}", f"format {version}"))
    check(manifest, _Manifest, str(path / MANIFEST))
    file = path / "metrics.json"
    metrics: dict[str, _Scores] = strict_json.read(file, "the metrics of a run") if file.exists() else {}
    check(metrics, dict[str, _Scores], str(file))
    split = next((name for name in REPORTED_SPLITS if metrics.get(name, {}).keys() >= STATED), None)
    stated = reported_scores(split, metrics[split], _folds(path)) if split else None
    return ListedRun(
        path=str(path),
        name=manifest["name"],
        status=_status(path, manifest),
        split=stated.title if stated else None,
        rows=metrics[split]["rows"] if split else None,
        accuracy=stated.accuracy if stated else None,
        low=stated.accuracy_interval["low"] if stated else None,
        high=stated.accuracy_interval["high"] if stated else None,
        macro_f1=stated.macro_f1 if stated else None,
        trainable=manifest["budget"]["trainable"],
        budget=manifest["budget"]["budget"],
        data=_data(path, manifest),
        encoder=manifest["encoder"]["source"],
        seed=manifest.get("seed"),
        created=manifest["created"],
    )


def _data(path: Path, manifest: _Manifest) -> str:
    """Return the name of a run's data; that of a file as it is found from here, and not from the run."""
    if "data" not in manifest:
        return UNKNOWN
    name = manifest["data"]["name"]
    place = run_paths.located(name, path)
    return name if place == name else os.path.relpath(place)


def _folds(path: Path) -> _Folds | None:
    """Return mean and interval of the scores of a run's cross-validation; None if it has none."""
    file = path / "analysis" / "cross_validation.json"
    if not file.exists():
        return None
    folds: _Folds = strict_json.read(file, "the cross-validation of a run")
    check(folds, _Folds, str(file))
    return folds


def _status(path: Path, manifest: _Manifest) -> str:
    if manifest["status"] == "running":
        return "training" if run_place.is_locked(path) else "killed"
    return "unfinished" if "unfinished" in manifest else manifest["status"]


def _reason(path: Path, error: BadInput) -> str:
    """Return the first problem in a few words; the path is named beside it."""
    if run_place.is_replacing(path) and not (path / MANIFEST).exists():
        return "the run was about to be replaced; `resume` brings it back"
    problem = error.problems[0] if error.problems else Problem("", "a run", str(error))
    where = problem.where.removeprefix(str(path)).lstrip(os.sep)
    text = f"expected {problem.expected}, found {problem.found}"
    return printable(f"{where}: {text}" if where else text, LONGEST_REASON)


def _row(run: ListedRun) -> list[str]:
    interval = {"low": run.low, "high": run.high}
    return [
        run.path,
        "-" if run.accuracy is None else percent(run.accuracy, 2),
        "-" if run.accuracy is None else percent_interval(interval, 2),
        run.split or "-",
        f"{run.trainable:,}",
        shorten([run.data], LONGEST_NAME)[0],
        run.created[:10],
        run.status,
    ]
