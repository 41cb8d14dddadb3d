"""Labels the texts of a file of any size, in constant memory, and writes them in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.data.in_memory import text_values
from submillion.data.token_report import Unknown
from submillion.data.truncation import Truncation
from submillion.errors import BadInput, Problem
from submillion.files.output_file import OutputFile
from submillion.model.class_thresholds import NONE
from submillion.model.infer import probabilities_of
from submillion.model.inference import PART, open_for_answers
from submillion.model.precisions import AUTO, INT8
from submillion.model.trained import text_columns
from submillion.rundir import RunDir
from submillion.ship.overlap import behind
from submillion.ship.predict_engines import LocalEngine, RayEngine, Scored
from submillion.ship.predict_forms import Columns, columns_of
from submillion.ship.predict_options import Answering, PredictOptions, answering, header
from submillion.ship.predict_parts import Counts, Parts
from submillion.ship.predict_rows import STDIN, Chunk, after, chunked, count_rows, readable, rows_of
from submillion.ship.predict_target import Output, resolved_out
from submillion.terminal.progress import progress_bar

PARTS_FROM = 5000  # rows; a shorter prediction is repeated sooner than its parts are worth

Reads = Callable[[], Iterator[Chunk]]
"""Reads the input from its beginning."""
Sink = Callable[[Chunk, Columns, Counts], None]


def predict_file(
    run: str | Path,
    file: str | Path,
    out: str | Path | None = None,
    text: str | Sequence[str] | None = None,
    options: PredictOptions | None = None,
    *,
    progress: bool = False,
    overwrite: bool = False,
    stdin_form: str | None = None,
) -> int:
    """Label every text of a file; the output has the columns `ID` and `Label`, rows in input order.

    The input is read twice: first to count its rows and to meet one that cannot be used, then to classify them. From
    PARTS_FROM rows on, the output is made of parts, and `resume` continues after the last complete one.

    Args:
        run: a finished run directory.
        file: csv, tsv, jsonl, parquet, arrow or plain text lines, labels not needed; `-` for standard input.
        out: file to write, in the format that its ending names (csv, jsonl, parquet), which takes its name only when it
            is complete; a name without an ending for a folder of parquet files; `-` for csv on standard output. Links
            are followed, and a pipe or a device is written into. None takes predictions.csv, or standard output for
            standard input.
        text: text column, or several, joined as in training; None takes the run's own, except for plain lines.
        options: None takes the defaults.
        progress: show rows, rate and time left on standard error.
        overwrite: replace an existing output.
        stdin_form: format of standard input, such as `csv`, `jsonl` or `txt`; None recognizes jsonl, else takes csv.

    Returns:
        Number of rows of the output.

    Raises:
        BadInput: no run, no such file or column, no texts, an output that exists or cannot be written or continued, no
            policy, no thresholds, or no fitted temperature.
        SubmillionError: the disk refused the output.
    """
    options = options or PredictOptions()
    run_dir = RunDir.open(run)
    out = resolved_out(file, out)
    target = Output.at(out, options, overwrite, [] if str(file) == STDIN else [Path(file)])
    answered = answering(run_dir, options)
    encoding = run_dir.read_recipe().data.encoding
    with readable(file, stdin_form) as path:

        def reads() -> Iterator[Chunk]:
            usual = partial(text_columns, run_dir)
            return rows_of(path, text, options.id, options.keep, encoding, usual)

        return _predict(run_dir, reads, target, options, answered, progress)


def predict_texts(
    run: str | Path,
    texts: Sequence[str],
    out: str | Path = "-",
    options: PredictOptions | None = None,
    *,
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
        BadInput: no texts, one that is no text in unicode; else as in `predict_file`.
    """
    options = options or PredictOptions()
    for argument, value in (("id", options.id), ("keep", options.keep)):
        if value:
            raise BadInput(
                Problem(f"@{{{argument}}}", "a file, which has columns", "texts that are passed directly")
            )
    given = text_values(texts)
    if not given:
        raise BadInput(Problem("@{texts}", "at least one text", "none"))
    run_dir = RunDir.open(run)
    chunk: Chunk = [str(number) for number in range(len(given))], given, [[] for _ in given]
    target = Output.at(out, options, overwrite, [])
    return _predict(run_dir, lambda: iter([chunk]), target, options, answering(run_dir, options), progress)


def _predict(
    run: RunDir,
    reads: Reads,
    target: Output,
    options: PredictOptions,
    answered: Answering,
    progress: bool,
) -> int:
    """Classify the rows, write them, and return their number."""
    names = header(run.read_manifest()["labels"], options)
    # All rows are read before the model is loaded: a wrong column or a broken row fails at once.
    total = count_rows(reads())
    work = _Work(run, reads, options, answered, progress, total)
    if target.file is None:
        counts = _in_parts(work, target, names, None)
    elif target.folder.is_dir() or (target.file.whole and total >= PARTS_FROM):
        counts = _in_parts(work, target, names, target.file)
    else:
        counts = _at_once(work, target, names, target.file)
    work.announce(counts)
    return counts.rows


