"""The types of the analysis: calibration and abstention."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Count, Number, Share


class ReliabilityBin(TypedDict):
    """One bin of the reliability diagram."""

    rows: Count
    low: Share
    """Lowest confidence."""
    high: Share
    """Highest confidence."""
    confidence: Number
    """Mean confidence."""
    accuracy: Share
    accuracy_interval: Interval


class CalibrationError(Interval):
    """The expected calibration error with its interval."""

    bins: Count
    if_calibrated: dict[str, Number]
    """`mean` and `high` (95th percentile) of the error if every confidence were true."""
    p: Share
    """Share of simulated calibrated sets whose error is as large."""


class RiskCoverageArea(Interval):
    """The area under the risk-coverage curve."""

    best: Number
    """With every right answer before every wrong one."""
    random: Number
    """With a random ranking: the share of wrong answers."""


class Curve(TypedDict):
    """An interval at each of several points."""

    value: list[Number]
    low: list[Number]
    high: list[Number]
    confidence_level: Share


class RiskCoverage(TypedDict):
    """The risk-coverage curve, ascending in coverage to 1, thinned to about 200 points."""

    coverage: list[Number]
    risk: Curve
    """Share of wrong answers among the answered rows; Wilson's interval at each point by itself."""
    threshold: list[Number]
    """The confidence from which rows are answered."""


class CalibrationScores(TypedDict):
    """The calibration scores of one set of rows."""

    ece: CalibrationError
    brier: Interval
    nll: Interval
    """Log loss in nats."""


class SplitConfidence(CalibrationScores):
    """How well the confidences of one split match its accuracy."""

    rows: Count
    accuracy: Interval
    mean_confidence: Share
    reliability: list[ReliabilityBin]
    aurc: RiskCoverageArea
    risk_coverage: RiskCoverage


class FittedTemperature(Interval):
    """The temperature with the least log loss; the limits are None at a bound of the search."""

    rows: Count
    at_bound: bool
    """The loss falls up to a bound, so no temperature can be estimated."""


class EceChange(TypedDict):
    """The calibration error before and after the temperature."""

    before: CalibrationError
    after: CalibrationError
    difference: Interval


class ScoreChange(TypedDict):
    """A score before and after the temperature."""

    before: Interval
    after: Interval
    difference: Interval


class TemperatureEffect(TypedDict):
    """The effect of the temperature on the test split."""

    rows: Count
    reliability: list[ReliabilityBin]
    ece: EceChange
    brier: ScoreChange
    nll: ScoreChange


class Temperature(FittedTemperature):
    """The temperature fitted on the validation split."""

    test: TemperatureEffect | None


class Answered(TypedDict):
    """The effect of an abstention threshold on one split; accuracy and limits are None if no row is answered."""

    rows: Count
    answered: Count
    coverage: Share
    accuracy: Share | None
    accuracy_interval: Interval
    lower_limit: Share | None
    """Exact one-sided 95% lower limit of the accuracy."""


class AbstainTarget(TypedDict):
    """A target accuracy and the threshold that reaches it on the validation split; None if none does."""

    target_accuracy: Share
    least_rows: Count | None
    """Validation rows that must be answered without a mistake before the target can be reached."""
    threshold: Number | None
    validation: Answered | None
    test: Answered | None
    chosen_by: NotRequired[str]
    """Of the run's policy: `default` or `user`."""


class Confidence(TypedDict):
    """The part "confidence"."""

    resamples: Count
    splits: dict[str, SplitConfidence]
    temperature: Temperature | None
    """None without a validation split."""
    rule: str
    """How thresholds are chosen."""
    targets: list[AbstainTarget]
    policy: AbstainTarget | None
    """Rows whose confidence is below its `threshold` are not to be answered."""
