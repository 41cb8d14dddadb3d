"""Tests that `verify` detects tampering, and that each of its checks is needed: some tampering only it detects."""

from __future__ import annotations

import pytest

from submillion.rundir import RunDir
from submillion.verification.run import checks, int8, predictions, records, report_pages, retrained
from submillion.verification.run.checks import verify
from submillion.verification.verdict import Verdict
from support.tampering import TAMPERINGS, Tampering

each_tampering = pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS)


def verify_quickly(run: RunDir, tampering: Tampering) -> Verdict:
    """Verify with all checks; rows are predicted again, or the training repeated, for the check that needs it alone."""
    full, retrain = tampering.check is predictions.predictions, tampering.check is retrained.retraining
    return verify(run.path, rows=0, full=full, retrain=retrain)


def test_every_check_has_a_tampering_that_it_alone_detects() -> None:
    """The proof of int8 is not in every run; `test_int8` has its forgeries."""
    needed = {tampering.check for tampering in TAMPERINGS.values() if tampering.alone}
    assert needed == {check for _, _, check in checks.CHECKS} - {records.statements, int8.int8, int8.prefix}


@pytest.mark.usefixtures("trained_once")
@each_tampering
def test_tampering_is_detected_by_its_check(
    run: RunDir, tampering: Tampering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forger can always write the report again, so `pages` is left out unless it is the check in question."""
    tampering.apply(run)
    entries = [
        entry
        for entry in checks.CHECKS
        if entry[2] is not report_pages.pages or tampering.check is report_pages.pages
    ]
    (name,) = [name for name, _, check in entries if check is tampering.check]
    monkeypatch.setattr(checks, "CHECKS", [entry for entry in entries if entry[2] is tampering.check])
    verdict = verify_quickly(run, tampering)
    assert {check.name for check in verdict.failing} == {name}, verdict.render()
    assert any(tampering.where in f"{check.where}" for check in verdict.failing), verdict.render()

    monkeypatch.setattr(checks, "CHECKS", [entry for entry in entries if entry[2] is not tampering.check])
    verdict = verify_quickly(run, tampering)
    assert verdict.holds == tampering.alone, verdict.render()
