"""Effects of swaps: by hand, with a planted bias, and for a classifier that ignores names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from submillion.assess.audit.counterfactuals import Axis, Case, Swap
from submillion.assess.audit.effects import add_significance, axis_effect, swap_effect
from submillion.assess.audit.wordlists import ListedWord, WordList
from submillion.assess.statistics.proportions import wilson
from submillion.run_format.interval import interval
from support.intervals import limits

CLASSES = ["a", "b", "c"]
LIST = WordList(
    "names", "names", "made", ("gender",), ("word",), frozenset(),
    tuple(ListedWord((group,), ((f"{group}{index}",),)) for group in ("women", "men") for index in range(2)),
)  # fmt: skip


def rows(*answers: int) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[list(answers)] * 0.7 + 0.1


def an_axis(texts: int) -> Axis:
    groups = ["women", "men"]
    cases = tuple(
        Case(
            row,
            groups[row % 2],
            f"{groups[row % 2]}0",
            Swap(groups[row % 2], f"{groups[row % 2]}1", ""),
            (Swap(groups[1 - row % 2], f"{groups[1 - row % 2]}0", ""),),
        )
        for row in range(texts)
    )
    return Axis(LIST, 0, {"women": (texts + 1) // 2, "men": texts // 2}, cases)


def found_of(answer_of: Any, texts: int = 80) -> dict[str, Any]:
    """Measure a classifier that sees (row, group of the name)."""
    axis = an_axis(texts)
    before = rows(*(answer_of(case.row, case.group) for case in axis.cases))
    altered = rows(*(answer_of(case.row, swap.group) for case in axis.cases for swap in case.altered))
    found = axis_effect(axis, before, altered, CLASSES, np.random.default_rng(0))
    add_significance([found])
    return found


def test_a_classifier_that_answers_by_the_name_is_detected() -> None:
    found = found_of(lambda row, group: int(group == "women"))
    for part in (found["overall"], *found["groups"]):
        assert (part["flip_rate"], part["control_rate"], part["difference"]) == (1.0, 0.0, 1.0)
        assert part["beyond_chance"]
        assert part["shift"]["value"] == pytest.approx(-0.7)
        assert part["control_shift"] == interval(0.0, 0.0, 0.0)
        assert part["shift_difference"]["high"] == pytest.approx(-0.7)
    to_women, to_men = found["groups"]
    assert (to_women["group"], to_women["texts"]) == ("women", 40)
    moved = {shift["class"]: shift["shift_difference"]["value"] for shift in to_women["class_shifts"]}
    assert moved == pytest.approx({"a": -0.7, "b": 0.7, "c": 0.0})
    assert {shift["class"]: shift["shift_difference"]["value"] for shift in to_men["class_shifts"]}[
        "a"
    ] == pytest.approx(0.7)


def test_a_classifier_that_ignores_names_is_cleared() -> None:
    found = found_of(lambda row, group: row % 3)
    for part in (found["overall"], *found["groups"]):
        assert (part["flips"], part["control_flips"], part["p"]) == (0, 0, 1.0)
        assert not part["beyond_chance"]
        assert part["flip_rate_interval"]["low"] == 0.0 < part["flip_rate_interval"]["high"]
        assert part["shift"]["value"] == 0.0


def test_a_classifier_that_changes_with_any_swap_is_cleared_for_groups() -> None:
    axis, rng = an_axis(80), np.random.default_rng(5)
    before = rows(*[0] * 80)
    altered = rows(*rng.integers(2, size=160).tolist())  # half of all alterations flip, whatever the group
    found = axis_effect(axis, before, altered, CLASSES, rng)
    add_significance([found])
    assert 0.3 < found["overall"]["flip_rate"] < 0.7 and 0.3 < found["overall"]["control_rate"] < 0.7
    assert not any(part["beyond_chance"] for part in (found["overall"], *found["groups"]))


def test_counts_rates_and_intervals_by_hand() -> None:
    # Ten texts: the swap changes 0 to 3, the control 3 and 4.
    before = rows(*[0] * 10)
    swapped = rows(1, 1, 1, 2, 0, 0, 0, 0, 0, 0)
    control = rows(0, 0, 0, 1, 1, 0, 0, 0, 0, 0)
    found = swap_effect(before, swapped, control, CLASSES, np.random.default_rng(0))
    assert (found["flips"], found["control_flips"], found["only_swap"], found["only_control"]) == (4, 2, 3, 1)
    assert (found["flip_rate"], found["control_rate"], found["difference"]) == pytest.approx((0.4, 0.2, 0.2))
    assert limits(found["flip_rate_interval"]) == pytest.approx(wilson(4, 10))
    assert limits(found["control_rate_interval"]) == pytest.approx((0.0567, 0.5098), abs=1e-4)
    assert found["p"] == pytest.approx(binomtest(3, 4).pvalue) == pytest.approx(0.625)
    low, high = limits(found["difference_interval"])
    assert low < 0.2 < high
    assert found["shift"]["value"] == pytest.approx(-0.28)
    assert found["control_shift"]["value"] == pytest.approx(-0.14)
    assert found["shift_difference"]["value"] == pytest.approx(-0.14)
    assert found["shift"]["low"] < -0.28 < found["shift"]["high"]
    # Class b: three up by the swap, two by the control; class c: one by the swap.
    assert {one["class"]: one["shift_difference"]["value"] for one in found["class_shifts"]} == pytest.approx(
        {"a": -0.14, "b": 0.07, "c": 0.07}
    )


def test_intervals_of_shifts_are_those_of_the_mean() -> None:
    rng = np.random.default_rng(1)
    before = rows(*[0] * 400)
    moved = rng.normal(-0.05, 0.1, 400)
    swapped = before + np.stack([moved, -moved, np.zeros(400)], axis=1)
    shift = swap_effect(before, swapped, before, CLASSES, rng)["shift"]
    error = moved.std(ddof=1) / 20
    assert shift["low"] == pytest.approx(moved.mean() - 1.96 * error, abs=0.25 * error)
    assert shift["high"] == pytest.approx(moved.mean() + 1.96 * error, abs=0.25 * error)


def test_few_texts_are_not_judged() -> None:
    found = found_of(lambda row, group: int(group == "women"), texts=40)
    assert not found["too_small"] and found["overall"]["beyond_chance"]
    assert [set(group) for group in found["groups"]] == [{"group", "texts", "too_small"}] * 2
    few = found_of(lambda row, group: int(group == "women"), texts=29)
    assert few["too_small"] and few["overall"] == {"group": None, "texts": 29, "too_small": True}
    none = found_of(lambda row, group: 0, texts=0)
    assert (none["texts"], none["altered"], none["too_small"]) == (0, 0, True)


def test_comparisons_of_a_family_are_corrected_together() -> None:
    def part(p: float) -> dict[str, Any]:
        return {"too_small": False, "p": p}

    axes = [
        {"overall": part(0.03), "groups": [part(0.01), {"too_small": True}]},
        {"overall": part(0.02), "groups": [part(0.02), part(0.5)]},
    ]
    add_significance(axes)
    assert [axis["overall"]["p_holm"] for axis in axes] == pytest.approx([0.04, 0.04])
    assert axes[0]["groups"][0]["p_holm"] == pytest.approx(0.03)
    assert [group["p_holm"] for group in axes[1]["groups"]] == pytest.approx([0.04, 0.5])
    assert [group["beyond_chance"] for group in axes[1]["groups"]] == [True, False]
    assert axes[0]["groups"][1] == {"too_small": True}
