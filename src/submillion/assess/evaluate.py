"""Scores a finished run on a further labelled file; its predictions and metrics join those of the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.assess.confidence_summary import check_thresholds
from submillion.assess.score import score_split
from submillion.data.rows import LabelledRows
from submillion.errors import BadInput, Problem
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir

OWN_SPLITS = ("train", "validation", "test")  # names that the training gives to splits


def evaluate(
    run_path: str | Path,
    data: str | Path | LabelledRows,
    name: str | None = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    thresholds: Iterable[float] = (),
    progress: bool = False,
) -> dict[str, Any]:
    """Predict a labelled file with a run, save the predictions in the run, and score them.

    Args:
        run_path: a finished run.
        data: a file of labelled texts, labels by the run's names or numbers; or such rows from memory.
        name: name of the split; None takes the file's name without its ending, `evaluation` for rows from memory.
        text: text column of the file, or several; None takes those of the run's recipe, else finds them.
        label: label column of the file; None finds it.
        thresholds: confidence thresholds beside 0.9.
        progress: show a bar on standard error.

    Returns:
        The split's metrics, as they now stand in metrics.json under its name; those of other splits stay.

    Raises:
        BadInput: no finished run, a file that cannot be read or has unknown labels, or a name that is taken.
    """
    from submillion.data.corpus import labelled_split, read_labelled
    from submillion.data.tokens import tokenize
    from submillion.model.infer import predict_probabilities
    from submillion.model.trained import open_run_classifier, text_columns

    asked = check_thresholds(thresholds)
    run = RunDir.open(run_path)
    default = "evaluation" if isinstance(data, LabelledRows) else Path(data).stem
    split_name = _split_name(run, name, default)
    labels = run.read_manifest().get("labels")
    if not labels:
        raise BadInput(Problem(str(run.manifest), "the run's label names", "none", "Train the run again."))
    # The file is read before the model is: a wrong column should not cost the wait for the weights.
    if isinstance(data, LabelledRows):
        split = labelled_split(data, labels, split_name)
    else:
        split = read_labelled(data, labels, split_name, text=text or text_columns(run), label=label)
    opened = open_run_classifier(run)
    recipe = run.read_recipe()
    tokens = tokenize(opened.tokenizer, split.texts, opened.max_length, progress=progress)
    probabilities = predict_probabilities(opened.execution, tokens, recipe.train.eval_batch_size, progress)
    hashes = [split.text_sha256(row) for row in range(len(split))]
    run.save_predictions(
        split_name, Predictions.of(split.ids, hashes, split.labels, probabilities, opened.labels)
    )
    metrics = score_split(run, split_name, asked)
    known = run.read_json(run.metrics) if run.metrics.is_file() else {}
    run.write_json(run.metrics, known | {split_name: metrics})
    return metrics


def _split_name(run: RunDir, name: str | None, default: str) -> str:
    """Return the split's name; refuse those of the run's own splits, whose figures must stay what they are.

    Raises:
        BadInput: the name is one of the run's own splits, or no file could be called so.
    """
    chosen = default if name is None else name
    if name is None and chosen in OWN_SPLITS:
        chosen = f"{chosen}-new"
    if chosen in OWN_SPLITS:
        raise BadInput(
            Problem(
                "@{name}",
                f"a name other than {', '.join(OWN_SPLITS)}",
                f"'{chosen}', one of the run's own splits",
                f"For example {chosen}-new.",
            )
        )
    if not chosen.strip() or chosen.startswith(".") or any(mark in chosen for mark in '/\\:*?"<>|'):
        raise BadInput(
            Problem("@{name}", "a name that a file can have", f"'{chosen}'", "Use letters, digits, - and _.")
        )
    if run.prediction_file(chosen).is_file():
        notices.emit("evaluation_replaced", f"the run's earlier predictions of '{chosen}' are replaced.")
    return chosen
