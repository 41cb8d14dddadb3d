"""Labels the texts of a file of any size, in constant memory, and writes a csv in the same order."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from submillion import notices
from submillion.data.readers import iter_rows
from submillion.data.token_report import Unknown, unknown_tokens
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.errors import BadInput, Problem
from submillion.files.output_file import OutputFile
from submillion.files.spreadsheet_cells import BYTE_ORDER_MARK, spreadsheet_cell
from submillion.model.class_thresholds import NONE, class_thresholds
from submillion.model.infer import predict_logits, probabilities_of
from submillion.model.trained import open_run_classifier, text_columns
from submillion.rundir import RunDir
from submillion.terminal.progress import progress_bar

READ_ROWS = 256  # rows per read of the file
CHUNK_ROWS = 4096  # rows classified and written together: enough to batch texts of similar length
CHUNK_CHARACTERS = 1 << 24  # a chunk of long texts ends earlier, at the read that reaches this

DEFAULT_OUT = "submission.csv"

Chunk = tuple[list[str], list[str], list[list[str]]]
"""Ids, texts, and the values of the copied columns, row by row."""


@dataclass(frozen=True)
class PredictOptions:
    """Columns of the output, and the number of texts that are processed together."""

    with_confidence: bool = False
    """Add `Confidence`, the probability of the label, and `p_<class>` for every class."""
    abstain: bool = False
    """Leave the label empty if its probability is below the threshold of the run's abstain policy; `Confidence` and
    `p_<class>` are written all the same."""
    class_thresholds: bool = False
    """Answer with the thresholds per class that the run's analysis has chosen. `Confidence` is the probability of the
    answer, or the largest one where a text has none."""
    batch_size: int = 64
    """Texts per forward pass."""
    chunk_rows: int = CHUNK_ROWS
    """Rows that are in memory at a time."""
    calibrated: bool = False
    """With `with_confidence`: write the probabilities at the temperature that the run's analysis has fitted on the
    validation rows (Guo et al. 2017, arXiv:1706.04599, section 4.2). Labels and `abstain` are unchanged by it."""
    id: str | None = None
    """Input column whose values are the column `ID`; None takes `id` if the file has it, else counts from 0."""
    keep: tuple[str, ...] = ()
    """Input columns that are copied, as text, to the end of each line."""
    with_text: bool = False
    """Add the text that was classified, as the column `Text`."""
    spreadsheet: bool = False
    """Write for Excel: values that it would take for a formula get an apostrophe in front, and the file begins with a
    byte order mark, without which Excel does not read utf-8."""


def predict_file(
    run: str | Path,
    file: str | Path,
    out: str | Path = DEFAULT_OUT,
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
        BadInput: no run, no such file or column, no texts, an output that exists or cannot be written, no policy, or
            no fitted temperature.
        SubmillionError: the disk refused the output.
    """
    options = options or PredictOptions()
    run_dir = RunDir.open(run)
    target = OutputFile.at(out, overwrite=overwrite, inputs=[Path(file)])
    encoding = run_dir.read_recipe().data.encoding
    reads = iter_rows(file, text or text_columns(run_dir), READ_ROWS, encoding, options.id, options.keep)
    return _write(run_dir, reads, target, options, progress)


