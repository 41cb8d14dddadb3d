"""Checks of a run's answers in int8, and with lower layers in int8: measured and answered again by the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from submillion.assess import int8_proof, prefix_int8
from submillion.data.tokens import Tokens
from submillion.model.execution.packed_int8 import open_int8, unsupported_int8
from submillion.model.infer import predict_probabilities
from submillion.model.inference import PART
from submillion.run_format.analysis_int8 import Int8, Int8Calibration, PrefixInt8
from submillion.run_format.predictions import Predictions
from submillion.verification.run.case import Case
from submillion.verification.run.predictions import SAMPLE
from submillion.verification.run.sampling import power
from submillion.verification.run.scores import probability_tolerance
from submillion.verification.verdict import PREDICTED, RECOMPUTED, Check, by, compared


def _answers_of(folder: str) -> str:
    return f"analysis/baselines/{folder}/{int8_proof.SPLIT}.parquet"


WHERE, ANSWERS = f"analysis/{PART}.json", _answers_of(int8_proof.FOLDER)
ERROR_TOLERANCE = 0.02
"""Relative, between measured errors: they are sums in float32, in another order on another processor."""
ELSEWHERE_PROBABILITY = 0.05
"""Where processor or versions differ: a last bit before a product may change how a value is rounded to int8."""


@dataclass(frozen=True)
class Again:
    """How rows are answered again in int8."""

    file: str
    """Of the saved answers."""
    execution: str
    """The kernels."""
    tolerance: float
    """Of a probability, on the same machine."""
    answered: Callable[[Tokens], np.ndarray]
    """Returns the probabilities of texts, float32 [N, C]."""


def prefix(case: Case) -> list[Check]:
    """Measure the lower layers again, and answer rows again with them in int8; limits as in `int8`."""
    part = prefix_int8.PART
    if not case.run.analysis_file(part).is_file():
        return []
    where, answers = f"analysis/{part}.json: calibration", _answers_of(prefix_int8.FOLDER)
    classifier = case.as_trained.classifier
    if (reason := unsupported_int8(classifier, classifier.prefix_depth)) is not None:
        return _not_made(reason, where, answers)
    saved = cast(PrefixInt8, case.run.read_json(case.run.analysis_file(part)))
    lower, actual = prefix_int8.opened_lower(case.context, case.as_trained)

    def answered(tokens: Tokens) -> np.ndarray:
        return prefix_int8.answered(case.context, case.as_trained, lower, tokens)

    again = Again(answers, lower.execution.name, probability_tolerance(case.how["precision"]), answered)
    return [
        *_calibration(where, saved["calibration"], actual),
        *by(PREDICTED, _answers(case, again, saved["execution"], prefix_int8.FOLDER)),
    ]


def int8(case: Case) -> list[Check]:
    """Measure the matrices again, and answer rows in int8 again; `analysis` recomputes what follows from both.

    Detects: measured errors that the encoder does not have, other texts than those of the seed, and answers that int8
    does not give, even if every figure was made consistent with them. Cannot detect: changed rows outside a sample
    (the check states its power), and changes within the rounding on another machine. Without the kernels, neither is
    checked.
    """
    if not case.run.analysis_file(PART).is_file():
        return []
    opened = case.context.opened
    if (reason := unsupported_int8(opened.classifier)) is not None:
        return _not_made(reason, f"{WHERE}: calibration", ANSWERS)
    saved = cast(Int8, case.run.read_json(case.run.analysis_file(PART)))
    floats = frozenset((entry["layer"], entry["matrix"]) for entry in saved["float_matrices"])
    on_kernels = opened.on(open_int8(opened.classifier, floats)).execution

    def answered(tokens: Tokens) -> np.ndarray:
        size = case.recipe.train.eval_batch_size
        return predict_probabilities(on_kernels, tokens, size, case.options.progress)

    again = Again(ANSWERS, on_kernels.name, 0.0, answered)
    actual = int8_proof.calibrated(case.context, opened)
    return [
        *_calibration(f"{WHERE}: calibration", saved["calibration"], actual),
        *by(PREDICTED, _answers(case, again, saved["execution"], int8_proof.FOLDER)),
    ]


def _not_made(reason: str, calibration: str, answers: str) -> list[Check]:
    return [
        Check("int8", None, where, found=f"{what} not made again, because int8 cannot run here: {reason}")
        for where, what in ((calibration, "the errors were"), (answers, "the answers were"))
    ]


def _calibration(where: str, claimed: Int8Calibration, actual: Int8Calibration) -> list[Check]:
    summary = f"{{leaves}} entries, measured again (relative tolerance {ERROR_TOLERANCE:g})"
    return by(RECOMPUTED, compared("int8", where, claimed, actual, ERROR_TOLERANCE, summary))


def _answers(case: Case, again: Again, claimed_execution: str, folder: str) -> list[Check]:
    """Answer rows again, all of them or a sample, and compare the probabilities."""
    answers = case.run.load_predictions(int8_proof.SPLIT, baseline=folder)
    rows = _rows(case, len(answers))
    if not len(rows):
        return [Check("int8", None, again.file, found="no rows were requested")]
    actual = again.answered(case.tokens[int8_proof.SPLIT].take(rows))
    checked = f"predicted again in int8: {power(len(answers), len(rows))}"
    if (answers.probabilities[rows] == actual).all():
        return [Check("int8", True, again.file, found=f"{checked}; equal bit for bit")]
    same = again.execution == claimed_execution and not case.other_arithmetic
    allowed = again.tolerance if same else ELSEWHERE_PROBABILITY
    return _within(again.file, answers, rows, actual, allowed, checked)


def _rows(case: Case, count: int) -> np.ndarray:
    """Return the rows to answer again, ascending: those that were asked for, else a sample."""
    wanted = count if case.options.full else SAMPLE if case.options.rows is None else case.options.rows
    if wanted >= count:
        return np.arange(count)
    drawn: np.ndarray = np.random.default_rng(case.options.seed).choice(count, wanted, replace=False)
    return np.sort(drawn)


def _within(
    file: str, answers: Predictions, rows: np.ndarray, actual: np.ndarray, allowed: float, checked: str
) -> list[Check]:
    differences: Any = np.abs(actual.astype(np.float64) - answers.probabilities[rows]).max(axis=1)
    worst = int(differences.argmax())
    if differences[worst] <= allowed:
        text = f"{checked}; largest difference of a probability {differences[worst]:.1e}, allowed {allowed:g}"
        return [Check("int8", True, file, found=text)]
    beyond = int((~(differences <= allowed)).sum())
    text = f"{beyond:,} of {len(rows):,} rows differ by more than {allowed:g}, the largest by {differences[worst]:.1e}"
    return [Check("int8", False, f"{file}: id {answers.ids[rows[worst]]}", "the probabilities of int8", text)]
