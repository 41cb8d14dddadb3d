"""The part "baseline": the baselines of a run, fitted, saved and compared with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from submillion.assess.baselines import comparison, linear_probe, majority, term_model
from submillion.assess.baselines.baseline import Fitted
from submillion.assess.baselines.out_of_fold import fit_out_of_fold
from submillion.assess.run_context import RunContext
from submillion.errors import BadInput, Problem
from submillion.run_format.analysis import Baselines, FitFacts

BASELINES = {
    baseline.name: baseline
    for baseline in (majority.MAJORITY, term_model.WORDS, term_model.CHARACTERS, linear_probe.PROBE)
}
"""By name, the cheapest first."""


def analyse(context: RunContext) -> Baselines:
    """Fit every baseline on the run's training rows, save its predictions, and compare the run with it.

    A baseline's strength is chosen on the validation rows; if the run is scored on those, on a fifth of the training
    rows. No baseline chooses or learns by the rows that it is scored on: that of a cross-validated run is fitted for
    every fold, as the run is. The predictions are saved as
    `analysis/baselines/<name>/<split>.parquet`.

    Raises:
        BadInput: data or encoder are no longer the run's.
    """
    # All are fitted before any file changes: where one fails, as without the encoder, the earlier part is unchanged.
    every = refit(context)
    facts: dict[str, FitFacts] = {}
    absent: dict[str, str] = {}
    for name, fitted in every.items():
        for file in context.run.prediction_file(context.split, baseline=name).parent.glob("*.parquet"):
            file.unlink()  # also those of an interrupted training, which were of the validation rows
        if isinstance(fitted, str):
            absent[name] = fitted
        else:
            context.run.save_predictions(context.split, fitted.predictions, baseline=name)
            facts[name] = fitted.facts
    return comparison.report(context, [BASELINES[name] for name in facts], facts, absent)


def refit(context: RunContext, names: Sequence[str] | None = None) -> dict[str, Fitted | str]:
    """Fit baselines again from the run's data; nothing is written to the run.

    The same data, versions and kind of machine give the same predictions: to the last bit for `majority`, `words` and
    `characters`; the probe also depends on the number of threads.

    Args:
        context: the run.
        names: of the baselines; None takes all.

    Returns:
        By name: the fitted baseline, or the reason why there is none.

    Raises:
        BadInput: data or encoder are no longer the run's.
    """
    crossed = context.cross_validated and context.split == "validation"
    return {
        name: fit_out_of_fold(context, BASELINES[name]) if crossed else BASELINES[name].fit(context)
        for name in (BASELINES if names is None else names)
    }


def recheck(context: RunContext, saved: Mapping[str, Any]) -> Baselines:
    """Recompute the part from the saved predictions of the baselines; nothing is fitted.

    Copied from `saved` are the baselines' `FitFacts`, and why one is missing. Not detected, except by `refit`:
    predictions that no such baseline makes, changed together with every figure that follows from them.

    Raises:
        BadInput: predictions that are not of the run's rows, or a baseline without predictions and without a reason.
    """
    try:
        absent = {name: str(saved["absent"][name]) for name in BASELINES if name in saved["absent"]}
        present = [baseline for name, baseline in BASELINES.items() if name not in absent]
        facts: dict[str, Any] = {
            baseline.name: {key: saved["baselines"][baseline.name][key] for key in FitFacts.__annotations__}
            for baseline in present
        }
    except (KeyError, TypeError) as error:
        where = str(context.run.analysis_file("baseline"))
        expected = f"the baselines {', '.join(BASELINES)}, or why one of them is missing"
        raise BadInput(Problem(where, expected, f"{type(error).__name__}: {error}")) from error
    return comparison.report(context, present, facts, absent)
