"""Where the seconds of a whole training went: read from its run directory, station by station."""

from __future__ import annotations

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
class Station:
    """What one part of a training took, and what says so."""

    name: str
    seconds: float
    told_by: str


def stations_of(
    run: RunDir, attempts: Sequence[Mapping[str, Any]], apart: Mapping[str, float]
) -> list[Station]:
    """Return the stations of a finished run, in order; their seconds add up to those of all attempts.

    The manifest tells steps and the whole of the fit, the history its evaluations, each part of the analysis what
    it cost. Nothing tells the others: those after the fit are taken from the times at which files were written,
    reading and tokenizing from a process that did the same once more, and the start is what is left.

    Args:
        run: complete, with its page.
        attempts: the processes that worked on it, each with `seconds` and `ended` (seconds since 1970).
        apart: `data` and `tokens`, in seconds, of a process that only did these, as `read_apart` gives them.
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
    files = "the times of its files"
    cost = sum(_cost(run, file.stem) for file in run.analysis.glob("*.json"))
    known = [
        Station("reading and checking the data", apart["data"] * len(attempts), "measured apart"),
        Station("tokens", apart["tokens"], "measured apart"),
        Station(
            "prefix pass, saving of states" if fit["prefix_cached"] else "saving of states",
            others,
            "manifest and history, what they leave of the fit",
        ),
        Station("steps", fit["train_seconds"], "manifest"),
        Station("evaluations", evaluations, "history"),
        Station("predictions for validation", written["validation"] - written["adapter"], files),
        Station("predictions for test", written["test"] - written["validation"], files),
        Station("metrics", written["metrics"] - written["test"], files),
        Station("analysis", cost, "analysis/*.json"),
        Station("hashes and figures", written["figures"] - written["analysis"], files),
        Station("card and page", written["page"] - written["figures"], files),
        Station("end", attempts[-1]["ended"] - written["page"], files),
    ]
    left = sum(attempt["seconds"] for attempt in attempts) - sum(station.seconds for station in known)
    name = (
        "start, imports, model" if len(attempts) == 1 else f"{len(attempts)} starts, imports, what was lost"
    )
    return [Station(name, left, "what is left"), *known]


def read_apart(recipe: Path) -> dict[str, float]:
    """Return the seconds that a recipe's data and tokens take: `data`, `tokens`; run in a process of its own."""
    # What a training process has imported already is not to be counted.
    import transformers  # noqa: F401

    from submillion import notices
    from submillion.data.corpus import load_corpus
    from submillion.data.tokens import load_tokenizer, tokenize
    from submillion.recipe import Recipe

    read = Recipe.load(recipe)
    began = time.perf_counter()
    with notices.suppressed():
        corpus = load_corpus(read.data, read.seed, progress=False)
    data = time.perf_counter() - began
    tokenizer = load_tokenizer(read.encoder.source)
    with TemporaryDirectory(prefix="tokens-") as folder, mock.patch.dict(os.environ, SUBMILLION_CACHE=folder):
        began = time.perf_counter()
        for split in corpus.splits:
            tokenize(tokenizer, split.texts, read.data.max_length, progress=False)
        return {"data": data, "tokens": time.perf_counter() - began}


def _last(*places: Path) -> float:
    """Return when the last of some files, or of the files below some folders, was written."""
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    return max(file.stat().st_mtime for file in files if file.is_file())


def _cost(run: RunDir, part: str) -> float:
    return float((run.read_analysis(part) or {}).get("cost", {}).get("seconds", 0.0))
