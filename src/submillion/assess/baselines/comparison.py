"""Baselines beside a run: their saved predictions, their scores, the run against each of them, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from submillion.assess.baselines.baseline import Baseline
from submillion.assess.run_context import RunContext
from submillion.assess.statistics import intervals
from submillion.assess.statistics.bootstrap import RESAMPLES
from submillion.assess.statistics.paired_tests import paired
from submillion.errors import BadInput, Problem
from submillion.run_format.analysis import BaselineEntry, Baselines, FitFacts, PairedComparison, Verdict
from submillion.run_format.interval import limits_of
from submillion.run_format.predictions import Predictions
from submillion.wording import percent, points, points_range, printable, shorten

LEADS, TRAILS, NO_CLEAR_LEAD = "leads", "trails", "no clear lead"
CONSTANT = "majority"
"""The baseline whose answer is the same for every text."""
NAME_LENGTH = 40
"""Characters of a class name in a sentence."""
OPTIMISTIC = " The validation rows also chose the run's epoch, which favours the run."


def report(
    context: RunContext,
    baselines: Sequence[Baseline],
    facts: Mapping[str, FitFacts],
    absent: Mapping[str, str],
) -> Baselines:
    """Score the saved predictions of baselines and compare the run with each of them.

    Args:
        context: the run.
        baselines: those with saved predictions.
        facts: what fitting each of them recorded, by name.
        absent: why the others are missing, by name.

    Raises:
        BadInput: predictions that are unlabelled, or not of the run's rows.
    """
    _, labels = context.labelled_predictions()
    entries = {baseline.name: _entry(context, baseline, facts[baseline.name]) for baseline in baselines}
    scores = intervals.analyse(context)["splits"][context.split]
    constant = None
    if CONSTANT in entries:
        constant = context.labels[int(load_predictions(context, CONSTANT).predicted[0])]
    optimistic = context.split == "validation" and not context.cross_validated
    return {
        "split": context.split,
        "rows": len(labels),
        "resamples": RESAMPLES,
        "optimistic": optimistic,
        "run": {"accuracy": scores["accuracy"], "macro_f1": scores["macro_f1"]},
        "baselines": entries,
        "absent": dict(absent),
        "verdict": verdict(entries, constant, optimistic) if entries else None,
    }


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


def verdict(entries: Mapping[str, BaselineEntry], constant: str | None, optimistic: bool) -> Verdict:
    """State what the interval of the difference supports about the run and the best of its baselines, and no more.

    The best baseline is the most accurate one on the same rows, the first of equally accurate ones. A run that leads
    the best one but not a less accurate one, whose difference has a wider interval, has no clear lead over that one.
    Since a lead takes all intervals, its level of 5% needs no correction for their number (intersection-union test:
    R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24 (1982) 295-300).
    "Trails" takes one of them, so with m baselines a run that is as good as all of them trails with up to m times 2.5%.

    Args:
        entries: the baselines by name, at least one.
        constant: the class that the baseline `majority` always answers, if it is among them.
        optimistic: the rows also chose the run's epoch.
    """
    ranked = sorted(entries, key=lambda name: -entries[name]["against_run"]["accuracy"]["b"])
    not_led = [name for name in ranked if entries[name]["outcome"] != LEADS]
    name = ranked[0] if entries[ranked[0]]["outcome"] != LEADS or not not_led else not_led[0]
    entry = entries[name]
    accuracy = entry["against_run"]["accuracy"]
    return {
        "baseline": name,
        "kind": entry["outcome"],
        "difference": accuracy["difference"],
        "difference_interval": accuracy["difference_interval"],
        "sentence": _sentence(entry, constant if name == CONSTANT else None)
        + (OPTIMISTIC if optimistic else ""),
    }


def _sentence(entry: BaselineEntry, constant: str | None) -> str:
    accuracy = entry["against_run"]["accuracy"]
    low, high = limits_of(accuracy["difference_interval"])
    figures = f"{points(accuracy['difference'])} points of accuracy, 95% interval {points_range(low, high)}"
    both = f"{percent(accuracy['b'], 2)} against {percent(accuracy['a'], 2)}"
    baseline = f"the {entry['title']}"
    if constant is not None:
        baseline = f"always answering “{printable(shorten([constant], NAME_LENGTH)[0])}”"
    if entry["outcome"] == LEADS:
        return f"The run leads the best baseline, {baseline}: {figures}."
    if entry["outcome"] == TRAILS:
        return f"The run trails: {baseline} is better ({both}). Difference: {figures}."
    if accuracy["difference"] <= 0:
        return f"The run has no clear lead: {baseline} is at least as good ({both}). Difference: {figures}."
    return f"The run has no clear lead over {baseline}: {figures}."


def outcome(comparison: PairedComparison) -> str:
    """Return whether the run leads or trails a baseline, by the interval of the difference (`paired_interval`)."""
    low, high = limits_of(comparison["accuracy"]["difference_interval"])
    if low <= 0 <= high:
        return NO_CLEAR_LEAD
    return LEADS if low > 0 else TRAILS


def _entry(context: RunContext, baseline: Baseline, facts: FitFacts) -> BaselineEntry:
    """Return one baseline's scores, and the run against it."""
    own, labels = context.labelled_predictions()
    saved = load_predictions(context, baseline.name)
    rng = np.random.default_rng(context.seed)
    scores = intervals.split_intervals(labels, saved.predicted, context.labels, rng)
    rng = np.random.default_rng(context.seed)
    against_run = paired(labels, own.predicted, saved.predicted, len(context.labels), rng)
    return {
        "title": baseline.title,
        "method": baseline.method,
        **facts,
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        "against_run": against_run,
        "outcome": outcome(against_run),
    }
