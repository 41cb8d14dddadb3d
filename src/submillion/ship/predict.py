"""Labels for new texts: a file of any size in, a csv in the same order out, in memory that does not grow."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from submillion import notices
from submillion.atomic import atomic_file
from submillion.data.readers import iter_texts
from submillion.data.tokens import encode
from submillion.errors import BadInput, Problem
from submillion.model.infer import predict_probabilities
from submillion.model.trained import open_run_classifier, text_columns
from submillion.progress import progress_bar
from submillion.rundir import RunDir

if TYPE_CHECKING:
    import numpy as np

STDOUT = "-"
READ_ROWS = 256  # rows per read of the file
CHUNK_ROWS = 4096  # rows classified and written together: enough to batch texts of like length
CHUNK_CHARACTERS = 1 << 24  # a chunk ends at the read that reaches this: long texts must not add up in memory
BATCH_SIZE = 64

Chunk = tuple[list[str], list[str]]


def predict_file(
    run: str | Path,
    file: str | Path,
    out: str | Path = "submission.csv",
    with_confidence: bool = False,
    text: str | Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
    chunk_rows: int = CHUNK_ROWS,
    progress: bool = False,
    abstain: bool = False,
) -> int:
    """Label every text of a file and write a csv with the header `ID,Label`, rows in input order.

    Args:
        run: a finished run directory.
        file: csv, tsv, jsonl, parquet, arrow or plain text lines; read piece by piece, labels not needed.
        out: csv to write, or `-` for standard output. It takes its name only when it is complete.
        with_confidence: add `Confidence`, the probability of the label, and `p_<class>` for every class.
        text: text column, or several to be joined as in training; None takes the run's own.
        batch_size: texts per forward pass.
        chunk_rows: rows held in memory at a time.
        progress: count the rows done on standard error.
        abstain: leave the label empty where its probability is below the threshold of the run's policy;
            `Confidence` and `p_<class>` are written all the same.

    Returns:
        Number of rows written.

    Raises:
        BadInput: no run, no such file or column, nothing to label, an output that cannot be, or no policy.
        SubmillionError: the output could not be written.
    """
    opened_run = RunDir.open(run)
    place = _place(out, Path(file))
    threshold = policy_threshold(opened_run) if abstain else 0.0
    chunks = chunked(iter_texts(file, text or text_columns(opened_run), READ_ROWS), chunk_rows)
    # The first rows are read before the model: what is wrong with the file is said at once, an empty one too.
    first = next(chunks)
    opened = open_run_classifier(opened_run)
    rows = cut = silent = 0
    with _output(place) as stream, progress_bar(progress, None, "predicting") as advance:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header(opened.labels, with_confidence))
        for ids, texts in chain([first], chunks):
            tokens = encode(opened.tokenizer, texts, opened.max_length)
            probabilities = predict_probabilities(opened.execution, tokens, batch_size, advance)
            writer.writerows(lines(ids, probabilities, opened.labels, with_confidence, threshold))
            silent += int((probabilities.max(axis=1).astype("float64") < threshold).sum())
            rows += len(tokens)
            cut += tokens.truncated
    if abstain:
        notices.emit(
            "abstained",
            f"{silent:,} of {rows:,} texts were left without a label: their confidence is below {threshold:.4f}.",
            abstained=silent,
            rows=rows,
        )
    if cut:
        notices.emit(
            "truncated_texts",
            f"{cut:,} of {rows:,} texts are longer than {opened.max_length} tokens and were cut there, "
            "as in training.",
            truncated=cut,
            rows=rows,
        )
    return rows


def policy_threshold(run: RunDir) -> float:
    """Return the confidence below which the run's abstain policy gives no answer.

    Raises:
        BadInput: the run has no policy, or none that reaches the accuracy asked for.
    """
    policy = (run.read_analysis("confidence") or {}).get("policy") or {}
    threshold = policy.get("threshold")
    if threshold is None:
        where = str(run.analysis_file("confidence"))
        found = (
            f"no threshold that reaches an accuracy of {policy['target_accuracy']:.2%}" if policy else "none"
        )
        remedy = f"Choose an accuracy that it can reach: submillion report {run.path} --answer-at 0.95."
        raise BadInput(Problem(where, "an abstain policy", found, remedy))
    return float(threshold)


def chunked(reads: Iterable[Chunk], rows: int, characters: int = CHUNK_CHARACTERS) -> Iterator[Chunk]:
    """Join small reads into chunks of at least `rows` rows or `characters` characters, but for the last."""
    ids: list[str] = []
    texts: list[str] = []
    held = 0
    for more_ids, more_texts in reads:
        ids += more_ids
        texts += more_texts
        held += sum(map(len, more_texts))
        if len(texts) >= rows or held >= characters:
            yield ids, texts
            ids, texts, held = [], [], 0
    if texts:
        yield ids, texts


def header(labels: Sequence[str], with_confidence: bool) -> list[str]:
    """Return the names of the output's columns."""
    return ["ID", "Label", *(["Confidence", *(f"p_{label}" for label in labels)] if with_confidence else [])]


def lines(
    ids: Sequence[str],
    probabilities: np.ndarray,
    labels: Sequence[str],
    with_confidence: bool,
    threshold: float = 0.0,
) -> Iterator[list[str]]:
    """Give one output line per row; of equally probable classes the first is the label.

    Args:
        probabilities: float32 [N, C]; written with the nine digits that bring the same number back.
        threshold: a label whose probability is below it is left empty.
    """
    for row_id, row, best in zip(ids, probabilities, probabilities.argmax(axis=1), strict=True):
        # As float64: a threshold between two neighbouring float32 would be rounded to one of them.
        line = [row_id, labels[best] if float(row[best]) >= threshold else ""]
        if with_confidence:
            line += [f"{value:.9g}" for value in (row[best], *row)]
        yield line


def _place(out: str | Path, file: Path) -> Path | None:
    """Return the file to write, None for standard output; what cannot work is refused before the work."""
    if str(out) == STDOUT:
        return None
    place = Path(out)
    if place.is_dir():
        remedy = f"For example --out {place / 'submission.csv'}."
        raise BadInput(Problem("--out", "a file to write", f"'{place}', a directory", remedy))
    if place.exists() and file.exists() and place.samefile(file):
        raise BadInput(Problem("--out", "another file than the input", f"'{place}'", "Name a new file."))
    return place


@contextmanager
def _output(place: Path | None) -> Iterator[TextIO]:
    if place is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with atomic_file(place) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        yield stream
