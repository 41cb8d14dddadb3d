"""The runs that a server serves: opened, named, and with one encoder in memory for all runs that share it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from submillion.errors import BadInput, Problem
from submillion.model.class_thresholds import PART as THRESHOLDS
from submillion.model.class_thresholds import ClassThresholds, class_thresholds
from submillion.model.inference import open_for_answers
from submillion.model.precisions import AUTO, INT8
from submillion.model.shared import share_encoder
from submillion.model.trained import OpenedRun
from submillion.rundir import RunDir
from submillion.ship.policy import abstain_threshold, fitted_temperature
from submillion.sources.adapter_files import TENSORS

WARM_UP = "a text"
"""Classified once by each run before the server listens: the kernels copy the weights when a layer first runs."""


@dataclass(frozen=True)
class ServedRun:
    """One run, ready to answer."""

    name: str
    """The name that requests use: that of its directory."""
    run: RunDir
    opened: OpenedRun
    group: int
    """Number of the thread that owns it; runs that share an encoder share the thread."""
    place: int
    """Its number in that thread."""
    temperature: float | None
    """Fitted on the validation rows; None if the run has none."""
    threshold: float | None
    """Of the run's abstain policy; None if it has none."""
    class_thresholds: ClassThresholds | None
    """Chosen by `report`; None if the run has none."""
    sha256: str
    """Of the adapter's weights, for clients that compare versions."""

    @property
    def labels(self) -> list[str]:
        """Class names by index."""
        return self.opened.labels


def named(paths: Sequence[str | Path]) -> dict[str, RunDir]:
    """Return finished runs by name; nothing heavy is loaded.

    Raises:
        BadInput: no run, an unfinished one, or two of one name.
    """
    runs: dict[str, RunDir] = {}
    for path in paths:
        run = RunDir.open(path)
        name = Path(os.path.abspath(path)).name  # noqa: PTH100  # without `..`, and a link keeps its own name
        if name in runs:
            remedy = "Rename one of the directories, or name one through a link."
            raise BadInput(
                Problem(str(path), "runs whose directories differ in name", f"'{name}' twice", remedy)
            )
        status = run.read_manifest()["status"]
        if status != "complete":
            remedy = "Finish it with `resume`, or train it again."
            raise BadInput(Problem(str(path), "a finished run", f"one that is {status}", remedy))
        runs[name] = run
    return runs


def state_of(path: str | Path) -> dict[str, str]:
    """Return what decides the answers of a run: the sha256 of its files, and what its analysis has chosen.

    Raises:
        BadInput: there is no run.
    """
    run = RunDir.open(path)
    chosen = _chosen(run)
    thresholds = None if chosen is None else (chosen.objective, chosen.values.tolist())
    fitted = fitted_temperature(run), abstain_threshold(run), thresholds
    return run.hashes(run.recipe, run.adapter, run.tokenizer) | {"analysis": repr(fitted)}


def open_runs(paths: Sequence[str | Path], precision: str = AUTO) -> list[ServedRun]:
    """Open runs for serving; runs on the same encoder use one copy of its weights.

    A run that shares its encoder has its adapter beside the frozen weights; one that does not has it merged into them,
    which is faster. Weights in int8 have the adapter merged, so `int8` shares none, and `auto` does not take int8 for
    runs that share their encoder.

    Args:
        paths: at least one run directory.
        precision: as in `open_for_answers`.

    Raises:
        BadInput: as `named` and `open_for_answers`.
    """
    runs = named(paths)
    groups: dict[str, list[str]] = {}
    for name, run in runs.items():
        groups.setdefault(_encoder_of(run), []).append(name)
    served: dict[str, ServedRun] = {}
    number = 0
    for names in groups.values():
        alone = len(names) == 1 or precision == INT8
        opened = {name: open_for_answers(runs[name], precision, merged=alone) for name in names}
        for together in [[name] for name in names] if alone else share_encoder(opened):
            if len(together) == 1 and not alone:
                opened[together[0]] = open_for_answers(runs[together[0]], precision)
            for place, name in enumerate(together):
                served[name] = _served(name, runs[name], opened[name], number, place)
            number += 1
    for one in served.values():
        one.opened.probabilities([WARM_UP], 1)
    return [served[name] for name in runs]


def _encoder_of(run: RunDir) -> str:
    """Return the identity of a run's encoder: the sha256 of its files."""
    return json.dumps(run.read_manifest().get("encoder", {}).get("sha256", {}), sort_keys=True)


def _served(name: str, run: RunDir, opened: OpenedRun, group: int, place: int) -> ServedRun:
    return ServedRun(
        name,
        run,
        opened,
        group,
        place,
        fitted_temperature(run),
        abstain_threshold(run),
        _chosen(run),
        next(iter(run.hashes(run.adapter / TENSORS).values()), ""),
    )


def _chosen(run: RunDir) -> ClassThresholds | None:
    return None if run.read_analysis(THRESHOLDS) is None else class_thresholds(run)
