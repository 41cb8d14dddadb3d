"""The types of the analysis: calibration and abstention."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from submillion.run_format.interval import Interval


class ReliabilityBin(TypedDict):
    """One bin of the reliability diagram."""

    rows: int
    low: float
    """Lowest confidence."""
    high: float
    """Highest confidence."""
    confidence: float
    """Mean confidence."""
    accuracy: float
    accuracy_interval: Interval


class CalibrationError(Interval):
    """The expected calibration error with its interval."""

    bins: int
    if_calibrated: dict[str, float]
    """`mean` and `high` (95th percentile) of the error if every confidence were true."""
    p: float
    """Share of simulated calibrated sets whose error is as large."""


class RiskCoverageArea(Interval):
    """The area under the risk-coverage curve."""

    best: float
    """With every right answer before every wrong one."""
    random: float
    """With a random ranking: the share of wrong answers."""


class Curve(TypedDict):
    """An interval at each of several points."""

    value: list[float]
    low: list[float]
    high: list[float]
    confidence_level: float


class RiskCoverage(TypedDict):
    """The risk-coverage curve, ascending in coverage to 1, thinned to about 200 points."""

    coverage: list[float]
    risk: Curve
    """Share of wrong answers among the answered rows; Wilson's interval at each point by itself."""
    threshold: list[float]
    """The confidence from which rows are answered."""


class CalibrationScores(TypedDict):
    """The calibration scores of one set of rows."""

    ece: CalibrationError
    brier: Interval
    nll: Interval
    """Log loss in nats."""


class SplitConfidence(CalibrationScores):
    """How well the confidences of one split match its accuracy."""

    rows: int
    accuracy: Interval
    mean_confidence: float
    reliability: list[ReliabilityBin]
    aurc: RiskCoverageArea
    risk_coverage: RiskCoverage


class FittedTemperature(Interval):
    """The temperature with the least log loss; the limits are None at a bound of the search."""

    rows: int
    at_bound: bool
    """The loss falls up to a bound, so no temperature can be estimated."""


class Temperature(FittedTemperature):
    """The temperature fitted on the validation split."""

    test: dict[str, Any] | None
    """Its effect on the test split: `rows`, `reliability`, and `before`, `after` and `difference` of each score."""


class Answered(TypedDict):
    """The effect of an abstention threshold on one split; accuracy and limits are None if no row is answered."""

    rows: int
    answered: int
    coverage: float
    accuracy: float | None
    accuracy_interval: Interval
    lower_limit: float | None
    """Exact one-sided 95% lower limit of the accuracy."""


class AbstainTarget(TypedDict):
    """A target accuracy and the threshold that reaches it on the validation split; None if none does."""

    target_accuracy: float
    least_rows: int | None
    """Validation rows that must be answered without a mistake before the target can be reached."""
    threshold: float | None
    validation: Answered | None
    test: Answered | None
    chosen_by: NotRequired[str]
    """Of the run's policy: `default` or `user`."""


class Confidence(TypedDict):
    """The part "confidence"."""

    resamples: int
    splits: dict[str, SplitConfidence]
    temperature: Temperature | None
    """None without a validation split."""
    rule: str
    """How thresholds are chosen."""
    targets: list[AbstainTarget]
    policy: AbstainTarget | None
    """Rows whose confidence is below its `threshold` are not to be answered."""
