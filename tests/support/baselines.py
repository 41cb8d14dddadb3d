"""Made baselines of a made run: the parts "baseline" and "probe" for the tests of page and card."""

from __future__ import annotations

from typing import Any

from submillion.assess.baselines import comparison
from submillion.run_format.interval import interval


def made_baseline_model(
    title: str, difference: float = 0.003, p: float = 0.31, **facts: Any
) -> dict[str, Any]:
    """Return one baseline as `baselines.report` does."""
    of = {
        "a": 0.943,
        "b": 0.943 - difference,
        "difference": difference,
        "difference_interval": interval(difference, difference - 0.005, difference + 0.005),
        "p": p,
        "bootstrap_interval": interval(difference),
        "p_holm": p,
    }
    return {
        "title": title,
        "method": "Made up & <b>bold</b>.",
        "trained_on": ["train"],
        "training_rows": 4321,
        "parameters": 511_586,
        "strength": {
            "C": 0.3,
            "chosen_on": "validation",
            "ladder": [
                {"C": 0.1, "accuracy": 0.9111, "converged": False},
                {"C": 0.3, "accuracy": 0.9222, "converged": True},
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
            "macro_f1": of | {"difference": 0.0123, "difference_interval": interval(0.0123), "p_holm": 1.0},
            "shown": p < 0.05,
        },
    } | facts


def made_part(found: dict[str, dict[str, Any]], judged: str, **facts: Any) -> dict[str, Any]:
    """Return the part "baseline" or "probe" with the verdict that follows from its baselines."""
    verdict = comparison.verdict(judged, found[judged], found[judged]["title"]) if judged in found else None
    return {
        "split": "test",
        "rows": 80,
        "resamples": 10_000,
        "optimistic": False,
        "run": {
            "accuracy": interval(0.943, 0.88, 0.98),
            "macro_f1": interval(0.9381, 0.9, 0.96),
        },
        "baselines": found,
        "absent": None,
        "verdict": verdict,
    } | facts


def made_baseline(
    difference: float = 0.003, p: float = 0.31, more: bool = True, **facts: Any
) -> dict[str, Any]:
    """Return the part "baseline": the linear model is worse than the run by `difference`."""
    majority = made_baseline_model("majority class", 0.69, 1e-9, strength=None, parameters=1)
    found = {"majority": majority, "linear": made_baseline_model("linear model", difference, p)}
    part = made_part(found, "linear", **facts)
    verdict = comparison.verdict(
        "linear_more", made_baseline_model("", -0.0027, 0.56), "linear model with more rows"
    )
    part["verdict"] = part["verdict"] and part["verdict"] | {"more": verdict if more else None}
    return part
