"""From a trained classifier to its results: predictions, metrics, analysis and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from submillion import notices, reporting
from submillion.assess import int8_proof, prefix_int8
from submillion.assess.cross_validation import repeat_folder
from submillion.assess.run_context import RunContext
from submillion.assess.score import assess_run
from submillion.data.corpus import Corpus, Split
from submillion.data.tokens import Tokens
from submillion.errors import BadInput, Problem
from submillion.files.output_file import OutputFile
from submillion.files.spreadsheet_cells import check_sheet_name
from submillion.fit.result import FitResult
from submillion.model.execution.int8_prefix import INT8
from submillion.model.execution.packed import Packed
from submillion.model.execution.windowed import unwindowed
from submillion.model.infer import predict_logits, probabilities_of
from submillion.model.inference import PART as INT8_PART
from submillion.model.prefix import PrefixCache
from submillion.model.trained import OpenedRun
from submillion.recipe import Recipe, TrainRecipe
from submillion.run_format.metrics import Metrics
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir


def score(
    run: RunDir,
    corpus: Corpus,
    opened: OpenedRun,
    tokens: Mapping[str, Tokens],
    result: FitResult,
    *,
    hold_back_test: bool,
    progress: bool,
) -> Metrics:
    """Save the predictions of each split once, then compute metrics, analysis and report from the saved files.

    Args:
        run: the run directory.
        corpus: the run's data.
        opened: the trained classifier.
        tokens: each split's texts, by the split's name.
        result: the outcome of the training.
        hold_back_test: score validation rows alone and make no report; `finish` does the rest.
        progress: show bars on standard error.

    Returns:
        The metrics of every scored split.
    """
    if isinstance(execution := unwindowed(opened.execution), Packed):
        execution.end_training()  # the report opens the encoder a second time
    # The validation rows of a cross-validation are training rows: the models of its folds have predicted them.
    is_answered = corpus.folds is None or result.fold_logits is not None
    splits = [corpus.validation] if is_answered else []
    # An interrupted run is scored on validation alone: the test rows are used once, when it is complete.
    if corpus.test is not None and not result.interrupted and not hold_back_test:
        splits.append(corpus.test)
    recipe = run.read_recipe()
    for split in splits:
        if split is corpus.validation and result.fold_logits is not None:
            probabilities = probabilities_of(result.fold_logits[0])
            _save_repeats(run, split, result.fold_logits, corpus.label_names)
        elif (
            split is corpus.validation
            and result.best_logits is not None
            and result.prefix_precision != INT8  # those logits rest on rounded states
        ):
            probabilities = probabilities_of(result.best_logits)
        else:
            probabilities = _probabilities(opened, tokens[split.name], recipe.train, progress)
        run.save_predictions(split.name, _predictions(split, probabilities, corpus.label_names))
    metrics = assess_run(run)
    run.update_manifest(training=result.to_json(), notices=notices.collected())
    if hold_back_test or not splits:
        run.seal()
    else:
        features = _frozen_features(result, recipe)
        _after_training(RunContext(run, corpus, opened, progress=progress, frozen_features=features))
    # Last: `resume` scores a run again that was killed before this.
    held_back = {"test_held_back": True} if hold_back_test else {}
    run.end(status="interrupted" if result.interrupted else "complete", **held_back)
    return metrics


def finish(path: str | Path, quiet: bool = False) -> Metrics:
    """Score the test rows of a run whose test split was held back, then make its analysis and report.

    Returns:
        The run's metrics; those of a run that is already finished are only read.

    Raises:
        BadInput: no run, a run that is not trained to its end, or data or encoder that have changed since.
    """
    run = RunDir(path)
    with notices.collecting(quiet or None), run.locked():
        manifest = run.read_manifest()
        notices.restore(cast(list[dict[str, Any]], manifest.get("notices", [])))
        if manifest["status"] != "complete":
            raise BadInput(
                Problem(str(path), "a run trained to its end", f"one that is {manifest['status']}")
            )
        if not manifest.get("test_held_back"):
            return run.read_metrics()
        context = RunContext(run, progress=not quiet)
        if (test := context.corpus.test) is not None:
            probabilities = context.probabilities(test.texts)
            run.save_predictions(test.name, _predictions(test, probabilities, context.labels))
        metrics = assess_run(run)
        _after_training(RunContext(run, context.corpus, context.opened, progress=not quiet))
        run.end(test_held_back=False)  # last: a run killed before this is finished again
        return metrics


def report(
    path: str | Path,
    names: Sequence[str] = (),
    answer_at: float | None = None,
    quiet: bool = False,
    suspects: str | Path | None = None,
    overwrite: bool = False,
    class_thresholds: str | None = None,
) -> Path:
    """Finish a run whose test split was held back, then make its report again; see `reporting.remake`.

    Args:
        path: a run directory.
        names: as in `reporting.remake`.
        answer_at: as in `reporting.remake`.
        quiet: show no progress.
        suspects: csv file to write, with the training rows whose labels look wrong.
        overwrite: replace an existing file of suspects.
        class_thresholds: as in `reporting.remake`.
    """
    run = RunDir(path)
    if suspects is not None:
        check_sheet_name(suspects)
    target = None if suspects is None else OutputFile.at(suspects, overwrite=overwrite)
    with run.locked():
        if run.read_manifest().get("status") == "complete":
            finish(path, quiet)
        return reporting.remake(
            path, names, answer_at, progress=not quiet, suspects=target, class_thresholds=class_thresholds
        )


def _after_training(context: RunContext) -> None:
    """Make analysis and report, with the parts on int8 that are due; older ones are deleted."""
    further = []
    for part, module in ((INT8_PART, int8_proof), (prefix_int8.PART, prefix_int8)):
        if module.is_due(context):
            further.append(part)
        else:  # a resumed run may have the part of the adapter that it was resumed from
            context.run.analysis_file(part).unlink(missing_ok=True)
    reporting.after_training(context, further)


def _probabilities(opened: OpenedRun, tokens: Tokens, train: TrainRecipe, progress: bool) -> np.ndarray:
    """Return the class probabilities of a split's texts, float32 [N, C].

    The lower layers that no adapter changes run once: the linear probe of the report starts from their output too.
    """
    prefix, size = None, train.eval_batch_size
    if train.prefix_cache and train.prefix_precision != INT8:
        with notices.suppressed():  # given when the training rows were cached
            prefix = PrefixCache.build(opened.execution, tokens, size, progress=progress)
    return probabilities_of(predict_logits(opened.execution, tokens, size, prefix, progress))


def _frozen_features(result: FitResult, recipe: Recipe) -> np.ndarray | None:
    """Return what the encoder gave the training texts before anything was trained, if the head's probe has read it.

    It is then to the last bit what the baseline reads: adapters whose B is zero change no state.
    """
    head = recipe.head
    as_baseline = head.pooling == "mean" and not head.normalize and recipe.train.prefix_precision != INT8
    untrained = recipe.lora.variant in ("lora", "eva") and not recipe.contrastive.steps
    return result.first_inputs if as_baseline and untrained else None


def _save_repeats(run: RunDir, split: Split, logits: Sequence[np.ndarray], labels: list[str]) -> None:
    """Save the predictions of the repeats of a cross-validation after the first one, from which its scores follow."""
    for repeat, values in enumerate(logits[1:], start=2):
        predictions = _predictions(split, probabilities_of(values), labels)
        run.save_predictions(split.name, predictions, baseline=repeat_folder(repeat))


def _predictions(split: Split, probabilities: np.ndarray, label_names: list[str]) -> Predictions:
    hashes = [split.text_sha256(row) for row in range(len(split))]
    return Predictions.of(split.ids, hashes, split.labels, probabilities, label_names)
