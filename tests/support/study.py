"""A made study: cells whose runs have given scores, for tests of findings and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from submillion.run_format.interval import interval
from submillion.rundir import RunDir
from submillion.study.design import StudyDesign, read_study


def made_design(folder: Path, axes: dict[str, Any], **values: Any) -> StudyDesign:
    """Return a study of the recipe `r8` over these axes."""
    file = folder / "made.yaml"
    file.write_text(yaml.safe_dump({"base": "r8", "axes": axes} | values), encoding="utf-8")
    return read_study(file)


def made_runs(
    folder: Path,
    design: StudyDesign,
    scores: Mapping[str, Sequence[float | None]],
    seconds: Mapping[str, float] | None = None,
) -> dict[tuple[str, int], RunDir]:
    """Return runs with these validation accuracies, one per seed; None leaves a run out."""
    runs = {}
    for cell in design.cells:
        for seed, score in zip(design.study.seeds, scores[cell.name], strict=True):
            if score is None:
                continue
            run = RunDir.create(folder / f"{cell.slug}-{seed}")
            training = {
                "tokens_seen": 1000 + seed,
                "wall_seconds": (seconds or {}).get(cell.name, 10.0),
                "samples_per_second": 50.0,
                "peak_memory_mb": 900.0 + seed,
            }
            run.write_json(run.manifest, {"format": 2, "status": "complete", "training": training})
            confidence = {"mean": 0.8, "median": 0.8, "min": 0.5, "max": 0.9, "above": {}}
            metrics = {
                "split": "validation",
                "rows": 100,
                "correct": round(100 * score),
                "accuracy": score,
                "accuracy_interval": interval(score, score, score),
                "macro_f1": score / 2,
                "loss": 0.5,
                "per_class": {"a": {"precision": score, "recall": score, "f1": score, "support": 100}},
                "confusion": [[100]],
                "confidence": {"split": "validation", "rows": 100} | confidence,
            }
            run.write_json(run.metrics, {"validation": metrics})
            runs[cell.name, seed] = run
    return runs
