"""What exchanging words does to the answers: flips and shifts, beside those of the control, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from submillion.assess.audit.counterfactuals import Axis
from submillion.assess.metrics import wilson_interval
from submillion.assess.statistics.bootstrap import ROW_RESAMPLES, percentile_limits, resampled_rows
from submillion.assess.statistics.paired_tests import difference_interval, holm, mcnemar
from submillion.assess.statistics.slices import SMALLEST
from submillion.run_format.interval import ALPHA, Interval, interval

if TYPE_CHECKING:
    import numpy as np

MOST_CLASSES = 3  # shifts of classes that are told, the largest first; with hundreds nobody reads the rest


def measured(
    axis: Axis, originals: np.ndarray, altered: np.ndarray, names: Sequence[str], rng: np.random.Generator
) -> dict[str, Any]:
    """Return what the exchanges along one level of a list did.

    In every comparison a text counts once, so that its texts are independent of each other.

    Args:
        originals: probabilities of the split's rows, [N, C].
        altered: those of the altered texts in the order of `swaps.altered_texts`, [A, C].
        names: of the C classes.

    Returns:
        `axis` (such as `given_names.gender`), `title`, `level`, `carrying` (distinct texts by the group of
        their listed word), `texts`, `altered`, `too_small` (fewer texts than `slices.SMALLEST`), `overall`
        (every text, moved to the first of the groups that were drawn for it), and `groups`: one for each group
        of the level, of the texts of any other group that were moved to it. Each has `group`, `texts`,
        `too_small` and, unless too small, what `compared` returns. `judge` adds to them.
    """
    start = 0
    first: list[tuple[int, int, int]] = []  # (row, place of the control, place of the swap)
    towards: dict[str, list[tuple[int, int, int]]] = {group: [] for group in axis.words.groups(axis.level)}
    for case in axis.cases:
        first.append((case.row, start, start + 1))
        for place, swap in enumerate(case.swaps, start + 1):
            towards[swap.group].append((case.row, start, place))
        start += len(case.altered)

    def of(group: str | None, places: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
        found = {"group": group, "texts": len(places), "too_small": len(places) < SMALLEST}
        if found["too_small"]:
            return found
        rows, controls, swaps = (list(column) for column in zip(*places, strict=True))
        return found | compared(originals[rows], altered[swaps], altered[controls], names, rng)

    return {
        "axis": axis.name,
        "title": f"{axis.words.title}, by {axis.words.levels[axis.level]}",
        "level": axis.words.levels[axis.level],
        "carrying": axis.carrying,
        "texts": len(axis.cases),
        "altered": start,
        "too_small": len(axis.cases) < SMALLEST,
        "overall": of(None, first),
        "groups": [of(group, places) for group, places in towards.items()],
    }


def judge(axes: Sequence[Mapping[str, Any]]) -> None:
    """Add `p_holm` and `beyond_chance` to what `measured` returned of all lists.

    The overall comparisons are corrected together, and so are those of the groups, over all lists.
    """
    for family in (
        [axis["overall"] for axis in axes],
        [group for axis in axes for group in axis["groups"]],
    ):
        judged = [found for found in family if not found["too_small"]]
        for found, corrected in zip(judged, holm([found["p"] for found in judged]), strict=True):
            found |= {"p_holm": corrected, "beyond_chance": corrected < ALPHA}


def compared(
    before: np.ndarray,
    swapped: np.ndarray,
    control: np.ndarray,
    names: Sequence[str],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Compare a swap with its control on the same n texts, each text once.

    Args:
        before: probabilities [n, C] without the exchange; its most probable class is the answer.
        swapped: after the exchange for a word of another group.
        control: after the exchange for another word of the same group.

    Returns:
        `flips` (texts whose answer changed), `flip_rate`, `flip_rate_interval` (Wilson), and the same of the
        control as `control_flips`, `control_rate`, `control_rate_interval`; `only_swap`, `only_control`
        (texts that one alone changed), `difference` of the two rates with `difference_interval`, and `p` (exact
        McNemar);
        `shift` and `control_shift`: intervals of the mean change of the answer's probability, and
        `shift_difference` of the first less the second; `class_shifts`: the same difference of the
        probability of those classes that it moved most, at most 3, as {`class`, `shift_difference`}.
        Intervals of shifts are 95 % percentiles of the bootstrap over texts.
    """
    import numpy as np

    texts = len(before)
    each, answer = np.arange(texts), before.argmax(axis=1)
    changed, changed_by_control = swapped.argmax(axis=1) != answer, control.argmax(axis=1) != answer
    moved, moved_by_control = (after.astype(np.float64) - before for after in (swapped, control))
    net = moved - moved_by_control
    own = np.stack([values[each, answer] for values in (moved, moved_by_control, net)], axis=1)
    shift, control_shift, difference, *of_class = _means(np.concatenate([own, net], axis=1), rng)
    # Rounded, for of two classes one moves as far as the other but for rounding.
    largest = sorted(
        range(len(names)), key=lambda index: (-round(abs(of_class[index]["value"] or 0.0), 9), index)
    )
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
        "difference_interval": difference_interval(only_swap, only_control, texts),
        "p": mcnemar(only_swap, only_control),
        "shift": shift,
        "control_shift": control_shift,
        "shift_difference": difference,
        "class_shifts": [
            {"class": names[index], "shift_difference": of_class[index]} for index in largest[:MOST_CLASSES]
        ],
    }


def _means(values: np.ndarray, rng: np.random.Generator) -> list[Interval]:
    """Return mean and interval of each column of values [n, K]."""
    import numpy as np

    drawn = np.concatenate(
        [counts @ values / len(values) for counts in resampled_rows(len(values), ROW_RESAMPLES, rng)]
    )
    return [
        interval(float(column.mean()), *percentile_limits(resampled))
        for column, resampled in zip(values.T, drawn.T, strict=True)
    ]
