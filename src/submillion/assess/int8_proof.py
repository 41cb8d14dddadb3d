"""The part "int8": whether the run answers in int8 as it does in float, proven on its validation rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from submillion import notices
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.agreement import agreement
from submillion.assess.statistics.proportions import paired_interval
from submillion.data.batches import permutation
from submillion.data.tokens import Tokens, encode
from submillion.errors import BadInput, Problem
from submillion.model.execution.int8_calibration import LARGEST_ERROR, MatrixName, outliers, product_errors
from submillion.model.execution.int8_rule import RULE
from submillion.model.execution.packed_int8 import open_int8, unsupported_int8
from submillion.model.trained import OpenedRun
from submillion.run_format.agreement import SplitAgreement
from submillion.run_format.analysis_int8 import Int8, Int8Calibration, Int8Comparison, Int8Matrix
from submillion.run_format.interval import limits_of
from submillion.run_format.predictions import Predictions
from submillion.wording import percent, points, points_range

SPLIT = "validation"
CALIBRATION_ROWS = 100
CALIBRATION_STREAM = 8
"""Of the random numbers of a run's seed."""
LEAST_EQUAL = 0.998
LARGEST_DIFFERENCE = 0.001
FOLDER = "int8"
"""Of the answers in int8, below `analysis/baselines`."""


def least_rows() -> int:
    """Return the number of rows below which no proof is possible, because the interval of no difference is too wide."""
    rows = int(1 / LARGEST_DIFFERENCE)
    while limits_of(paired_interval(0, 0, rows))[1] > LARGEST_DIFFERENCE:
        rows += 1
    return rows


def is_due(context: RunContext) -> bool:
    """Return whether a training should end with this part: it may succeed, and the processor has the kernels."""
    if context.adopted or context.cross_validated or SPLIT not in context.run.prediction_splits():
        return False
    saved = context.predictions(SPLIT)
    enough = saved.labels is not None and int((saved.labels >= 0).sum()) >= least_rows()
    return enough and unsupported_int8(context.opened.classifier) is None


def analyse(context: RunContext) -> Int8:
    """Measure each matrix on training texts, then answer the validation rows in int8 and compare.

    Raises:
        BadInput: int8 cannot run here, or there are no validation rows that the classifier was not trained on.
    """
    saved = validation(context)
    opened = context.opened
    if (reason := unsupported_int8(opened.classifier)) is not None:
        raise BadInput(Problem("int8", "a classifier and a processor for the int8 kernels", reason))
    calibration = calibrated(context, opened)
    answers, execution = answered(context, calibration)
    made = Predictions.of(saved.ids, saved.text_sha256, saved.labels, answers, saved.label_names)
    context.run.save_predictions(SPLIT, made, baseline=FOLDER)
    found = _judged(context, calibration, execution, saved, answers)
    verdict = "proven for this run" if found["proven"] else "not proven for this run"
    notices.emit("int8", f"int8 is {verdict}: {found['reason']}.", proven=found["proven"])
    return found


def recheck(context: RunContext, saved: Int8) -> Int8:
    """Recompute everything that follows from the saved answers and the measured errors."""
    rows = validation(context)
    answers = saved_answers(context, rows, FOLDER)
    calibration: Int8Calibration = {**saved["calibration"], "largest_error": LARGEST_ERROR}
    return _judged(context, calibration, saved["execution"], rows, answers.probabilities)


def saved_answers(context: RunContext, rows: Predictions, folder: str) -> Predictions:
    """Return the answers in a folder below `analysis/baselines`; raises BadInput if they are of other rows."""
    answers = context.run.load_predictions(SPLIT, baseline=folder)
    if (answers.ids, answers.text_sha256, answers.label_names) != (
        rows.ids,
        rows.text_sha256,
        rows.label_names,
    ):
        where = str(context.run.prediction_file(SPLIT, folder))
        raise BadInput(Problem(where, "predictions of the run's validation rows", "those of other rows"))
    return answers


def calibrated(context: RunContext, opened: OpenedRun) -> Int8Calibration:
    """Return the error that int8 causes in the products of each matrix, on training texts drawn with the run's seed."""
    tokens, sha256 = calibration_texts(context, opened)
    return calibration_of(product_errors(opened.classifier, tokens, context.progress), tokens, sha256)


def calibration_of(errors: Mapping[MatrixName, float], tokens: Tokens, sha256: str) -> Int8Calibration:
    """Return the entry of measured errors.

    Args:
        errors: layer by layer.
        tokens: of the texts that measured them.
        sha256: of these texts; see `texts_at`.
    """
    by_target: dict[str, list[float]] = {}
    for (_, target), error in errors.items():
        by_target.setdefault(target, []).append(error)
    return {
        "rows": len(tokens),
        "tokens": int(tokens.lengths.sum()),
        "sha256": sha256,
        "errors": by_target,
        "largest_error": LARGEST_ERROR,
    }


