"""Scores a finished run on further labelled rows, and adds predictions and metrics to the run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from submillion import notices, run_paths
from submillion.assess.confidence_summary import check_thresholds
from submillion.assess.score import score_split
from submillion.data.corpus import Split, labelled_split, read_labelled
from submillion.data.formats import open_table
from submillion.data.labels import Classes
from submillion.data.rows import LabelledRows
from submillion.data.table import Table
from submillion.data.token_report import unknown_tokens
from submillion.data.tokens import tokenize
from submillion.errors import BadInput, Problem
from submillion.recipe import DataRecipe
from submillion.run_format.manifest import EvaluationEntry
from submillion.run_format.metrics import SplitMetrics
from submillion.run_format.predictions import Predictions
from submillion.run_format.splits import SPLITS
from submillion.rundir import RunDir
from submillion.sources.text_files import content_sha256
from submillion.wording import printable

LONGEST_NAME = 200
"""Bytes of a split's name, beside which those of the figures' files have room."""


def evaluate(
    run_path: str | Path,
    data: str | Path | LabelledRows,
    name: str | None = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    thresholds: Iterable[float] = (),
    progress: bool = False,
) -> SplitMetrics:
    """Predict a labelled file with a run, save the predictions in the run, and score them.

    Args:
        run_path: a finished run.
        data: a file of labelled texts, labels by the run's names or numbers; or such rows from memory.
        name: name of the split; None takes the file's name without its ending, `evaluation` for rows from memory.
        text: text column of the file, or several; None takes those of the run's recipe, else finds them.
        label: label column of the file; None takes that of the run's recipe if the file has it, else finds it.
        thresholds: confidence thresholds in addition to 0.9.
        progress: show a bar on standard error.

    Returns:
        The split's metrics, also written to metrics.json; those of other splits are kept.

    Raises:
        BadInput: no finished run, a file that cannot be read or has unknown labels, or a reserved name.
    """
    # The report of a run needs this module, but not torch.
    from submillion.model.infer import predict_probabilities  # noqa: PLC0415
    from submillion.model.trained import open_run_classifier, text_columns  # noqa: PLC0415

    checked = check_thresholds(thresholds)
    run = RunDir.open(run_path)
    default = "evaluation" if isinstance(data, LabelledRows) else Path(data).stem
    split_name = _split_name(run, name, default)
    manifest = run.read_manifest()
    if not manifest.get("labels"):
        raise BadInput(Problem(str(run.manifest), "the run's label names", "none", "Train the run again."))
    classes, recipe = Classes.of_run(manifest), run.read_recipe()
    # The file is read first: a wrong column should not cost the wait for the weights.
    if isinstance(data, LabelledRows):
        split, origin = _from_memory(data, classes, split_name)
    else:
        columns = text
        if recipe.data.text or recipe.data.label:
            with notices.suppressed():  # reading the rows gives them
                table = open_table(data, likely=recipe.data.encoding)
            label = label or _label_column(table, recipe.data)
            columns = text or (None if table.is_plain else text_columns(run))
        split = read_labelled(Path(data), classes, split_name, columns, label, recipe.data.encoding)
        origin = evaluation_entry(run, Path(data), columns, label, len(split))
    opened = open_run_classifier(run)
    tokens = tokenize(opened.tokenizer, split.texts, opened.truncation, progress=progress)
    unknown_tokens(opened.tokenizer, tokens).notice(f"the texts of {split_name}")
    batch_size = recipe.train.eval_batch_size
    probabilities = predict_probabilities(opened.execution, tokens, batch_size, progress)
    hashes = [split.text_sha256(row) for row in range(len(split))]
    run.begin("evaluate", split=split_name, thresholds=checked)
    run.update_manifest(evaluations=manifest.get("evaluations", {}) | {split_name: origin})
    run.save_predictions(
        split_name, Predictions.of(split.ids, hashes, split.labels, probabilities, opened.labels)
    )
    return score_saved(run, split_name, checked)


def _from_memory(rows: LabelledRows, classes: Classes, name: str) -> tuple[Split, EvaluationEntry]:
    """Return rows from memory as a split, and that they came from no file."""
    split = labelled_split(rows, classes, name)
    return split, {"file": None, "sha256": None, "text": None, "label": None, "rows": len(split)}


def evaluation_entry(
    run: RunDir, file: Path, text: str | Sequence[str] | None, label: str | None, rows: int
) -> EvaluationEntry:
    """Return where the rows of a file came from, for the manifest."""
    return {
        "file": run_paths.relative_file(file, run.path),
        "sha256": content_sha256(file),
        "text": text if text is None or isinstance(text, str) else list(text),
        "label": label,
        "rows": rows,
    }


def _label_column(table: Table, data: DataRecipe) -> str | None:
    """Return the label column that a run's recipe names, after a notice; None if it names none that the file has."""
    if data.label is None or data.label not in table.columns:
        return None
    notices.emit("label_column", f"labels are read from {data.label}, as in training.")
    return data.label


def score_saved(run: RunDir, split: str, thresholds: Iterable[float]) -> SplitMetrics:
    """Score a split's saved predictions, and write the result into metrics.json; those of other splits are kept."""
    metrics = score_split(run, split, thresholds)
    known = run.read_json(run.metrics) if run.metrics.is_file() else {}
    run.write_json(run.metrics, known | {split: metrics})
    return metrics


def _split_name(run: RunDir, name: str | None, default: str) -> str:
    """Return the split's name; refuse those of the run's own splits, whose metrics must not change.

    Raises:
        BadInput: the name is one of the run's own splits, or not a valid file name.
    """
    chosen = default if name is None else name
    if name is None and chosen in SPLITS:
        chosen = f"{chosen}-new"
    if chosen in SPLITS:
        raise BadInput(
            Problem(
                "@{name}",
                f"a name other than {', '.join(SPLITS)}",
                f"'{chosen}', one of the run's own splits",
                f"For example {chosen}-new.",
            )
        )
    if not chosen.strip() or chosen.startswith(".") or any(mark in chosen for mark in '/\\:*?"<>|'):
        raise BadInput(
            Problem("@{name}", "a valid file name", f"'{chosen}'", "Use letters, digits, - and _.")
        )
    if printable(chosen) != chosen or len(os.fsencode(chosen)) > LONGEST_NAME:
        expected = f"a name of at most {LONGEST_NAME} bytes, without control characters"
        found = f"'{chosen}'" if printable(chosen) != chosen else f"{len(os.fsencode(chosen))} bytes"
        raise BadInput(Problem("@{name}", expected, found, "Name the rows with @{name}."))
    if run.prediction_file(chosen).is_file():
        notices.emit("evaluation_replaced", f"the run's earlier predictions of '{chosen}' are replaced.")
    return chosen