def _at_once(work: _Work, target: Output, names: list[str], file: OutputFile) -> Counts:
    """Write a short prediction, or a stream."""
    with file.open(binary=file.whole) as stream:
        rows = target.form(stream, names, work.options)
        rows.begin()

        def put(_chunk: Chunk, columns: Columns, _counts: Counts) -> None:
            rows.write(columns)

        counts = work.into(put)
        rows.end()
    return counts


def _in_parts(work: _Work, target: Output, names: list[str], file: OutputFile | None) -> Counts:
    """Write numbered parts, and join them if the output is a file."""
    parts = Parts(target.folder, target.form, names, work.options)
    with parts.opened(work.settings(names), target.overwrite):
        try:
            work.into(parts.write, parts)
            parts.complete()
            if file is not None:
                with file.open(binary=True) as stream:
                    rows = target.form(stream, names, work.options)
                    rows.begin()
                    rows.join(parts.files())
                    rows.end()
        except BaseException:
            parts.announce()
            raise
    if file is not None:
        parts.delete()
    return parts.counts


@dataclass(frozen=True)
class _Work:
    """One prediction without its output."""

    run: RunDir
    reads: Reads
    options: PredictOptions
    answered: Answering
    progress: bool
    total: int

    def settings(self, names: list[str]) -> dict[str, Any]:
        """Return what decides the output, as JSON."""
        run = self.run
        hashes = run.hashes(run.recipe, run.adapter, run.tokenizer)
        return {
            "run": hashes,
            "columns": names,
            "spreadsheet": self.options.spreadsheet,
            "precision": self.options.precision,
            "int8": run.hashes(run.analysis_file(PART)) if self.options.precision in (AUTO, INT8) else {},
            **self.answered.settings,
        }

    def into(self, sink: Sink, parts: Parts | None = None) -> Counts:
        """Classify the rows after those that the parts have, and pass them to a sink, in order; return its counts.

        Raises:
            BadInput: the parts are of other rows.
        """
        options, done = self.options, parts.counts.rows if parts else 0
        reads = self.reads()
        if parts and done:
            reads = after(reads, done, parts.hash)
            first = next(reads, None)
            parts.check_input()
            if first is None:
                return Counts()
            parts.is_complete = False
            reads = chain([first], reads)
        chunks = chunked(reads, options.chunk_rows)
        counts = Counts()
        with (
            progress_bar(self.progress, self.total, "predicting", done) as advance,
            ExitStack() as stack,
        ):
            engine: LocalEngine | RayEngine
            if options.engine == "ray":
                engine = RayEngine(self.run, options.batch_size, advance, options.precision)
                labels = [str(label) for label in self.run.read_manifest()["labels"]]
            else:
                opened = open_for_answers(self.run, options.precision)
                engine, labels = LocalEngine(opened, options.batch_size, advance), opened.labels
            scored = stack.enter_context(closing(engine.scored(chunks)))
            write = stack.enter_context(behind(sink))
            for chunk, one in scored:
                columns, counted = self._answered(chunk, one, labels)
                write(chunk, columns, counted)
                counts += counted
        return counts

    def _answered(self, chunk: Chunk, scored: Scored, labels: list[str]) -> tuple[Columns, Counts]:
        raw = probabilities_of(scored.logits)
        shown = (
            raw
            if self.answered.temperature == 1.0
            else probabilities_of(scored.logits / self.answered.temperature)
        )
        answers = self.answered.classes(raw, shown)
        counts = Counts(
            len(answers),
            int((answers == NONE).sum()),
            scored.truncated,
            scored.unknown.tokens,
            scored.unknown.unknown,
            scored.unknown.texts_with_unknown,
        )
        return columns_of(chunk, answers, labels, shown, self.options), counts

    def announce(self, counts: Counts) -> None:
        """Emit the notices about all rows."""
        Unknown(counts.tokens, counts.unknown, counts.rows, counts.texts_with_unknown).notice("these texts")
        if counts.abstained or self.options.abstain or self.options.abstain_below:
            notices.emit(
                "abstained",
                f"{counts.abstained:,} of {counts.rows:,} texts have no label: their confidence is below the "
                "threshold.",
                abstained=counts.abstained,
                rows=counts.rows,
            )
        if counts.truncated:
            rule = Truncation.of(self.run.read_recipe().data)
            lost = "lost their middle" if rule.windows == "head_tail" else "were truncated"
            notices.emit(
                "truncated_texts",
                f"{counts.truncated:,} of {counts.rows:,} texts are longer than {rule.max_length} tokens and "
                f"{lost}, as in training.",
                truncated=counts.truncated,
                rows=counts.rows,
            )