def predict_texts(
    run: str | Path,
    texts: Sequence[str],
    out: str | Path = "-",
    options: PredictOptions | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> int:
    """Label texts and write them as `predict_file` does; ids count from 0.

    Args:
        run: a finished run directory.
        texts: at least one.
        out: as in `predict_file`.
        options: as in `predict_file`, without `id` and `keep`.
        progress: as in `predict_file`.
        overwrite: as in `predict_file`.

    Raises:
        BadInput: as in `predict_file`.
    """
    options = options or PredictOptions()
    for argument, value in (("id", options.id), ("keep", options.keep)):
        if value:
            raise BadInput(
                Problem(f"@{{{argument}}}", "a file, which has columns", "texts that are passed directly")
            )
    ids = [str(number) for number in range(len(texts))]
    reads: list[Chunk] = [(ids, list(texts), [[] for _ in texts])]
    return _write(RunDir.open(run), reads, OutputFile.at(out, overwrite=overwrite), options, progress)


def _write(
    run: RunDir, reads: Iterable[Chunk], target: OutputFile, options: PredictOptions, progress: bool
) -> int:
    """Classify the rows that are read, write a line for each, and return their number."""
    answer = _answering(run, options)
    temperature = _temperature(run, options)
    names = header(run.read_manifest()["labels"], options)
    chunks = chunked(reads, options.chunk_rows)
    # The first rows are read before the model is loaded: a wrong column or an empty file fails immediately.
    first = next(chunks)
    opened = open_run_classifier(run)
    rows = truncated = abstained = 0
    unknown = Unknown()
    in_cell = spreadsheet_cell if options.spreadsheet else str
    with target.open() as stream, progress_bar(progress, None, "predicting") as advance:
        if options.spreadsheet:
            stream.write(BYTE_ORDER_MARK)
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([in_cell(name) for name in names])
        for chunk in chain([first], chunks):
            tokens = encode(opened.tokenizer, chunk[1], opened.truncation)
            logits = predict_logits(opened.execution, tokens, options.batch_size, progress=advance)
            raw, shown = probabilities_of(logits), probabilities_of(logits / temperature)
            answered = answer(raw)
            for line in lines(chunk, answered, opened.labels, shown, options):
                writer.writerow([in_cell(value) for value in line])
            abstained += int((answered == NONE).sum())
            rows += len(tokens)
            truncated += tokens.truncated
            unknown += unknown_tokens(opened.tokenizer, tokens)
    unknown.notice("these texts")
    if options.abstain or abstained:
        notices.emit(
            "abstained",
            f"{abstained:,} of {rows:,} texts have no label: their confidence is below the threshold.",
            abstained=abstained,
            rows=rows,
        )
    if truncated:
        _notice_truncated(truncated, rows, opened.truncation)
    return rows


def _notice_truncated(truncated: int, rows: int, rule: Truncation) -> None:
    lost = "lost their middle" if rule.windows == "head_tail" else "were truncated"
    notices.emit(
        "truncated_texts",
        f"{truncated:,} of {rows:,} texts are longer than {rule.max_length} tokens and {lost}, as in training.",
        truncated=truncated,
        rows=rows,
    )


def _answering(run: RunDir, options: PredictOptions) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from probabilities [N, C] to classes, int [N], that the options ask for.

    Raises:
        BadInput: two ways to leave a text unanswered, or the run lacks the thresholds.
    """
    if not options.class_thresholds:
        threshold = policy_threshold(run) if options.abstain else 0.0
        return partial(answers, threshold=threshold)
    if options.abstain:
        expected, remedy = "one kind of threshold", "Omit @{abstain}."
        found = "those of the classes, and the one of the abstain policy"
        raise BadInput(Problem("@{class_thresholds}", expected, found, remedy))
    return class_thresholds(run).answers


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


def _temperature(run: RunDir, options: PredictOptions) -> float:
    """Return the temperature of the written probabilities: 1, or the fitted one.

    Raises:
        BadInput: none is fitted, or no probability is written.
    """
    if not options.calibrated:
        return 1.0
    if not options.with_confidence:
        remedy = "Add @{with_confidence}, or omit @{calibrated}."
        raise BadInput(Problem("@{calibrated}", "probabilities in the output", "labels only", remedy))
    fitted = (run.read_analysis("confidence") or {}).get("temperature") or {}
    value = fitted.get("value")
    if value is None or fitted.get("at_bound"):
        where = str(run.analysis_file("confidence"))
        found = "one at the bound of its range, which calibrates nothing" if value else "none"
        raise BadInput(
            Problem(where, "a temperature fitted on validation rows", found, "Omit @{calibrated}.")
        )
    return float(value)


def chunked(reads: Iterable[Chunk], rows: int, characters: int = CHUNK_CHARACTERS) -> Iterator[Chunk]:
    """Join small reads into chunks of at least `rows` rows or `characters` characters; the last may be smaller."""
    ids: list[str] = []
    texts: list[str] = []
    copied: list[list[str]] = []
    held = 0
    for more_ids, more_texts, more_copied in reads:
        ids += more_ids
        texts += more_texts
        copied += more_copied
        held += sum(map(len, more_texts))
        if len(texts) >= rows or held >= characters:
            yield ids, texts, copied
            ids, texts, copied, held = [], [], [], 0
    if texts:
        yield ids, texts, copied


def header(labels: Sequence[str], options: PredictOptions) -> list[str]:
    """Return the names of the output's columns.

    Raises:
        BadInput: a copied column has the name of another one.
    """
    names = ["ID", "Label"]
    if options.with_confidence:
        names += ["Confidence", *(f"p_{label}" for label in labels)]
    if options.with_text:
        names.append("Text")
    for name in options.keep:
        if name in names:
            remedy = "Rename it in the file, or omit it."
            raise BadInput(
                Problem("@{keep}", "names that differ from the other columns", f"'{name}'", remedy)
            )
        names.append(name)
    return names


def lines(
    chunk: Chunk,
    answered: np.ndarray,
    labels: Sequence[str],
    probabilities: np.ndarray,
    options: PredictOptions,
) -> Iterator[list[str]]:
    """Yield one output line per row.

    Args:
        chunk: N ids, texts and copied values.
        answered: class of each row, int [N]; -1 for a row that is not answered.
        labels: C class names.
        probabilities: float32 [N, C]; written with nine digits, which identify a float32.
        options: decide about the columns.
    """
    for row_id, text, copied, answer, row in zip(*chunk, answered, probabilities, strict=True):
        line = [row_id, "" if answer == NONE else labels[answer]]
        if options.with_confidence:
            confidence = row.max() if answer == NONE else row[answer]
            line += [f"{value:.9g}" for value in (confidence, *row)]
        yield [*line, *([text] if options.with_text else []), *copied]


def answers(probabilities: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Return the most probable class of each row, int [N]; of equally probable classes the first.

    Args:
        probabilities: float32 [N, C].
        threshold: a row whose highest probability is below it has -1.
    """
    # As float64: a threshold between two neighbouring float32 would be rounded to one of them.
    answered = probabilities.max(axis=1).astype("float64") >= threshold
    classes: np.ndarray = np.where(answered, probabilities.argmax(axis=1), NONE)
    return classes
