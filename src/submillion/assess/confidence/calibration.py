"""Whether probabilities mean what they say: reliability diagram, calibration error, Brier score, log loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from submillion.assess.metrics import LEAST_PROBABILITY, wilson_interval
from submillion.assess.statistics.bootstrap import (
    BLOCK,
    ROW_RESAMPLES,
    percentile_limits,
    resampled_rows,
)
from submillion.run_format.interval import ALPHA, interval

if TYPE_CHECKING:
    import numpy as np

BINS = 15  # as Guo et al. 2017
LEAST_ROWS = 20  # in a bin: fewer say nothing about its accuracy
SCORES = ("ece", "brier", "nll")


@dataclass(frozen=True)
class Rated:
    """What each row's probabilities were worth, float64 [N]; `bins` is the row's bin, int [N]."""

    confidence: np.ndarray
    right: np.ndarray
    brier: np.ndarray
    nll: np.ndarray
    bins: np.ndarray

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.right)


def rate(probabilities: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> Rated:
    """Rate each row's probabilities.

    Brier score: G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather
    Review 78 (1950) 1-3, equation 2: the squared distance to the label's unit vector, from 0 to 2. Log loss as
    in `metrics_of`: in nats, of at least the least normal float32.

    Args:
        probabilities: [N, C], N at least 1.
        labels: class index per row, int [N].
        predicted: class answered per row, int [N]; confidence is its probability.
    """
    import numpy as np

    exact = probabilities.astype(np.float64)
    place = np.arange(len(labels))
    of_label, confidence = exact[place, labels], exact[place, predicted]
    return Rated(
        confidence=confidence,
        right=(labels == predicted).astype(np.float64),
        brier=(exact**2).sum(axis=1) - 2 * of_label + 1,
        nll=-np.log(np.maximum(of_label, LEAST_PROBABILITY)),
        bins=equal_mass_bins(confidence),
    )


def equal_mass_bins(confidence: np.ndarray, most: int = BINS, least_rows: int = LEAST_ROWS) -> np.ndarray:
    """Return each row's bin, int [N] from 0: bins of as many rows each, ascending in confidence.

    Equal confidences stay together, so that the order of the rows does not matter; bins then differ in
    size, and there may be fewer of them. Bins of equal mass: Nguyen and O'Connor 2015, arXiv:1508.05154; they
    estimate the calibration error with less bias than bins of equal width (Roelofs et al. 2022,
    arXiv:2012.08668).

    Args:
        most: bins at most.
        least_rows: rows per bin at least, where there are no equal confidences.
    """
    import numpy as np

    rows = len(confidence)
    wanted = min(most, max(rows // least_rows, 1))
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = np.cumsum(sizes) - sizes / 2  # a group of equals goes where its middle lies
    of_group = np.minimum((middle * wanted / rows).astype(int), wanted - 1)
    _, dense = np.unique(of_group, return_inverse=True)
    return dense[group]


def diagram(rated: Rated) -> list[dict[str, Any]]:
    """Return the reliability diagram, one entry per bin, ascending in confidence.

    Returns:
        `rows`, `low` and `high` (least and greatest confidence), `confidence` (mean), `accuracy`, and
        `accuracy_interval` (Wilson's). Guo et al. 2017, arXiv:1706.04599, figure 1.
    """
    entries = []
    for index in range(int(rated.bins.max()) + 1):
        inside = rated.bins == index
        confidence, right = rated.confidence[inside], int(rated.right[inside].sum())
        entries.append(
            {
                "rows": len(confidence),
                "low": float(confidence.min()),
                "high": float(confidence.max()),
                "confidence": float(confidence.mean()),
                "accuracy": right / len(confidence),
                "accuracy_interval": wilson_interval(right, len(confidence)),
            }
        )
    return entries


def scores(rated: Rated, rng: np.random.Generator) -> dict[str, Any]:
    """Return calibration error, Brier score and log loss with their intervals.

    The expected calibration error is the mean over rows of |accuracy - mean confidence| of their bin
    (Naeini et al. 2015, AAAI, "Obtaining well calibrated probabilities using Bayesian binning"; Guo et al. 2017,
    section 2). Chance alone makes it greater than 0: Kumar et al. 2019, arXiv:1909.10155. So it
    comes with what it would be if each row were right with the probability that it claims, from as many
    simulated sets of labels (Vaicenavicius et al. 2019, arXiv:1902.06977).

    Its interval is the basic one of the bootstrap over rows, whose limits are mirrored at the value and so
    take that bias off (Davison and Hinkley, Bootstrap Methods and their Application, 1997, 5.2); where the
    simulated sets do not rule perfect calibration out, it begins at 0. Plain percentiles would begin above
    the truth whenever that is small. Those of Brier score and log loss are percentiles of the same resamples.

    Returns:
        `ece`: an interval with `bins`, `if_calibrated`: {`mean`, `high` (95th percentile)}, `p`: the
        share of simulated sets whose error is as great; `brier` and `nll`: intervals.
    """
    values, drawn = _values(rated), _drawn([rated], rng)[:, 0]
    simulated = _if_calibrated(rated, rng)
    p = float((1 + (simulated >= values[0]).sum()) / (1 + len(simulated)))
    low, high = _basic(values[0], drawn[:, 0])
    ece = interval(values[0], 0.0 if p > ALPHA else max(low, 0.0), max(high, 0.0)) | {
        "bins": int(rated.bins.max()) + 1,
        "if_calibrated": {"mean": float(simulated.mean()), "high": percentile_limits(simulated, 0.9)[1]},
        "p": p,
    }
    others = {
        name: interval(values[place], *percentile_limits(drawn[:, place]))
        for place, name in enumerate(SCORES)
        if name != "ece"
    }
    return {"ece": ece} | others


def change(before: Rated, after: Rated, rng: np.random.Generator) -> dict[str, Any]:
    """Return what a change of the probabilities of the same rows did: each score after minus before.

    Returns:
        `ece`, `brier` and `nll`: intervals, from resamples that both share.
    """
    drawn = _drawn([before, after], rng)
    found = {}
    for place, name in enumerate(SCORES):
        value = _values(after)[place] - _values(before)[place]
        differences = drawn[:, 1, place] - drawn[:, 0, place]
        limits = _basic(value, differences) if name == "ece" else percentile_limits(differences)
        found[name] = interval(value, *limits)
    return found


def _values(rated: Rated) -> list[float]:
    """Return the scores in the order of SCORES."""
    import numpy as np

    gaps = np.bincount(rated.bins, weights=rated.confidence - rated.right)
    return [float(np.abs(gaps).sum()) / rated.rows, float(rated.brier.mean()), float(rated.nll.mean())]


def _drawn(several: list[Rated], rng: np.random.Generator) -> np.ndarray:
    """Return the scores of resamples of rows, [B, several, scores]; a row keeps the bin that it has."""
    import numpy as np

    rows = several[0].rows
    columns: list[np.ndarray] = []
    begins: list[int] = []
    for rated in several:
        begins.append(sum(column.shape[1] for column in columns))
        gaps = np.zeros((rows, int(rated.bins.max()) + 1))
        gaps[np.arange(rows), rated.bins] = rated.confidence - rated.right
        columns.append(np.column_stack([rated.brier, rated.nll, gaps]))
    table = np.concatenate(columns, axis=1)
    blocks = [counts @ table / rows for counts in resampled_rows(rows, ROW_RESAMPLES, rng)]
    parts = np.split(np.concatenate(blocks), begins[1:], axis=1)
    return np.stack(
        [np.column_stack([np.abs(part[:, 2:]).sum(axis=1), part[:, :2]]) for part in parts], axis=1
    )


def _if_calibrated(rated: Rated, rng: np.random.Generator) -> np.ndarray:
    """Return the calibration error of simulated sets of labels that obey the confidences, [B]."""
    import numpy as np

    member = np.zeros((rated.rows, int(rated.bins.max()) + 1))
    member[np.arange(rated.rows), rated.bins] = 1
    block = max(BLOCK // rated.rows, 1)
    found = []
    for begin in range(0, ROW_RESAMPLES, block):
        size = min(block, ROW_RESAMPLES - begin)
        right = rng.random((size, rated.rows)) < rated.confidence
        found.append(np.abs((rated.confidence - right) @ member).sum(axis=1) / rated.rows)
    return np.concatenate(found)


def _basic(value: float, drawn: np.ndarray) -> tuple[float, float]:
    """Return the limits of the basic bootstrap interval: the percentiles of what was drawn, mirrored at the value."""
    low, high = percentile_limits(drawn)
    return 2 * value - high, 2 * value - low
