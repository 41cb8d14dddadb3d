"""Baselines beside a run: how their predictions are saved, scored and compared with the run's, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from submillion.assess.run_context import RunContext
from submillion.assess.statistics import intervals
from submillion.assess.statistics.bootstrap import RESAMPLES
from submillion.assess.statistics.multiple_tests import add_holm
from submillion.assess.statistics.paired_tests import paired
from submillion.errors import BadInput, Problem
from submillion.run_format.analysis import BaselineEntry, Baselines, FitFacts, Verdict
from submillion.run_format.interval import ALPHA, limits_of
from submillion.run_format.predictions import Predictions
from submillion.wording import p_equals, points, points_range

MEASURES = ("accuracy", "macro_f1")
BEATS, NO_DIFFERENCE, WORSE = "beats", "no difference shown", "worse"
VERBS = {BEATS: "beats", NO_DIFFERENCE: "does not beat", WORSE: "is worse than"}


@dataclass(frozen=True)
class Baseline:
    """Another classifier of the same texts."""

    name: str
    """Also the folder of its predictions below `analysis/baselines`."""
    title: str
    method: str
    """One sentence that describes it."""


def report(
    context: RunContext,
    baselines: Sequence[Baseline],
    facts: Mapping[str, FitFacts],
    absent: str | None,
    main: str,
) -> Baselines:
    """Score the saved predictions of baselines and compare the run with each of them.

    The p-values of each measure are corrected over the baselines of the part (Holm).

    Args:
        context: the run.
        baselines: all baselines of the part; those without saved predictions are left out.
        facts: what fitting each of them recorded, by name.
        absent: why baselines are left out.
        main: name of the baseline that the verdict is about.

    Raises:
        BadInput: predictions that are unlabelled, or not of the run's rows.
    """
    own, _ = context.labelled_predictions()
    entries = {
        baseline.name: _entry(context, baseline, facts[baseline.name])
        for baseline in with_predictions(context, baselines)
    }
    comparisons = [entry["against_run"] for entry in entries.values()]
    add_holm([comparison["accuracy"] for comparison in comparisons])
    add_holm([comparison["macro_f1"] for comparison in comparisons])
    for comparison in comparisons:
        comparison["shown"] = comparison["accuracy"]["p_holm"] < ALPHA
    scores = intervals.analyse(context)["splits"][context.split]
    main_entry = entries.get(main)
    return {
        "split": context.split,
        "rows": len(own),
        "resamples": RESAMPLES,
        "optimistic": context.split == "validation",
        "run": {"accuracy": scores["accuracy"], "macro_f1": scores["macro_f1"]},
        "baselines": entries,
        "absent": absent,
        "verdict": verdict(main, main_entry, main_entry["title"]) if main_entry else None,
    }


def recompute(
    context: RunContext, saved: Mapping[str, Any], baselines: Sequence[Baseline], main: str
) -> Baselines:
    """Recompute `report` from the saved predictions.

    Only the `FitFacts` of each baseline are copied from `saved`, and, if a baseline is missing, the reason.

    Raises:
        BadInput: saved predictions that are not of the run's rows, or a `saved` that lacks one of the baselines.
    """
    present = [baseline.name for baseline in with_predictions(context, baselines)]
    try:
        facts: dict[str, Any] = {
            name: {key: saved["baselines"][name][key] for key in FitFacts.__annotations__} for name in present
        }
        absent = saved["absent"] if len(present) < len(baselines) else None
    except (KeyError, TypeError) as error:
        where = str(context.run.analysis / "baselines")
        expected = "saved predictions of the baselines that the analysis names"
        raise BadInput(Problem(where, expected, f"{type(error).__name__}: {error}")) from error
    return report(context, baselines, facts, absent, main)


def save_predictions(
    context: RunContext, name: str, probabilities: np.ndarray, classes: Sequence[int]
) -> None:
    """Save a baseline's predictions of the rows of `context.split`.

    Args:
        context: the run.
        name: of the baseline.
        probabilities: float [N, K], each row sums to 1.
        classes: class index of each column, [K]; classes that the baseline never saw get probability 0.
    """
    own = context.predictions(context.split)
    whole = np.zeros((len(own), len(context.labels)))
    whole[:, list(classes)] = probabilities
    context.run.save_predictions(
        context.split,
        Predictions.of(own.ids, own.text_sha256, own.labels, whole, context.labels),
        baseline=name,
    )


def load_predictions(context: RunContext, name: str) -> Predictions:
    """Return a baseline's saved predictions.

    Raises:
        BadInput: they are not of the run's rows and classes, or contradict themselves.
    """
    own = context.predictions(context.split)
    saved = context.run.load_predictions(context.split, baseline=name)
    differing = [
        key for key in ("ids", "text_sha256", "label_names") if getattr(saved, key) != getattr(own, key)
    ]
    if saved.labels is None or own.labels is None or not np.array_equal(saved.labels, own.labels):
        differing.append("labels")
    elif not np.array_equal(saved.predicted, saved.probabilities.argmax(axis=1)):
        differing.append("predicted classes, which are not the most probable ones")
    if differing:
        where = str(context.run.prediction_file(context.split, baseline=name))
        expected = "predictions of the run's rows and classes, in their order"
        raise BadInput(Problem(where, expected, f"other {', '.join(differing)}"))
    return saved


def with_predictions(context: RunContext, baselines: Sequence[Baseline]) -> list[Baseline]:
    """Return the baselines that have saved predictions of `context.split`."""
    return [
        baseline
        for baseline in baselines
        if context.run.prediction_file(context.split, baseline=baseline.name).is_file()
    ]


def remove_predictions(context: RunContext, baselines: Sequence[Baseline]) -> None:
    """Remove the predictions of an earlier analysis, so that no outdated baseline is reported."""
    for baseline in with_predictions(context, baselines):
        context.run.prediction_file(context.split, baseline=baseline.name).unlink()


def verdict(name: str, entry: BaselineEntry, title: str) -> Verdict:
    """State what the paired test and its interval support about the run and one baseline, and no more.

    The run `beats` the baseline or is `worse` if the exact McNemar test, corrected, is below 0.05 and the interval of
    the difference excludes 0; otherwise no difference is shown.

    Args:
        name: of the baseline.
        entry: its entry in the report.
        title: what the sentence calls it.
    """
    comparison = entry["against_run"]
    accuracy = comparison["accuracy"]
    low, high = limits_of(accuracy["difference_interval"])
    kind = NO_DIFFERENCE
    if comparison["shown"] and (low > 0 or high < 0):
        kind = BEATS if low > 0 else WORSE
    # If the interval includes 0, it alone supports the verdict.
    tested = "" if low <= 0 <= high else f" (exact McNemar test, corrected: {p_equals(accuracy['p_holm'])})"
    return {
        "baseline": name,
        "kind": kind,
        "difference": accuracy["difference"],
        "difference_interval": accuracy["difference_interval"],
        "p_holm": accuracy["p_holm"],
        "sentence": f"The run {VERBS[kind]} the {title}: {points(accuracy['difference'])} points of accuracy, "
        f"95% interval {points_range(low, high)}{tested}.",
    }


def _entry(context: RunContext, baseline: Baseline, facts: FitFacts) -> BaselineEntry:
    """Return one baseline's scores, and the run against it."""
    own, labels = context.labelled_predictions()
    saved = load_predictions(context, baseline.name)
    rng = np.random.default_rng(context.seed)
    scores = intervals.split_intervals(labels, saved.predicted, context.labels, rng)
    rng = np.random.default_rng(context.seed)
    return {
        "title": baseline.title,
        "method": baseline.method,
        **facts,
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        "against_run": paired(labels, own.predicted, saved.predicted, len(context.labels), rng),
    }
