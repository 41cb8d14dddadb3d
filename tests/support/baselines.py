"""Made baselines of a made run: the part "baseline" for the tests of page, card and closing lines."""

from __future__ import annotations

from typing import Any

from submillion.assess.baselines import comparison
from submillion.run_format.interval import interval


def made_baseline(
    title: str, difference: float = 0.003, reach: float = 0.005, **facts: Any
) -> dict[str, Any]:
    """Return one entry as `comparison.report` makes it: the run is better by `difference`, give or take `reach`."""
    of = {
        "a": 0.943,
        "b": 0.943 - difference,
        "difference": difference,
        "difference_interval": interval(difference, difference - reach, difference + reach),
        "p": 0.31,
        "bootstrap_interval": interval(difference),
    }
    entry = {
        "title": title,
        "method": "Made up & <b>bold</b>.",
        "trained_on": ["train"],
        "training_rows": 4321,
        "parameters": 511_586,
        "strength": {
            "model": "linear SVM",
            "value": 0.3,
            "chosen_on": "validation",
            "rows": 4000,
            "ladder": [
                {"value": 0.1, "accuracy": 0.9111, "converged": False},
                {"value": 0.3, "accuracy": 0.9222, "converged": True},
            ],
        },
        "fit_seconds": 12.4,
        "predict_seconds": 0.43,
        "accuracy": interval(0.9412, 0.8, 0.98),
        "macro_f1": interval(0.9278),
        "against_run": {
            "rows": 80,
            "resamples": 10_000,
            "only_a": 17,
            "only_b": 13,
            "accuracy": of,
            "macro_f1": of | {"difference": 0.0123, "difference_interval": interval(0.0123)},
        },
    } | facts
    return entry | {"outcome": comparison.outcome(entry["against_run"])}


def made_baselines(
    baselines: dict[str, dict[str, Any]] | None = None, constant: str = "ham", **facts: Any
) -> dict[str, Any]:
    """Return the part "baseline" with the verdict that follows from its baselines.

    Args:
        baselines: entries by name; None takes all four, of which the probe is the best.
        constant: the class that `majority` answers.
        facts: replace entries of the part.
    """
    if baselines is None:
        baselines = {
            "majority": made_baseline("most frequent class", 0.69, strength=None, parameters=1),
            "words": made_baseline("linear model of words", 0.0143),
            "characters": made_baseline("linear model of character sequences", 0.02),
            "probe": made_baseline("linear probe"),
        }
    optimistic = facts.get("optimistic", False)
    return {
        "split": "test",
        "rows": 80,
        "resamples": 10_000,
        "optimistic": False,
        "run": {"accuracy": interval(0.943, 0.88, 0.98), "macro_f1": interval(0.9381, 0.9, 0.96)},
        "baselines": baselines,
        "absent": {},
        "verdict": comparison.verdict(baselines, constant, optimistic) if baselines else None,
    } | facts
