"""Calibration: reliability diagram, expected calibration error, Brier score and log loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from submillion.assess.metrics import LEAST_PROBABILITY
from submillion.assess.statistics.bootstrap import (
    BLOCK,
    ROW_RESAMPLES,
    percentile_limits,
    resampled_rows,
)
from submillion.assess.statistics.proportions import wilson_interval
from submillion.run_format.analysis_confidence import CalibrationScores, ReliabilityBin
from submillion.run_format.interval import ALPHA, Interval, interval

BINS = 15
"""As in Guo et al. 2017."""
LEAST_ROWS = 20
"""Rows per bin: fewer give no accuracy worth reading."""
SCORES = ("ece", "brier", "nll")


@dataclass(frozen=True)
class RowScores:
    """The scores of each row's probabilities, float64 [N]; `bins` is the row's bin, int [N]."""

    confidence: np.ndarray
    right: np.ndarray
    brier: np.ndarray
    nll: np.ndarray
    bins: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.right)


def score_rows(probabilities: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> RowScores:
    """Score each row's probabilities.

    Brier score: G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather
    Review 78 (1950) 1-3, equation 2: the squared distance to the label's unit vector, from 0 to 2. Log loss as
    in `metrics_of`: in nats, of at least the smallest normal float32.

    Args:
        probabilities: [N, C], N at least 1.
        labels: class index per row, int [N].
        predicted: predicted class per row, int [N]; confidence is its probability.
    """
    exact = probabilities.astype(np.float64)
    place = np.arange(len(labels))
    of_label, confidence = exact[place, labels], exact[place, predicted]
    return RowScores(
        confidence=confidence,
        right=(labels == predicted).astype(np.float64),
        brier=(exact**2).sum(axis=1) - 2 * of_label + 1,
        nll=-np.log(np.maximum(of_label, LEAST_PROBABILITY)),
        bins=equal_mass_bins(confidence),
    )


def equal_mass_bins(confidence: np.ndarray, max_bins: int = BINS, least_rows: int = LEAST_ROWS) -> np.ndarray:
    """Return each row's bin, int [N] from 0: bins of equally many rows, ascending in confidence.

    Equal confidences stay together, so that the order of the rows does not matter; bins then differ in
    size, and there may be fewer of them. Bins of equal mass: Nguyen and O'Connor 2015, arXiv:1508.05154; they
    estimate the calibration error with less bias than bins of equal width (Roelofs et al. 2022,
    arXiv:2012.08668).

    Args:
        confidence: float [N].
        max_bins: maximum number of bins.
        least_rows: minimum number of rows per bin, without equal confidences.
    """
    rows = len(confidence)
    wanted = min(max_bins, max(rows // least_rows, 1))
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = np.cumsum(sizes) - sizes / 2  # a group of equal confidences goes to the bin of its middle
    of_group = np.minimum((middle * wanted / rows).astype(int), wanted - 1)
    _, dense = np.unique(of_group, return_inverse=True)
    return dense[group]


def reliability_diagram(scores: RowScores) -> list[ReliabilityBin]:
    """Return the bins of the reliability diagram, ascending in confidence.

    Guo et al. 2017, arXiv:1706.04599, figure 1.
    """
    bins: list[ReliabilityBin] = []
    for index in range(int(scores.bins.max()) + 1):
        inside = scores.bins == index
        confidence, right = scores.confidence[inside], int(scores.right[inside].sum())
        bins.append(
            {
                "rows": len(confidence),
                "low": float(confidence.min()),
                "high": float(confidence.max()),
                "confidence": float(confidence.mean()),
                "accuracy": right / len(confidence),
                "accuracy_interval": wilson_interval(right, len(confidence)),
            }
        )
    return bins


def calibration_scores(scores: RowScores, rng: np.random.Generator) -> CalibrationScores:
    """Return calibration error, Brier score and log loss with their intervals.

    The expected calibration error is the mean over rows of |accuracy - mean confidence| of their bin
    (Naeini et al. 2015, AAAI, "Obtaining well calibrated probabilities using Bayesian binning"; Guo et al. 2017,
    section 2). Chance alone makes it greater than 0: Kumar et al. 2019, arXiv:1909.10155. For comparison, the
    result therefore has the error of simulated labels that are right with the probability the confidence
    claims (Vaicenavicius et al. 2019, arXiv:1902.06977).

    Its interval is the basic bootstrap interval over rows, whose limits are mirrored at the value, which removes
    that bias (Davison and Hinkley, Bootstrap Methods and their Application, 1997, 5.2); if the simulation does not
    rule out perfect calibration, it begins at 0. Plain percentiles would begin above the truth whenever that is
    small. The intervals of Brier score and log loss are percentiles of the same resamples.

    Args:
        scores: the rows' scores.
        rng: source of the draws.
    """
    ece, brier, nll = _means(scores)
    drawn = _resampled_means([scores], rng)[:, 0]
    simulated = _simulated_calibrated(scores, rng)
    p = float((1 + (simulated >= ece).sum()) / (1 + len(simulated)))
    low, high = _basic_limits(ece, drawn[:, 0])
    return {
        "ece": {
            **interval(ece, 0.0 if p > ALPHA else max(low, 0.0), max(high, 0.0)),
            "bins": int(scores.bins.max()) + 1,
            "if_calibrated": {
                "mean": float(simulated.mean()),
                "high": percentile_limits(simulated, 0.9)[1],
            },
            "p": p,
        },
        "brier": interval(brier, *percentile_limits(drawn[:, 1])),
        "nll": interval(nll, *percentile_limits(drawn[:, 2])),
    }


def score_changes(before: RowScores, after: RowScores, rng: np.random.Generator) -> dict[str, Interval]:
    """Return the change of each score when the probabilities of the same rows change, after minus before.

    Args:
        before: the rows' scores before the change.
        after: the same rows' scores after it.
        rng: source of the draws, which both share.

    Returns:
        `ece`, `brier` and `nll`.
    """
    drawn = _resampled_means([before, after], rng)
    changes = {}
    for place, name in enumerate(SCORES):
        value = _means(after)[place] - _means(before)[place]
        differences = drawn[:, 1, place] - drawn[:, 0, place]
        limits = _basic_limits(value, differences) if name == "ece" else percentile_limits(differences)
        changes[name] = interval(value, *limits)
    return changes


def _means(scores: RowScores) -> list[float]:
    """Return the scores in the order of SCORES."""
    gaps = np.bincount(scores.bins, weights=scores.confidence - scores.right)
    return [float(np.abs(gaps).sum()) / scores.rows, float(scores.brier.mean()), float(scores.nll.mean())]


def _resampled_means(several: list[RowScores], rng: np.random.Generator) -> np.ndarray:
    """Return the scores of resamples of rows, [B, len(several), scores]; each row keeps its bin."""
    rows = several[0].rows
    columns: list[np.ndarray] = []
    starts: list[int] = []
    for scores in several:
        starts.append(sum(column.shape[1] for column in columns))
        gaps = np.zeros((rows, int(scores.bins.max()) + 1))
        gaps[np.arange(rows), scores.bins] = scores.confidence - scores.right
        columns.append(np.column_stack([scores.brier, scores.nll, gaps]))
    table = np.concatenate(columns, axis=1)
    blocks = [counts @ table / rows for counts in resampled_rows(rows, ROW_RESAMPLES, rng)]
    parts = np.split(np.concatenate(blocks), starts[1:], axis=1)
    return np.stack(
        [np.column_stack([np.abs(part[:, 2:]).sum(axis=1), part[:, :2]]) for part in parts], axis=1
    )


def _simulated_calibrated(scores: RowScores, rng: np.random.Generator) -> np.ndarray:
    """Return the calibration error of simulated labels that follow the confidences, [B]."""
    member = np.zeros((scores.rows, int(scores.bins.max()) + 1))
    member[np.arange(scores.rows), scores.bins] = 1
    block = max(BLOCK // scores.rows, 1)
    errors = []
    for start in range(0, ROW_RESAMPLES, block):
        size = min(block, ROW_RESAMPLES - start)
        right = rng.random((size, scores.rows)) < scores.confidence
        errors.append(np.abs((scores.confidence - right) @ member).sum(axis=1) / scores.rows)
    return np.concatenate(errors)


def _basic_limits(value: float, drawn: np.ndarray) -> tuple[float, float]:
    """Return the limits of the basic bootstrap interval: percentiles of the resamples, mirrored at the value."""
    low, high = percentile_limits(drawn)
    return 2 * value - high, 2 * value - low
