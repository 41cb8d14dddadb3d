"""Chooses the unlabelled texts whose labels would teach a run most: uncertain ones that differ from each other."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from submillion import notices
from submillion.arguments import check_count
from submillion.data.corpus import load_corpus
from submillion.data.readers import iter_rows
from submillion.data.tokens import encode
from submillion.errors import BadInput, Problem
from submillion.files.output_file import OutputFile
from submillion.files.spreadsheet_cells import check_sheet_name, write_sheet
from submillion.model.infer import predict_features
from submillion.model.inference import open_for_answers
from submillion.model.trained import text_columns
from submillion.rundir import RunDir
from submillion.ship.predict_rows import READ_ROWS, chunked
from submillion.terminal.progress import progress_bar
from submillion.wording import plural

if TYPE_CHECKING:
    from submillion.model.trained import OpenedRun
    from submillion.recipe import Recipe

POOL = 10
"""Texts that are clustered for each one that is chosen, the most uncertain of the file; the paper's beta."""
CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Candidate:
    """An unlabelled text and the run's answer."""

    id: str
    text: str
    label: str
    confidence: float
    """Probability of the label."""
    margin: float
    """That probability minus the one of the next class: small if the run is uncertain."""


def suggest_file(
    run: str | Path,
    file: str | Path,
    out: str | Path = "-",
    rows: int = 100,
    text: str | Sequence[str] | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> int:
    """Write the texts of a file that should be labelled next, with an empty column for the label.

    The most uncertain texts are clustered by what the classifier's head reads of them, weighted by their uncertainty,
    and the text nearest to the centre of each cluster is chosen (F. Zhdanov, "Diverse mini-batch active learning",
    arXiv:1901.05954, algorithm 1, with the margin as uncertainty). Texts of the run's own data, empty texts and copies
    are left out. The same run and file give the same texts.

    Args:
        run: a finished run, whose data must still be there.
        file: unlabelled texts, as in `predict_file`; streamed.
        out: csv to write, most uncertain first: id, text, predicted_label, confidence, and the empty label. Text and
            label are named as in the training data; of several text columns the first has the whole text.
        rows: number of texts to choose.
        text: text column, or several; None takes the run's own, except for plain lines.
        progress: count the rows on standard error.
        overwrite: replace an existing file.

    Returns:
        Number of texts written: fewer than `rows` if the file has fewer new ones.

    Raises:
        BadInput: no run, no such file or column, its data has gone, no new text, `rows` is no whole number from 1 on,
            or an output that exists.
    """
    check_count(rows, "rows")
    check_sheet_name(out)
    run_dir = RunDir.open(run)
    target = OutputFile.at(out, overwrite=overwrite, inputs=[Path(file)])
    recipe = run_dir.read_recipe()
    usual_text = partial(text_columns, run_dir)
    reads = iter_rows(file, text or None, READ_ROWS, recipe.data.encoding, usual_text=usual_text)
    new = _new(chunked(reads, CHUNK_ROWS), _known(run_dir, recipe))
    opened = open_for_answers(run_dir)
    batch_size = recipe.train.eval_batch_size
    with progress_bar(progress, None, "predicting") as advance:
        pool = _most_uncertain(opened, new, POOL * rows, batch_size, advance)
    if not pool:
        raise BadInput(Problem(str(file), "texts that the run does not know", "none"))
    tokens = encode(opened.tokenizer, [one.text for one in pool], opened.truncation)
    features = predict_features(opened.execution, tokens, batch_size)
    chosen = choose(features, [one.margin for one in pool], rows, recipe.seed)
    text_names, label_name = _columns(run_dir)
    _write(target, [pool[index] for index in chosen], text_names, label_name)
    if len(chosen) < rows:
        notices.emit(
            "fewer_suggestions",
            f"{Path(file).name} has only {plural(len(chosen), 'text')} that the run does not know.",
            rows=len(chosen),
        )
    return len(chosen)


def choose(features: np.ndarray, margins: Sequence[float], rows: int, seed: int) -> list[int]:
    """Return the indices of `rows` texts that are uncertain and differ from each other, the most uncertain first.

    Args:
        features: float32 [N, D], by ascending margin.
        margins: N differences between the two highest probabilities.
        rows: number of texts; all N if there are no more.
        seed: of the first centres.
    """
    if len(features) <= rows:
        return list(range(len(features)))
    weights = np.maximum(1 - np.asarray(margins), 1e-6)
    with threadpool_limits(1), warnings.catch_warnings():  # the sums depend on the number of threads
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different features than clusters
        clusters = KMeans(rows, n_init=1, random_state=seed).fit(features, sample_weight=weights)
    distances = ((features - clusters.cluster_centers_[clusters.labels_]) ** 2).sum(axis=1)
    nearest: dict[int, int] = {}
    for index in np.argsort(distances, kind="stable").tolist():
        nearest.setdefault(int(clusters.labels_[index]), index)
    chosen = set(nearest.values())
    # Equal features leave clusters without a text of their own.
    chosen |= set([index for index in range(len(features)) if index not in chosen][: rows - len(chosen)])
    return sorted(chosen)


def _known(run: RunDir, recipe: Recipe) -> set[bytes]:
    """Return the hashes of the texts in the run's own data; none of an adopted run, whose data is unknown."""
    if run.is_adopted:
        return set()
    with notices.suppressed():
        splits = load_corpus(recipe.data, recipe.seed, progress=False).splits
    return {_digest(text) for split in splits for text in split.texts}


def _new(
    chunks: Iterator[tuple[list[str], list[str], list[list[str]]]], known: set[bytes]
) -> Iterator[tuple[list[str], list[str]]]:
    """Yield ids and texts without empty ones, known ones and copies; their hashes are added to the known ones."""
    for ids, texts, _ in chunks:
        new: dict[bytes, tuple[str, str]] = {}
        for row_id, text in zip(ids, texts, strict=True):
            if text.strip() and (digest := _digest(text)) not in known:
                new.setdefault(digest, (row_id, text))
        known |= new.keys()
        if new:
            yield [row_id for row_id, _ in new.values()], [text for _, text in new.values()]


def _most_uncertain(
    opened: OpenedRun,
    chunks: Iterable[tuple[list[str], list[str]]],
    most: int,
    batch_size: int,
    advance: Callable[[int], object],
) -> list[Candidate]:
    """Return at most `most` candidates by ascending margin; equal ones are in the order of the file."""
    pool: list[Candidate] = []
    for ids, texts in chunks:
        probabilities = opened.probabilities(texts, batch_size, advance)
        pool += _candidates(ids, texts, probabilities, opened.labels)
        pool = sorted(pool, key=lambda candidate: candidate.margin)[:most]  # stable
    return pool


def _candidates(
    ids: Sequence[str], texts: Sequence[str], probabilities: np.ndarray, labels: Sequence[str]
) -> list[Candidate]:
    highest = np.sort(probabilities, axis=1)[:, -2:].astype(np.float64)
    return [
        Candidate(row_id, text, labels[best], float(top), float(top - second))
        for row_id, text, best, (second, top) in zip(
            ids, texts, probabilities.argmax(axis=1), highest, strict=True
        )
    ]


def _write(
    target: OutputFile, chosen: Iterable[Candidate], text_names: Sequence[str], label_name: str
) -> None:
    """Write the candidates; of several text columns the first has the whole text, so that joined they are the same."""
    taken = {*text_names, label_name}
    row_id, predicted, confidence = (_free(name, taken) for name in ("id", "predicted_label", "confidence"))
    rest = [""] * (len(text_names) - 1)
    lines = ([one.id, one.text, *rest, one.label, f"{one.confidence:.4f}", ""] for one in chosen)
    write_sheet(target, [row_id, *text_names, predicted, confidence, label_name], lines)


def _free(name: str, taken: Iterable[str]) -> str:
    """Return a column's name, with `run_` in front if the training data uses it otherwise."""
    while name in taken:
        name = f"run_{name}"
    return name


def _columns(run: RunDir) -> tuple[list[str], str]:
    """Return the names of the text and the label columns of the training data, so that both files are read alike.

    Those of an adopted run are the columns that it was evaluated on, if they were named.
    """
    manifest = run.read_manifest()
    if run.is_adopted:
        named, label = manifest["adopted"]["text"], manifest["adopted"]["label"]
        text = [named] if isinstance(named, str) else named or []
    else:
        recorded = manifest["data"]["sources"]["train"].get("columns") or [{}]
        text, label = recorded[0].get("text") or [], recorded[0].get("label")
    return text or ["text"], label or "label"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.strip().encode()).digest()