def calibration_texts(context: RunContext, opened: OpenedRun) -> tuple[Tokens, str]:
    """Return the training texts that measure the matrices, and the hash of their hashes; never validation rows."""
    train = context.train
    drawn = permutation(len(train), context.seed, 0, CALIBRATION_STREAM)[:CALIBRATION_ROWS]
    return texts_at(context, opened, np.sort(drawn))


def texts_at(context: RunContext, opened: OpenedRun, rows: np.ndarray) -> tuple[Tokens, str]:
    """Return some training texts, window by window, and the hash of their hashes."""
    train = context.train
    hashes = "".join(train.text_sha256(int(row)) for row in rows)
    tokens = encode(opened.tokenizer, [train.texts[row] for row in rows], opened.truncation)
    return tokens.as_windows(), hashlib.sha256(hashes.encode()).hexdigest()


def answered(context: RunContext, calibration: Int8Calibration) -> tuple[np.ndarray, str]:
    """Return the probabilities of the validation rows in int8, float32 [N, C], and the name of the execution."""
    execution = open_int8(context.opened.classifier, outliers_of(calibration))
    opened = context.opened.on(execution)
    texts = context.texts(SPLIT)
    size = context.recipe.train.eval_batch_size
    return opened.probabilities(texts, size, context.progress), execution.name


def validation(context: RunContext) -> Predictions:
    """Return the saved predictions of the validation rows; raises BadInput without any that can prove something."""
    expected = "validation rows that the classifier was not trained on"
    if context.cross_validated:
        found = "a run whose validation rows are training rows, predicted by models of folds"
        raise BadInput(Problem(str(context.run.path), expected, found))
    if SPLIT not in context.run.prediction_splits() or not len(saved := context.predictions(SPLIT)):
        raise BadInput(Problem(str(context.run.path), expected, "none"))
    return saved


def outliers_of(calibration: Int8Calibration) -> frozenset[MatrixName]:
    """Return the matrices that stay in float."""
    errors = {
        (layer, target): error
        for target, of_target in calibration["errors"].items()
        for layer, error in enumerate(of_target)
    }
    return outliers(errors, calibration["largest_error"])


def _judged(
    context: RunContext,
    calibration: Int8Calibration,
    execution: str,
    saved: Predictions,
    answers: np.ndarray,
) -> Int8:
    """Return the part: the answers in int8 compared with those of the run, and what that proves."""
    compared = comparison(calibration, execution, saved, answers)
    return {**compared, "adapter": context.run.hashes(context.run.adapter)}


def comparison(
    calibration: Int8Calibration, execution: str, saved: Predictions, answers: np.ndarray
) -> Int8Comparison:
    """Compare answers in int8 with those of the run.

    Args:
        calibration: names the matrices that stay in float.
        execution: the kernels.
        saved: the run's predictions of the validation rows.
        answers: probabilities of the same rows in int8 [N, C].
    """
    labels = np.full(len(saved), -1) if saved.labels is None else saved.labels
    found = agreement(answers, saved.probabilities, labels)
    labelled = int((labels >= 0).sum())
    proven, reason = _verdict(found, labelled)
    floats: list[Int8Matrix] = [
        {"layer": layer, "matrix": target} for layer, target in sorted(outliers_of(calibration))
    ]
    return {
        "rule": RULE,
        "execution": execution,
        "calibration": calibration,
        "float_matrices": floats,
        "split": SPLIT,
        "agreement": found,
        "least_equal": LEAST_EQUAL,
        "largest_difference": LARGEST_DIFFERENCE,
        "least_rows": least_rows(),
        "proven": proven,
        "reason": reason,
    }


def _verdict(found: SplitAgreement, labelled: int) -> tuple[bool, str]:
    """Return whether the agreement proves int8, and the sentence that says why."""
    rows, equal = found["rows"], found["argmax_agreement"]
    if found["interval"] is None or found["accuracy_difference"] is None:
        return False, f"the {rows:,} validation rows have no labels"
    low, high = limits_of(found["interval"])
    same = f"{percent(equal, 2)} of {rows:,} validation rows have the same class"
    within = low >= -LARGEST_DIFFERENCE and high <= LARGEST_DIFFERENCE
    accuracy = (
        f"accuracy differs by {points(found['accuracy_difference'])} ({points_range(low, high)}) points"
    )
    if equal >= LEAST_EQUAL and within:
        return True, f"{same}, and {accuracy}"
    if equal < LEAST_EQUAL:
        return False, f"only {same}, and a proof takes {percent(LEAST_EQUAL, 1)}"
    if labelled < least_rows():
        return False, f"{same}, but a proof takes at least {least_rows():,} labelled rows"
    return False, f"{same}, but {accuracy}, and a proof takes at most {100 * LARGEST_DIFFERENCE:g} either way"
