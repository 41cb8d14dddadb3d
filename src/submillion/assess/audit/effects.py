"""The effect of word swaps on the answers, compared with the effect of the control swaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from submillion.assess.audit.counterfactuals import Axis
from submillion.assess.statistics.bootstrap import ROW_RESAMPLES, percentile_limits, resampled_rows
from submillion.assess.statistics.multiple_tests import add_holm
from submillion.assess.statistics.paired_tests import mcnemar
from submillion.assess.statistics.proportions import paired_interval, wilson_interval
from submillion.assess.statistics.slices import SMALLEST
from submillion.run_format.analysis_audit import SwapAxis, SwapEffect, SwapGroup
from submillion.run_format.interval import ALPHA, Interval, interval

MAX_CLASSES = 3
"""Classes whose shift is reported, the largest first; hundreds would not be read."""


def axis_effect(
    axis: Axis, originals: np.ndarray, altered: np.ndarray, names: Sequence[str], rng: np.random.Generator
) -> SwapAxis:
    """Return the effect of the swaps along one level of a list; `add_significance` adds to it.

    In every comparison a text counts once, so that its texts are independent of each other. `overall` and each of the
    `groups` has the keys of `SwapEffect` unless it is too small (fewer texts than `slices.SMALLEST`).

    Args:
        axis: the swaps.
        originals: probabilities of the split's rows, [N, C].
        altered: those of the altered texts in the order of `counterfactuals.altered_texts`, [A, C].
        names: the C class names.
        rng: source of the bootstrap's draws.
    """
    start = 0
    first: list[tuple[int, int, int]] = []  # (row, place of the control, place of the swap)
    towards: dict[str, list[tuple[int, int, int]]] = {group: [] for group in axis.words.groups(axis.level)}
    for case in axis.cases:
        first.append((case.row, start, start + 1))
        for place, swap in enumerate(case.swaps, start + 1):
            towards[swap.group].append((case.row, start, place))
        start += len(case.altered)

    def effect(group: str | None, places: Sequence[tuple[int, int, int]]) -> SwapGroup:
        too_small = len(places) < SMALLEST
        entry: SwapGroup = {"group": group, "texts": len(places), "too_small": too_small}
        if too_small:
            return entry
        rows, controls, swaps = (list(column) for column in zip(*places, strict=True))
        return {**entry, **swap_effect(originals[rows], altered[swaps], altered[controls], names, rng)}

    return {
        "axis": axis.name,
        "title": f"{axis.words.title}, by {axis.words.levels[axis.level]}",
        "level": axis.words.levels[axis.level],
        "carrying": axis.carrying,
        "texts": len(axis.cases),
        "altered": start,
        "too_small": len(axis.cases) < SMALLEST,
        "overall": effect(None, first),
        "groups": [effect(group, places) for group, places in towards.items()],
    }


def add_significance(axes: Sequence[SwapAxis]) -> None:
    """Add `p_holm` and `beyond_chance` to the effects of all lists.

    The overall comparisons are corrected together, and so are those of the groups, over all lists.
    """
    overall = [axis["overall"] for axis in axes]
    groups = [group for axis in axes for group in axis["groups"]]
    for family in (overall, groups):
        judged = [effect for effect in family if not effect["too_small"]]
        add_holm(judged)
        for effect in judged:
            effect["beyond_chance"] = effect["p_holm"] < ALPHA


def swap_effect(
    before: np.ndarray,
    swapped: np.ndarray,
    control: np.ndarray,
    names: Sequence[str],
    rng: np.random.Generator,
) -> SwapEffect:
    """Compare swaps with their controls on the same n texts, each text once.

    Intervals of rates are Wilson's, those of shifts are percentiles of the bootstrap over texts.

    Args:
        before: probabilities of the original texts [n, C]; the most probable class is the answer.
        swapped: after a swap for a word of another group.
        control: after a swap for another word of the same group.
        names: the C class names.
        rng: source of the bootstrap's draws.
    """
    texts = len(before)
    each, answer = np.arange(texts), before.argmax(axis=1)
    changed, changed_by_control = swapped.argmax(axis=1) != answer, control.argmax(axis=1) != answer
    moved, moved_by_control = (after.astype(np.float64) - before for after in (swapped, control))
    net = moved - moved_by_control
    own = np.stack([values[each, answer] for values in (moved, moved_by_control, net)], axis=1)
    shift, control_shift, difference, *of_class = _means(np.concatenate([own, net], axis=1), rng)
    # Rounded, because of two classes one moves as far as the other up to rounding.
    sizes = [round(abs(shift_of["value"] or 0.0), 9) for shift_of in of_class]
    largest = sorted(range(len(names)), key=lambda index: (-sizes[index], index))
    flips, control_flips = int(changed.sum()), int(changed_by_control.sum())
    only_swap = int((changed & ~changed_by_control).sum())
    only_control = int((changed_by_control & ~changed).sum())
    return {
        "flips": flips,
        "flip_rate": flips / texts,
        "flip_rate_interval": wilson_interval(flips, texts),
        "control_flips": control_flips,
        "control_rate": control_flips / texts,
        "control_rate_interval": wilson_interval(control_flips, texts),
        "only_swap": only_swap,
        "only_control": only_control,
        "difference": (only_swap - only_control) / texts,
        "difference_interval": paired_interval(only_swap, only_control, texts),
        "p": mcnemar(only_swap, only_control),
        "shift": shift,
        "control_shift": control_shift,
        "shift_difference": difference,
        "class_shifts": [
            {"class": names[index], "shift_difference": of_class[index]} for index in largest[:MAX_CLASSES]
        ],
    }


def _means(values: np.ndarray, rng: np.random.Generator) -> list[Interval]:
    """Return mean and interval of each column of values [n, K]."""
    drawn = np.concatenate(
        [counts @ values / len(values) for counts in resampled_rows(len(values), ROW_RESAMPLES, rng)]
    )
    return [
        interval(float(column.mean()), *percentile_limits(resampled))
        for column, resampled in zip(values.T, drawn.T, strict=True)
    ]
