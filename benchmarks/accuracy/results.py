"""The results of the accuracy benchmark: a csv file with one line a cell, and the hits by row beside it."""

from __future__ import annotations

import base64
import csv
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.accuracy.cells import Cell
from benchmarks.accuracy.task import Answer
from submillion.cache import cache_root, locked
from submillion.environment import git_state, processor, versions

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.csv"
NAMED_VERSIONS = ("torch", "transformers", "scikit-learn")
HIT_COLUMNS = ("set", "size", "seed", "method", "hits")


@dataclass(frozen=True)
class Result:
    """One computed cell."""

    set: str
    size: str
    seed: int
    method: str
    rows: int
    """Training rows."""
    test_rows: int
    accuracy: float
    macro_f1: float
    """Mean over the classes of the scored rows."""
    train_s: float
    predict_s: float
    train_cpu_s: float
    predict_cpu_s: float
    parameters: int
    """Trained, output layer included."""
    setting: str
    threads: str
    load: float
    """Processes that were running or waiting, mean of the last minute when the cell ended."""
    processor: str
    commit: str
    versions: str
    finished: str

    @property
    def cell(self) -> Cell:
        """The cell that was computed."""
        return Cell(self.set, self.size, self.seed, self.method)


def scored(cell: Cell, answer: Answer, rows: int, labels: list[int]) -> tuple[Result, np.ndarray]:
    """Return the result of an answer and whether each test row was right, bool [N].

    Args:
        cell: which cell.
        answer: what the method returned.
        rows: number of training rows.
        labels: N labels of the test rows.
    """
    hits = np.array(answer.predicted) == np.array(labels)
    state = git_state(FOLDER)
    commit = state["commit"][:10] + ("+" if state["dirty"] else "") if state else ""
    known = versions()
    result = Result(
        **asdict(cell),
        rows=rows,
        test_rows=len(labels),
        accuracy=round(float(accuracy_score(labels, answer.predicted)), 6),
        macro_f1=round(
            float(
                f1_score(
                    labels, answer.predicted, labels=sorted(set(labels)), average="macro", zero_division=0
                )
            ),
            6,
        ),
        train_s=round(answer.train_s, 3),
        predict_s=round(answer.predict_s, 3),
        train_cpu_s=round(answer.train_cpu_s, 3),
        predict_cpu_s=round(answer.predict_cpu_s, 3),
        parameters=answer.parameters,
        setting=answer.setting,
        threads=os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count()),
        load=round(os.getloadavg()[0], 1),
        processor=processor(),
        commit=commit,
        versions=" ".join(f"{name}={known[name]}" for name in NAMED_VERSIONS if name in known),
        finished=datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
    )
    return result, hits


def hits_file(results: Path) -> Path:
    """Return the file with the hits by row, beside the results."""
    return results.with_name(f"{results.stem}-hits.csv")


def read(file: Path = RESULTS) -> dict[Cell, Result]:
    """Return the computed cells; none if the file does not exist."""
    types: dict[str, Any] = {field.name: field.type for field in fields(Result)}
    convert = {"int": int, "float": float, "str": str}
    results = (
        Result(**{name: convert[types[name]](value) for name, value in line.items()}) for line in _lines(file)
    )
    return {result.cell: result for result in results}


def read_hits(file: Path = RESULTS) -> dict[Cell, np.ndarray]:
    """Return whether each test row was right, bool [N] by cell; rows in the order of the set's test places."""
    counts = {cell: result.test_rows for cell, result in read(file).items()}
    hits = {}
    for line in _lines(hits_file(file)):
        cell = Cell(line["set"], line["size"], int(line["seed"]), line["method"])
        if cell in counts:
            packed = np.frombuffer(base64.b64decode(line["hits"]), np.uint8)
            hits[cell] = np.unpackbits(packed, count=counts[cell]).astype(bool)
    return hits


def append(result: Result, hits: np.ndarray, file: Path = RESULTS) -> None:
    """Add one cell to both files, unless another process has added it."""
    with locked(cache_root().parent / "submillion-accuracy" / "results.lock"):
        if result.cell in read(file):
            return
        # The hits first: hits without a result are ignored, a result without its hits could not be tested.
        packed = base64.b64encode(np.packbits(hits).tobytes()).decode()
        cell = asdict(result.cell)
        _append(hits_file(file), HIT_COLUMNS, {**cell, "hits": packed})
        _append(file, [field.name for field in fields(Result)], asdict(result))


def _lines(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def _append(file: Path, columns: Iterable[str], values: dict[str, Any]) -> None:
    new = not file.exists()
    with file.open("a", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(columns), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(values)
