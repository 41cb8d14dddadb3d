"""The part "prefix_int8": the answers on validation rows if the layers that the training cached in int8 run in int8."""

from __future__ import annotations

import numpy as np

from submillion import notices
from submillion.assess.int8_proof import (
    SPLIT,
    calibration_of,
    comparison,
    saved_answers,
    texts_at,
    validation,
)
from submillion.assess.run_context import RunContext
from submillion.data.tokens import Tokens, encode
from submillion.errors import BadInput, Problem
from submillion.model.execution.int8_calibration import LARGEST_ERROR
from submillion.model.execution.int8_prefix import INT8, Int8Prefix, calibration_rows, open_int8_prefix
from submillion.model.infer import predict_logits, probabilities_of
from submillion.model.prefix import PrefixCache
from submillion.model.trained import OpenedRun
from submillion.run_format.analysis_int8 import Int8Calibration, PrefixInt8
from submillion.run_format.predictions import Predictions

PART = FOLDER = "prefix_int8"


def is_due(context: RunContext) -> bool:
    """Return whether a training should end with this part."""
    return (
        not context.adopted
        and not context.cross_validated
        and context.recipe.train.prefix_precision == INT8
        and context.manifest["training"]["prefix_cached"]
        and SPLIT in context.run.prediction_splits()
        and len(context.predictions(SPLIT)) > 0
    )


def analyse(context: RunContext) -> PrefixInt8:
    """Answer the validation rows with the lower layers in int8, as the training cached them, and compare.

    Raises:
        BadInput: the training cached nothing in int8, int8 cannot run here, or there are no validation rows that the
            classifier was not trained on.
    """
    if context.recipe.train.prefix_precision != INT8 or not context.manifest["training"]["prefix_cached"]:
        expected = "a run whose training cached lower layers in int8 (@{train.prefix_precision})"
        raise BadInput(Problem(str(context.run.path), expected, "another one"))
    saved = validation(context)
    lower, calibration = opened_lower(context, context.opened)
    tokens = encode(context.opened.tokenizer, list(context.texts(SPLIT)), context.opened.truncation)
    answers = answered(context, context.opened, lower, tokens)
    made = Predictions.of(saved.ids, saved.text_sha256, saved.labels, answers, saved.label_names)
    context.run.save_predictions(SPLIT, made, baseline=FOLDER)
    compared = comparison(calibration, lower.execution.name, saved, answers)
    verdict = "proven" if compared["proven"] else "not proven"
    text = f"int8 in the lower layers is {verdict} for this run: {compared['reason']}."
    notices.emit(PART, text, proven=compared["proven"])
    return {**compared, "layers": context.opened.classifier.prefix_depth}


def recheck(context: RunContext, saved: PrefixInt8) -> PrefixInt8:
    """Recompute everything that follows from the saved answers and the measured errors."""
    rows = validation(context)
    answers = saved_answers(context, rows, FOLDER)
    calibration: Int8Calibration = {**saved["calibration"], "largest_error": LARGEST_ERROR}
    compared = comparison(calibration, saved["execution"], rows, answers.probabilities)
    return {**compared, "layers": len(next(iter(calibration["errors"].values()), []))}


def opened_lower(context: RunContext, opened: OpenedRun) -> tuple[Int8Prefix, Int8Calibration]:
    """Return the lower layers in int8, calibrated as the training did it, and the measured errors."""
    tokens, sha256 = texts_at(context, opened, calibration_rows(len(context.train)))
    lower = open_int8_prefix(opened.execution, tokens, context.progress)
    return lower, calibration_of(lower.errors, tokens, sha256)


def answered(context: RunContext, opened: OpenedRun, lower: Int8Prefix, tokens: Tokens) -> np.ndarray:
    """Return the probabilities of texts, the lower layers in int8, float32 [N, C].

    Args:
        context: the run.
        opened: the run's classifier.
        lower: its lower layers.
        tokens: N texts.
    """
    size = context.recipe.train.eval_batch_size
    with notices.suppressed():
        prefix = PrefixCache.build(opened.execution, tokens, size, progress=context.progress, lower=lower)
    if prefix is None:
        raise BadInput(Problem(PART, "memory or disk for the states of the validation rows", "too little"))
    return probabilities_of(predict_logits(opened.execution, tokens, size, prefix, context.progress))
