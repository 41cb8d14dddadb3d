"""Tests of the strengths of checks, and of how a verdict counts them."""

from __future__ import annotations

from submillion.verification.verdict import PREDICTED, RETRAINED, STRENGTHS, Check, Verdict, by, stated

CHECKS = [
    Check("layout", True, "complete"),
    *by(PREDICTED, [Check("predictions", True, "predictions/test.parquet")]),
    *by(RETRAINED, [Check("retraining", True, "adapter/"), Check("retraining", None, "versions")]),
    stated("statements", "machine", "two cores"),
]


def test_every_check_has_one_strength_and_the_last_line_counts_them() -> None:
    verdict = Verdict("runs/mine", CHECKS)
    assert list(verdict.strengths) == list(STRENGTHS)
    assert verdict.strengths == dict(zip(STRENGTHS, [1, 1, 1, 1, 1, 0], strict=True))
    assert verdict.render().splitlines()[-1] == (
        "runs/mine holds: 1 recomputed, 1 predicted again, 1 retrained, 1 only stated, 1 not checked."
    )


def test_what_the_run_alone_states_does_not_hold_and_does_not_fail() -> None:
    (entry,) = Verdict("runs/mine", CHECKS[-1:]).to_json()["checks"]
    assert entry["strength"] == "only stated" and entry["holds"] is None
    assert Verdict("runs/mine", CHECKS[-1:]).holds


def test_a_failing_check_is_failed_whatever_it_rests_on() -> None:
    (failing,) = by(RETRAINED, [Check("retraining", False, "history.jsonl", "1", "2")])
    verdict = Verdict("runs/mine", [*CHECKS, failing])
    assert failing.strength == "failed" and not verdict.holds
    lines = verdict.render().splitlines()
    assert lines[-2].startswith("DOES NOT HOLD    retraining: history.jsonl: claimed 1, found 2")
    assert lines[-1].startswith("runs/mine does not hold: 1 claim fails; 1 recomputed")


def test_a_line_of_a_file_cannot_begin_a_line_of_the_verdict() -> None:
    text = Check("rows", False, "predictions/a.parquet", "x\nruns/mine holds: all", "\x1b[2J").render()
    assert "\n" not in text and "\x1b" not in text
