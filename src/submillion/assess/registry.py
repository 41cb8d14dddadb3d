"""The parts of an analysis: their names, their modules, and how they are computed, stored and recomputed."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from submillion.assess.run_context import RunContext
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.terminal.progress import named_work


@dataclass(frozen=True)
class Part:
    """One part of the analysis: a module whose `analyse(context)` returns a JSON object.

    A module whose result rests on a model's saved predictions (baselines, altered texts) also has
    `recheck(context, saved)`, which recomputes the object from the run's files without that model.
    """

    name: str
    module: str
    title: str
    """What computing it does, for the terminal."""
    slow: bool = False
    """Computed on request only."""
    of_folds: bool = False
    """Computed only for a run with cross-validation."""
    of_training: bool = False
    """Needs the training rows, which are unknown of an adopted run."""
    by_name: bool = False
    """Left out of `all`: it changes what `predict` offers, or is of few runs."""

    def load(self) -> ModuleType:
        """Import the part's module."""
        return importlib.import_module(f"submillion.assess.{self.module}")


PARTS = {
    part.name: part
    for part in (
        # Are the probabilities calibrated, and when should the run abstain?
        Part("confidence", "confidence.analysis", "calibrating the probabilities"),
        Part("thresholds", "confidence.thresholds", "choosing thresholds per class", slow=True, by_name=True),
        # How certain are the scores?
        Part("intervals", "statistics.intervals", "computing intervals of the scores"),
        Part(
            "cross_validation",
            "cross_validation",
            "scoring the cross-validation",
            of_folds=True,
            of_training=True,
        ),
        # Where does the run fail?
        Part("errors", "errors.analysis", "sorting the errors"),
        # What do simpler models achieve?
        Part("baseline", "baselines.analysis", "fitting simpler models", of_training=True),
        # Can the data be trusted?
        Part("duplicates", "data_quality.near_duplicates", "looking for near duplicates", of_training=True),
        Part("noise", "data_quality.label_noise", "looking for wrong labels", slow=True, of_training=True),
        # Which words drive the answers?
        Part("attribution", "attribution.analysis", "explaining answers", slow=True),
        # Whom may the run harm, and how does it answer outside its domain?
        Part("audit", "audit.analysis", "altering texts", slow=True),
        # May it answer in int8?
        Part("int8", "int8_proof", "proving int8", slow=True, of_training=True, by_name=True),
        # Did caching the lower layers in int8 change answers?
        Part(
            "prefix_int8",
            "prefix_int8",
            "comparing with lower layers in float",
            slow=True,
            of_training=True,
            by_name=True,
        ),
    )
}
COST = "cost"


def quick_parts(cross_validated: bool = False, adopted: bool = False) -> list[str]:
    """Return the parts that every training computes; arguments as in `possible_parts`."""
    return [name for name in possible_parts(cross_validated, adopted) if not PARTS[name].slow]


def possible_parts(cross_validated: bool = False, adopted: bool = False) -> list[str]:
    """Return the parts that `all` means for a run.

    Args:
        cross_validated: with those of a cross-validation.
        adopted: without those that need the training rows.
    """
    return [
        name
        for name, part in PARTS.items()
        if not part.by_name and (cross_validated or not part.of_folds) and not (adopted and part.of_training)
    ]


def check_names(names: Sequence[str]) -> None:
    """Refuse unknown names of parts; raises BadInput with all of them."""
    if unknown := [name for name in names if name not in PARTS]:
        expected = f"some of {', '.join(PARTS)}"
        raise BadInput(
            [Problem("@{parts}", expected, f"'{name}'", did_you_mean(name, PARTS)) for name in unknown]
        )


def compute_parts(context: RunContext, names: Sequence[str]) -> None:
    """Compute parts of the analysis and write each to the run as `analysis/<part>.json`.

    Each file also gets its `cost`: {`seconds`, `cpu_seconds`}.

    Raises:
        BadInput: an unknown part, or texts or encoder that are no longer the run's.
    """
    check_names(names)
    for name in names:
        started_at, cpu_started_at = time.perf_counter(), time.process_time()
        with named_work(context.progress, PARTS[name].title):
            result = PARTS[name].load().analyse(context)
        cost = {
            "seconds": time.perf_counter() - started_at,
            "cpu_seconds": time.process_time() - cpu_started_at,
        }
        context.run.write_analysis(name, result | {COST: cost})


def recompute_part(context: RunContext, name: str) -> dict[str, Any]:
    """Recompute a part of the analysis from saved files, and return it without its cost.

    Raises:
        BadInput: the part was never computed, or a file it rests on is missing or changed.
    """
    saved = context.run.read_analysis(name)
    if saved is None:
        raise BadInput(Problem(str(context.run.analysis_file(name)), "an analysis", "no such file"))
    module = PARTS[name].load()
    saved.pop(COST, None)
    result: dict[str, Any] = (
        module.recheck(context, saved) if hasattr(module, "recheck") else module.analyse(context)
    )
    return result
