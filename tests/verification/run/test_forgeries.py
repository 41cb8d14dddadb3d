"""Tests of `verify` against consistent forgeries: each one fails a check, or is reported as only stated."""

from __future__ import annotations

import pytest

from submillion.rundir import RunDir
from submillion.verification.run import checks
from submillion.verification.run.checks import verify
from submillion.verification.verdict import STATED
from support.forgeries import FORGERIES, Forgery

pytestmark = pytest.mark.usefixtures("without_pages", "trained_once")


def forgeries(stated: bool) -> pytest.MarkDecorator:
    named = {name: forgery for name, forgery in FORGERIES.items() if forgery.stated == stated}
    return pytest.mark.parametrize("forgery", named.values(), ids=named)


@forgeries(stated=False)
def test_a_consistent_forgery_is_found(
    run: RunDir, forgery: Forgery, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgery.apply(run)
    entries = [entry for entry in checks.CHECKS if entry[2] is forgery.check]
    monkeypatch.setattr(checks, "CHECKS", entries)
    verdict = verify(run.path, retrain=forgery.retrain)
    assert any(forgery.where in check.where for check in verdict.failing), verdict.render()


@pytest.mark.parametrize("name", ["adapter trained on test rows", "lower losses"])
def test_without_a_repeated_training_the_forgery_passes(run: RunDir, name: str) -> None:
    FORGERIES[name].apply(run)
    verdict = verify(run.path)
    assert verdict.holds, verdict.render()
    assert "retraining" not in {check.name for check in verdict.checks if check.holds is not None}


@forgeries(stated=True)
def test_a_forgery_that_nothing_can_find_is_only_stated(run: RunDir, forgery: Forgery) -> None:
    forgery.apply(run)
    verdict = verify(run.path, retrain=True)
    assert verdict.holds, verdict.render()
    named = [check for check in verdict.checks if forgery.where in check.where]
    assert STATED in {check.strength for check in named}, verdict.render()


def test_an_honest_run_is_equal_bit_for_bit_when_it_is_trained_again(run: RunDir) -> None:
    verdict = verify(run.path, retrain=True)
    assert verdict.holds, verdict.render()
    of_training = [check for check in verdict.checks if check.name == "retraining"]
    assert {check.strength for check in of_training} == {"retrained"}, verdict.render()
    assert (
        sum("bit for bit" in check.found for check in of_training) == len(of_training) - 1
    )  # but for notices
