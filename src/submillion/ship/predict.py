"""Labels the texts of a file of any size, in constant memory, and writes a csv in the same order."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from submillion import notices
from submillion.data.readers import iter_texts
from submillion.data.token_report import Unknown, unknown_tokens
from submillion.data.tokens import encode
from submillion.errors import BadInput, Problem
from submillion.files.output_file import OutputFile
from submillion.model.infer import predict_probabilities
from submillion.model.trained import open_run_classifier, text_columns
from submillion.rundir import RunDir
from submillion.terminal.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np

READ_ROWS = 256  # rows per read of the file
CHUNK_ROWS = 4096  # rows classified and written together: enough to batch texts of similar length
CHUNK_CHARACTERS = 1 << 24  # a chunk of long texts ends earlier, at the read that reaches this

BYTE_ORDER_MARK = "\ufeff"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Spreadsheets take a cell that begins with one of these for a formula, which can run commands
(https://owasp.org/www-community/attacks/CSV_Injection)."""

Chunk = tuple[list[str], list[str]]
"""Ids and texts."""


@dataclass(frozen=True)
class PredictOptions:
    """Columns of the output, and the number of texts that are processed together."""

    with_confidence: bool = False
    """Add `Confidence`, the probability of the label, and `p_<class>` for every class."""
    abstain: bool = False
    """Leave the label empty if its probability is below the threshold of the run's abstain policy; `Confidence` and
    `p_<class>` are written all the same."""
    batch_size: int = 64
    """Texts per forward pass."""
    chunk_rows: int = CHUNK_ROWS
    """Rows that are in memory at a time."""
    spreadsheet: bool = False
    """Write for Excel: ids, labels and class names that it would take for a formula get an apostrophe in front, and the
    file begins with a byte order mark, without which Excel does not read utf-8."""


def predict_file(
    run: str | Path,
    file: str | Path,
    out: str | Path = "submission.csv",
    text: str | Sequence[str] | None = None,
    options: PredictOptions | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> int:
    """Label every text of a file and write a csv with the header `ID,Label`, rows in input order.

    Args:
        run: a finished run directory.
        file: csv, tsv, jsonl, parquet, arrow or plain text lines; streamed, labels not needed.
        out: csv to write, or `-` for standard output. A file takes its name only when it is complete; links are
            followed, and a pipe or a device is written into.
        text: text column, or several, joined as in training; None takes the run's own.
        options: None takes the defaults.
        progress: count the rows on standard error.
        overwrite: replace an existing file.

    Returns:
        Number of rows written.

    Raises:
        BadInput: no run, no such file or column, no texts, an output that exists or cannot be written, or no policy.
        SubmillionError: the disk refused the output.
    """
    options = options or PredictOptions()
    run_dir = RunDir.open(run)
    target = OutputFile.at(out, overwrite=overwrite, inputs=[Path(file)])
    threshold = policy_threshold(run_dir) if options.abstain else 0.0
    encoding = run_dir.read_recipe().data.encoding
    chunks = chunked(iter_texts(file, text or text_columns(run_dir), READ_ROWS, encoding), options.chunk_rows)
    # The first rows are read before the model is loaded: a wrong column or an empty file fails immediately.
    first = next(chunks)
    opened = open_run_classifier(run_dir)
    rows = truncated = abstained = 0
    unknown = Unknown()
    in_cell = spreadsheet_cell if options.spreadsheet else str
    with target.open() as stream, progress_bar(progress, None, "predicting") as advance:
        if options.spreadsheet:
            stream.write(BYTE_ORDER_MARK)
        labels = [in_cell(label) for label in opened.labels]
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header(labels, options.with_confidence))
        for ids, texts in chain([first], chunks):
            tokens = encode(opened.tokenizer, texts, opened.max_length)
            probabilities = predict_probabilities(opened.execution, tokens, options.batch_size, advance)
            ids = [in_cell(row_id) for row_id in ids]
            writer.writerows(lines(ids, probabilities, labels, options.with_confidence, threshold))
            abstained += int((probabilities.max(axis=1).astype("float64") < threshold).sum())
            rows += len(tokens)
            truncated += tokens.truncated
            unknown += unknown_tokens(opened.tokenizer, tokens)
    unknown.notice("these texts")
    if options.abstain:
        notices.emit(
            "abstained",
            f"{abstained:,} of {rows:,} texts have no label: their confidence is below {threshold:.4f}.",
            abstained=abstained,
            rows=rows,
        )
    if truncated:
        _notice_truncated(truncated, rows, opened.max_length)
    return rows


def _notice_truncated(truncated: int, rows: int, max_length: int) -> None:
    notices.emit(
        "truncated_texts",
        f"{truncated:,} of {rows:,} texts are longer than {max_length} tokens and were truncated, as in training.",
        truncated=truncated,
        rows=rows,
    )


def policy_threshold(run: RunDir) -> float:
    """Return the confidence below which the run's abstain policy gives no label.

    Raises:
        BadInput: the run has no policy, or no threshold reaches the requested accuracy.
    """
    policy = (run.read_analysis("confidence") or {}).get("policy") or {}
    threshold = policy.get("threshold")
    if threshold is None:
        where = str(run.analysis_file("confidence"))
        reachable = (
            f"no threshold that reaches an accuracy of {policy['target_accuracy']:.2%}" if policy else "none"
        )
        remedy = "Choose an accuracy that it can reach: run `report` with another @{answer_at}."
        raise BadInput(Problem(where, "an abstain policy", reachable, remedy))
    return float(threshold)


def chunked(reads: Iterable[Chunk], rows: int, characters: int = CHUNK_CHARACTERS) -> Iterator[Chunk]:
    """Join small reads into chunks of at least `rows` rows or `characters` characters; the last may be smaller."""
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


def spreadsheet_cell(value: str) -> str:
    """Return a value as a spreadsheet shows it, and never as a formula: with an apostrophe in front where necessary."""
    return f"'{value}" if value.startswith(FORMULA) else value


def lines(
    ids: Sequence[str],
    probabilities: np.ndarray,
    labels: Sequence[str],
    with_confidence: bool,
    threshold: float = 0.0,
) -> Iterator[list[str]]:
    """Yield one output line per row; of equally probable classes the first is the label.

    Args:
        ids: N ids.
        probabilities: float32 [N, C]; written with nine digits, which identify a float32.
        labels: C class names.
        with_confidence: add the probability of the label and of every class.
        threshold: a label whose probability is below it is left empty.
    """
    for row_id, row, best in zip(ids, probabilities, probabilities.argmax(axis=1), strict=True):
        # As float64: a threshold between two neighbouring float32 would be rounded to one of them.
        line = [row_id, labels[best] if float(row[best]) >= threshold else ""]
        if with_confidence:
            line += [f"{value:.9g}" for value in (row[best], *row)]
        yield line
