"""Writes a small analysis of a made run, for the tests of page and card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from submillion.assess import registry
from submillion.assess.run_context import RunContext
from submillion.run_format.interval import ALPHA, interval
from submillion.rundir import RunDir
from support.audit import made_audit
from support.baselines import made_baselines

HOSTILE = "<script>alert('text')</script> & \"quotes\""


def made_analysis(run: RunDir, text: str = HOSTILE) -> None:
    """Write every part of the analysis: what predictions give is computed, the rest is made up.

    Args:
        run: a run with saved predictions.
        text: used wherever a text of the data is shown.
    """
    registry.compute_parts(RunContext.open(run.path), ["confidence", "intervals"])
    from support.data_quality import made_duplicates, made_noise  # which takes slices from here

    names = [str(label) for label in run.read_manifest()["labels"]]
    made = {
        "baseline": made_baselines(),
        "errors": made_errors(names, text),
        "attribution": made_attribution(names, text),
        "audit": made_audit(names, text),
        "duplicates": made_duplicates(names, text),
        "noise": made_noise(names, text),
    }
    for part, found in made.items():
        run.write_analysis(part, found | {"cost": {"seconds": 1.5, "cpu_seconds": 2.5}})


def confidence_of(target: float, threshold: float | None) -> dict[str, Any]:
    """Return the part "confidence" of a run with a policy and nothing else."""
    policy = {
        "target_accuracy": target,
        "threshold": threshold,
        "least_rows": None,
        "validation": None,
        "test": None,
    }
    return {"resamples": 0, "splits": {}, "temperature": None, "rule": "", "targets": [], "policy": policy}


def thresholds_of(objective: str, names: Sequence[str], thresholds: Sequence[float | None]) -> dict[str, Any]:
    """Return the part "thresholds" of a run with these thresholds, whose effect was measured on no row."""
    nothing = {"answered": 0, "accuracy": None, "by_class": {}}
    effect = {"rows": 0, "without": nothing, "with_thresholds": nothing, "comparison": None}
    return {
        "objective": objective,
        "target": None if objective == "macro_f1" else 0.9,
        "rule": "",
        "limitations": "",
        "split": "validation",
        "least_rows": 0,
        "classes": {
            name: {"threshold": value, "rows": 0} for name, value in zip(names, thresholds, strict=True)
        },
        "chosen_on": effect,
        "cross_fitted": effect | {"folds": 5},
        "test": None,
    }


def made_slice(name: str, rows: int = 48, accuracy: float = 0.75) -> dict[str, Any]:
    """Return one slice as `slices.compare` does; one of few rows is not tested."""
    small = rows < 30
    tested = {
        "difference": -0.1,
        "difference_interval": interval(-0.1, -0.21, 0.02),
        "p": 0.03,
        "p_holm": 0.06,
        "beyond_chance": False,
        "rest_accuracy_same_classes": 0.84,
        "p_same_classes": 0.001,
        "p_same_classes_holm": 0.002,
        "beyond_chance_same_classes": True,
    }
    return {
        "name": name,
        "rows": rows,
        "correct": round(rows * accuracy),
        "accuracy": accuracy,
        "accuracy_interval": interval(accuracy, accuracy - 0.1, accuracy + 0.1),
        "mean_confidence": 0.8,
        "too_small": small,
        "rest_rows": 48,
        "rest_accuracy": 0.85,
        **(dict.fromkeys(tested) | {"difference_interval": interval(None)} if small else tested),
    }


def made_errors(names: list[str], text: str) -> dict[str, Any]:
    """Return the part "errors"."""
    pair = {
        "true": names[0],
        "predicted": names[1],
        "rows": 3,
        "class_rows": 12,
        "share": 0.25,
        "share_interval": interval(0.25, 0.09, 0.53),
        "share_of_mistakes": 0.6,
        "mean_confidence": 0.71,
    }
    mistake = {
        "row": 7,
        "id": "test-7",
        "true": names[0],
        "predicted": names[1],
        "probability": 0.9873,
        "true_probability": 0.0004,
        "text": text,
        "characters": 900,
        "cut": True,
    }
    return {
        "split": "test",
        "rows": 96,
        "mistakes": 5,
        "accuracy": 91 / 96,
        "accuracy_interval": interval(91 / 96, 0.883, 0.978),
        "second_choice": {"rows": 4, "share": 0.8, "share_interval": interval(0.8, 0.376, 0.964)},
        "pairs_in_all": 2,
        "pairs": [pair, pair | {"true": names[1], "predicted": names[0], "rows": 2}],
        "confident_mistakes": [mistake | {"row": row} for row in range(7)],
        "smallest_rows": 30,
        "alpha": ALPHA,
        "slices": {
            "length": {
                "title": "Length of the text",
                "meaning": "Rows by their length.",
                "limitations": "What else differs.",
                "tests": 2,
                "facts": {"longest": 90, "mean": 31.5},
                "slices": [
                    made_slice("up to 20 tokens"),
                    made_slice("more", accuracy=0.85),
                    made_slice("few", 7),
                ],
            },
            "source": {
                "title": "Source",
                "meaning": "By source.",
                "limitations": "Much.",
                "tests": 0,
                "facts": {},
                "slices": [],
            },
        },
    }


def made_attribution(names: list[str], text: str) -> dict[str, Any]:
    """Return the part "attribution": one text of each kind."""
    explained = {
        "row": 7,
        "id": "test-7",
        "true": names[0],
        "predicted": names[1],
        "probability": 0.9873,
        "reference_probability": 0.9874,
        "tokens": 9,
        "cut": False,
        "gap": None,
        "words": [["shares", 2.5], [" of ", 0.01], [text, -1.0], [" rose", 0.6], [".", 0.0]],
        "score": 4.1,
        "baseline_score": 2.0,
        "completeness_error": 0.01,
        "completeness_share": 0.0024,
        "steps": 64,
        "deletions": [{"words": 1, "top": 0.3, "random": 0.02}],
    }
    mean = interval(0.31, 0.12, 0.5)
    return {
        "split": "test",
        "rows": 96,
        "method": "Integrated gradients.",
        "limitations": "Reasons.",
        "baseline_token": "[MASK]",
        "most_tokens": 256,
        "skipped": 3,
        "texts": [
            explained | {"kind": "confident_mistake"},
            *[explained | {"kind": "least_sure_right", "true": names[1], "row": row} for row in range(4)],
            explained | {"kind": "sure_right", "true": names[1], "row": 9},
        ],
        "completeness": {"texts": 6, "mean_share": 0.0024, "largest_share": 0.0031},
        "faithfulness": {
            "draws": 5,
            "curve": [
                {
                    "words": 1,
                    "texts": 6,
                    "top": mean,
                    "random": interval(0.02, 0.12, 0.5),
                    "difference": mean,
                },
                {
                    "words": 2,
                    "texts": 1,
                    **{key: interval(0.1) for key in _CURVES},
                },
            ],
        },
    }


_CURVES = ("top", "random", "difference")
