"""The seconds of each phase of a training, read from its run directory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from submillion.rundir import RunDir


@dataclass(frozen=True)
class Phase:
    """The time of one part of a training."""

    name: str
    seconds: float
    source: str
    """Where the number comes from."""


def phases_of(
    run: RunDir, attempts: Sequence[Mapping[str, Any]], isolated: Mapping[str, float]
) -> list[Phase]:
    """Return the phases of a finished run, in order; their seconds add up to those of all attempts.

    Steps and fit come from the manifest, evaluations from the history, and the analysis from the costs in its files.
    The later phases follow from modification times; reading and tokenizing are measured in a separate process; the
    start is the remainder.

    Args:
        run: a complete run with its page.
        attempts: the processes that worked on it, each with `seconds` and `ended` (seconds since 1970).
        isolated: the seconds of `data` and `tokens`, as `time_data` returns them.
    """
    fit = run.read_manifest()["training"]
    evaluations = sum(record["seconds"] for record in run.read_history() if record["kind"] == "eval")
    others = max(0.0, fit["wall_seconds"] - fit["train_seconds"] - evaluations)
    written = {
        "adapter": _last(run.adapter),
        "validation": _last(run.predictions / "validation.parquet"),
        "test": _last(run.predictions / "test.parquet"),
        "metrics": _last(run.metrics),
        "analysis": _last(*run.analysis.glob("*.json")),
        "figures": _last(run.figures),
        "page": _last(run.report, run.card),
    }
    files = "modification times"
    cost = sum(_cost(run, file.stem) for file in run.analysis.glob("*.json"))
    known = [
        Phase("reading and checking the data", isolated["data"] * len(attempts), "measured separately"),
        Phase("tokens", isolated["tokens"], "measured separately"),
        Phase(
            "prefix cache and checkpoints" if fit["prefix_cached"] else "checkpoints",
            others,
            "remainder of the fit",
        ),
        Phase("steps", fit["train_seconds"], "manifest"),
        Phase("evaluations", evaluations, "history"),
        Phase("predictions for validation", written["validation"] - written["adapter"], files),
        Phase("predictions for test", written["test"] - written["validation"], files),
        Phase("metrics", written["metrics"] - written["test"], files),
        Phase("analysis", cost, "analysis/*.json"),
        Phase("hashes and figures", written["figures"] - written["analysis"], files),
        Phase("card and page", written["page"] - written["figures"], files),
        Phase("shutdown", attempts[-1]["ended"] - written["page"], files),
    ]
    remainder = sum(attempt["seconds"] for attempt in attempts) - sum(phase.seconds for phase in known)
    name = "start, imports, model" if len(attempts) == 1 else f"{len(attempts)} starts, imports, lost work"
    return [Phase(name, remainder, "remainder"), *known]


def time_data(recipe: Path) -> dict[str, float]:
    """Return the seconds to read a recipe's data and to tokenize it (`data`, `tokens`); run in a new process."""
    # A training has imported it by then, so its import does not count.
    import transformers  # noqa: F401

    from submillion import notices
    from submillion.data.corpus import load_corpus
    from submillion.data.tokenizer import load_tokenizer
    from submillion.data.tokens import tokenize
    from submillion.data.truncation import Truncation
    from submillion.recipe import Recipe

    loaded = Recipe.load(recipe)
    started_at = time.perf_counter()
    with notices.suppressed():
        corpus = load_corpus(loaded.data, loaded.seed, progress=False)
    data = time.perf_counter() - started_at
    tokenizer = load_tokenizer(loaded.encoder.source)
    with TemporaryDirectory(prefix="tokens-") as folder, mock.patch.dict(os.environ, SUBMILLION_CACHE=folder):
        started_at = time.perf_counter()
        for split in corpus.splits:
            tokenize(tokenizer, split.texts, Truncation.of(loaded.data), progress=False)
        return {"data": data, "tokens": time.perf_counter() - started_at}


def _last(*paths: Path) -> float:
    """Return the latest modification time of some files and of all files below some folders."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return max(file.stat().st_mtime for file in files if file.is_file())


def _cost(run: RunDir, part: str) -> float:
    """Return the seconds that a part of the analysis took; 0 if it was not made."""
    file = run.analysis_file(part)
    return float(json.loads(file.read_text(encoding="utf-8"))["cost"]["seconds"]) if file.is_file() else 0.0
