"""Tests of successive halving: by hand, against the pruner of optuna, and repeated decisions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

optuna = pytest.importorskip("optuna", reason="optuna is not installed")

from submillion.errors import BadInput  # noqa: E402
from submillion.study.asha import AshaPruner  # noqa: E402
from submillion.study.design import read_study  # noqa: E402
from support.study_worker import begun, search_file, searched  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.WARNING)


def lengths(pruner: object, scores: list[list[float]], often: int = 1) -> list[int]:
    """Return at which evaluation each trial ended, asked `often` times at each."""
    study = optuna.create_study(direction="maximize", pruner=pruner)
    ended = []
    for values in scores:
        trial = study.ask()
        for evaluation, value in enumerate(values, 1):
            trial.report(value, evaluation)
            answers = {trial.should_prune() for _ in range(often)}
            assert len(answers) == 1
            if answers.pop():
                break
        study.tell(trial, value)
        ended.append(evaluation)
    return ended


def test_by_hand() -> None:
    # One place among the first five at evaluation 1, two among the sixth's six; evaluation 2 is no rung.
    first = [0.5, 0.4, 0.6, 0.6, 0.1, 0.55]
    assert lengths(AshaPruner(), [[score, 0.0, score, score] for score in first]) == [4, 1, 4, 4, 1, 1]
    assert lengths(AshaPruner(), [[0.5] * 3, [0.6, 0.9, 0.4]]) == [3, 3]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6).map(float), min_size=1, max_size=10), min_size=1, max_size=12))
def test_decisions_equal_those_of_optunas_pruner(scores: list[list[float]]) -> None:
    theirs = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    assert lengths(AshaPruner(), scores, often=3) == lengths(theirs, scores)


def test_a_search_stops_trials_early(tmp_path: Path) -> None:
    outcome = searched(tmp_path, trials=9, pruner="asha")
    search = outcome.findings["search"]
    assert search["pruned"] > 0 and search["complete"] > 0
    best = 0.0
    for number, trial in enumerate(
        search["trials"]
    ):  # fewer than six have one place: the best so far continues
        if number < 5:
            score = trial["evaluations"][0]
            assert (trial["state"] == "complete") == (score >= best)
            best = max(best, score)
    again = searched(tmp_path, trials=9, pruner="asha")
    assert again.findings["search"] == search and len(begun(tmp_path / "out")) == len(
        set(begun(tmp_path / "out"))
    )


def test_another_pruner_is_another_search(tmp_path: Path) -> None:
    searched(tmp_path, trials=2, pruner="median")
    searched(tmp_path, trials=2)  # what is so by default
    with pytest.raises(BadInput, match="those of another search"):
        searched(tmp_path, trials=2, pruner="asha")


def test_only_a_search_has_a_pruner(tmp_path: Path) -> None:
    file = search_file(tmp_path, search=None, trials=None, axes={"lora.r": [2, 4]}, pruner="asha")
    with pytest.raises(BadInput, match="pruner only together with search"):
        read_study(file)
