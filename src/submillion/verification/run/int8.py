"""Check of a run's proof of int8: the measured matrices and the answers in int8, made again by the kernels."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from submillion.assess import int8_proof
from submillion.model.execution.packed_int8 import open_int8, unsupported_int8
from submillion.model.infer import predict_probabilities
from submillion.model.inference import PART
from submillion.run_format.analysis_int8 import Int8, Int8Calibration
from submillion.run_format.predictions import Predictions
from submillion.verification.run.case import Case
from submillion.verification.run.predictions import SAMPLE
from submillion.verification.run.sampling import power
from submillion.verification.verdict import PREDICTED, RECOMPUTED, Check, by, compared

WHERE = f"analysis/{PART}.json"
ANSWERS = f"analysis/baselines/{int8_proof.FOLDER}/{int8_proof.SPLIT}.parquet"
ERROR_TOLERANCE = 0.02
"""Relative, between measured errors: they are sums in float32, in another order on another processor."""
ELSEWHERE_PROBABILITY = 0.05
"""Where processor or versions differ: a last bit before a product may change how a value is rounded to int8."""


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
        return [
            Check("int8", None, where, found=f"{what} not made again, because int8 cannot run here: {reason}")
            for where, what in ((f"{WHERE}: calibration", "the errors were"), (ANSWERS, "the answers were"))
        ]
    saved = cast(Int8, case.run.read_json(case.run.analysis_file(PART)))
    return [*_calibration(case, saved["calibration"]), *by(PREDICTED, _answers(case, saved))]


def _calibration(case: Case, claimed: Int8Calibration) -> list[Check]:
    actual = int8_proof.calibrated(case.context, case.context.opened)
    summary = f"{{leaves}} entries, measured again (relative tolerance {ERROR_TOLERANCE:g})"
    return by(
        RECOMPUTED, compared("int8", f"{WHERE}: calibration", claimed, actual, ERROR_TOLERANCE, summary)
    )


def _answers(case: Case, saved: Int8) -> list[Check]:
    """Answer rows again, all of them or a sample, and compare the probabilities."""
    answers = case.run.load_predictions(int8_proof.SPLIT, baseline=int8_proof.FOLDER)
    rows = _rows(case, len(answers))
    if not len(rows):
        return [Check("int8", None, ANSWERS, found="no rows were requested")]
    floats = frozenset((entry["layer"], entry["matrix"]) for entry in saved["float_matrices"])
    opened = case.context.opened.on(open_int8(case.context.opened.classifier, floats))
    tokens = case.tokens[int8_proof.SPLIT].take(rows)
    actual = predict_probabilities(
        opened.execution, tokens, case.recipe.train.eval_batch_size, case.options.progress
    )
    checked = f"predicted again in int8: {power(len(answers), len(rows))}"
    claimed = answers.probabilities[rows]
    if (claimed == actual).all():
        return [Check("int8", True, ANSWERS, found=f"{checked}; equal bit for bit")]
    same = opened.execution.name == saved["execution"] and not case.other_arithmetic
    allowed = 0.0 if same else ELSEWHERE_PROBABILITY
    return _within(answers, rows, actual, allowed, checked)


def _rows(case: Case, count: int) -> np.ndarray:
    """Return the rows to answer again, ascending: those that were asked for, else a sample."""
    wanted = count if case.options.full else SAMPLE if case.options.rows is None else case.options.rows
    if wanted >= count:
        return np.arange(count)
    drawn: np.ndarray = np.random.default_rng(case.options.seed).choice(count, wanted, replace=False)
    return np.sort(drawn)


def _within(
    answers: Predictions, rows: np.ndarray, actual: np.ndarray, allowed: float, checked: str
) -> list[Check]:
    differences: Any = np.abs(actual.astype(np.float64) - answers.probabilities[rows]).max(axis=1)
    worst = int(differences.argmax())
    if differences[worst] <= allowed:
        text = f"{checked}; largest difference of a probability {differences[worst]:.1e}, allowed {allowed:g}"
        return [Check("int8", True, ANSWERS, found=text)]
    beyond = int((~(differences <= allowed)).sum())
    text = f"{beyond:,} of {len(rows):,} rows differ by more than {allowed:g}, the largest by {differences[worst]:.1e}"
    return [
        Check("int8", False, f"{ANSWERS}: id {answers.ids[rows[worst]]}", "the probabilities of int8", text)
    ]
