"""Tests of run_format/reported.py: every summary states the interval of the folds for a cross-validation."""

from __future__ import annotations

from submillion.run_format.interval import interval
from submillion.run_format.reported import reported_scores

OF_ROWS = {"accuracy": 0.95, "accuracy_interval": interval(0.95, 0.83, 0.99), "macro_f1": 0.94}
FOLDS = {"accuracy": interval(0.93, 0.74, 1.0), "macro_f1": interval(0.92, 0.7, 1.0)}


def test_a_cross_validation_has_mean_and_interval_of_its_folds() -> None:
    stated = reported_scores("validation", OF_ROWS, FOLDS)
    assert (stated.title, stated.accuracy, stated.macro_f1) == ("cross-validation", 0.93, 0.92)
    assert (stated.accuracy_interval["low"], stated.accuracy_interval["high"]) == (0.74, 1.0)


def test_other_splits_have_those_of_their_rows() -> None:
    for split, folds in (("test", FOLDS), ("validation", None)):
        stated = reported_scores(split, OF_ROWS, folds)
        assert (stated.title, stated.accuracy, stated.accuracy_interval["low"]) == (split, 0.95, 0.83)
