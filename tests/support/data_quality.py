"""The parts "duplicates" and "noise" of a made analysis: what they write, in small, for the tests of the report."""

from __future__ import annotations

from typing import Any

from submillion.run_format.interval import interval
from support.analysis import HOSTILE, made_slice


def made_duplicates(names: list[str], text: str = HOSTILE) -> dict[str, Any]:
    """Return the part "duplicates"."""
    end = {"split": "train", "row": 1234, "id": "train-1234", "label": names[0], "text": text, "cut": True}
    pair = {
        "similarity": 0.913,
        "one": end,
        "other": end | {"split": "test", "row": 7, "id": "test-7", "label": names[1], "cut": False},
    }
    counts = {"rows": 3, "of_rows": 96, "share": 1 / 32, "pairs": 5, "identical": 2, "different_labels": 1}
    return {
        "meaning": "Two texts are near-duplicates if they are.",
        "limitations": "Other words.",
        "method": {
            "threshold": 0.7,
            "shingle_words": 2,
            "hash_values": 128,
            "bands": 32,
            "found_at_threshold": 0.9998,
        },
        "complete": False,
        "splits": {split: {"rows": 96, "empty": 0} for split in ("train", "validation", "test")},
        "between_splits": [
            {"rows_of": "train", "duplicates_in": "train"} | counts,
            {"rows_of": "validation", "duplicates_in": "train"}
            | counts
            | {"of_rows": 0, "rows": 0, "share": None},
            {"rows_of": "test", "duplicates_in": "train"} | counts,
        ],
        "groups": {"groups": 4, "rows": 9, "largest": 3},
        "conflicts": {"pairs": 2, "rows": 3, "examples": [pair, pair | {"similarity": 0.75}]},
        "examples": [pair],
        "effect": {
            "split": "test",
            "rows": 96,
            "correct": 91,
            "accuracy": 91 / 96,
            "accuracy_interval": interval(91 / 96, 0.883, 0.978),
            "with_duplicate": made_slice("with a near-duplicate in train", 40, 0.95),
            "without_duplicate": made_slice("without", 56, 0.875),
            "difference": interval(0.0321, 0.0112, 0.0633),
            "contradicted": {"rows": 3, "correct": 1},
            "sentence": "Without the 40 test rows that have a near-duplicate in train, the accuracy is lower.",
        },
    }


def made_noise(names: list[str], text: str = HOSTILE) -> dict[str, Any]:
    """Return the part "noise"."""
    suspect = {
        "row": 1234,
        "id": "train-1234",
        "given": names[0],
        "suggested": names[1],
        "quality": 0.0123,
        "suggested_probability": 0.9612,
        "text": text,
        "cut": True,
    }
    found = {
        "noise_rate": interval(0.0421, 0.0312, 0.0555),
        "candidates": 9,
        "share": 0.0321,
        "classes": [
            {
                "class": names[0],
                "rows": 140,
                "candidates": 9,
                "noise_rate": interval(0.0643, 0.03, 0.1),
            },
            {"class": names[1], "rows": 140, "candidates": 0, "noise_rate": interval(0.0)},
        ],
        "pairs_in_all": 3,
        "pairs": [{"given": names[0], "suggested": names[1], "rows": 9}],
        "suspects": [suspect | {"row": row, "id": f"train-{row}"} for row in range(7)],
    }
    return {
        "meaning": "The noise rate is estimated.",
        "model": "A model of words.",
        "limitations": "Whether a label is wrong.",
        "resamples": 200,
        "train": {
            "rows": 280,
            "folds": 5,
            "left_out": [{"class": names[-1], "rows": 3}],
            "model_accuracy": interval(0.8931, 0.8531, 0.9234),
            **found,
        },
        "split": {
            "split": "test",
            "rows": 96,
            "mistakes": 5,
            **found,
            "noise_rate": interval(0.0),
            "candidates": 2,
        },
    }
