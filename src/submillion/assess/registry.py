"""The parts of an analysis: which there are, which are slow, and how they are made, kept and checked again."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from submillion.errors import BadInput, Problem, did_you_mean

if TYPE_CHECKING:
    from types import ModuleType

    from submillion.assess.run_context import RunContext


@dataclass(frozen=True)
class Part:
    """One question about a run, answered by one module's `analyse(context)` with a JSON object.

    A module whose answer rests on work of a model that it saved (baselines, altered texts) also has
    `recheck(context, found)`: the same object, computed again from the run's files without that model.
    """

    name: str
    module: str
    slow: bool = False
    """Left out unless it is asked for."""

    def load(self) -> ModuleType:
        """Import the module that answers it."""
        return importlib.import_module(f"submillion.assess.{self.module}")


PARTS = {
    part.name: part
    for part in (
        # Do its probabilities mean what they say, and when should it be silent?
        Part("confidence", "confidence.analysis"),
        # How sure may one be of its scores?
        Part("intervals", "statistics.paired_tests"),
        # Where does it fail?
        Part("errors", "errors.analysis"),
        # What would have been had for nothing?
        Part("baseline", "baselines.tfidf_svm"),
        Part("probe", "baselines.linear_probe", slow=True),
        # Can the data be trusted?
        Part("duplicates", "data_quality.near_duplicates"),
        Part("noise", "data_quality.label_noise", slow=True),
        # Which words drive its answers?
        Part("attribution", "attribution.analysis", slow=True),
        # Whom may it hurt, and what does it say outside its domain?
        Part("audit", "audit.analysis", slow=True),
    )
}
COST = "cost"


def quick_parts() -> list[str]:
    """Return the parts that every training makes."""
    return [name for name, part in PARTS.items() if not part.slow]


def check_names(names: Sequence[str]) -> None:
    """Refuse names that are no parts; raises BadInput with all of them."""
    if unknown := [name for name in names if name not in PARTS]:
        expected = f"some of {', '.join(PARTS)}"
        raise BadInput(
            [Problem("--with", expected, f"'{name}'", did_you_mean(name, PARTS)) for name in unknown]
        )


def analyse(context: RunContext, names: Sequence[str]) -> None:
    """Make parts of the analysis and keep each in the run as `analysis/<part>.json`.

    Each file gets `cost`: {`seconds`, `cpu_seconds`} that making it took.

    Raises:
        BadInput: an unknown part, or texts or encoder that are not the run's any more.
    """
    check_names(names)
    for name in names:
        began, began_cpu = time.perf_counter(), time.process_time()
        found = PARTS[name].load().analyse(context)
        cost = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - began_cpu}
        context.run.write_analysis(name, found | {COST: cost})


def recomputed(context: RunContext, name: str) -> dict[str, Any]:
    """Return a part of the analysis made again from saved files, without its cost.

    Raises:
        BadInput: the part was never made, or what it rests on is gone or changed.
    """
    found = context.run.read_analysis(name)
    if found is None:
        raise BadInput(Problem(str(context.run.analysis_file(name)), "an analysis", "no such file"))
    module = PARTS[name].load()
    found.pop(COST, None)
    again: dict[str, Any] = (
        module.recheck(context, found) if hasattr(module, "recheck") else module.analyse(context)
    )
    return again
