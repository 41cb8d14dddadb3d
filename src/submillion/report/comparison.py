"""The figure of a comparison: each run's accuracy, and the difference of every two, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.report.intervals import PITCH, draw_intervals
from submillion.report.theme import (
    BLUE,
    INK,
    MUTED,
    VERMILION,
    house_style,
    label_width,
    new_figure,
    save,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(found: Mapping[str, Any], out: Path) -> list[Path]:
    """Draw a comparison as svg and png.

    Args:
        found: what `Comparison.to_json` gives.
        out: the files' place and name; an ending .svg or .png is left off.

    Returns:
        The two files written.
    """
    name = out.stem if out.suffix in (".svg", ".png") else out.name
    heading = (
        f"Accuracy of {len(found['runs'])} runs and the differences between them\n"
        f"{found['split']}, the same {found['rows']:,} rows for all; 95 % intervals"
    )
    with house_style():
        return save(comparison(found, heading), out.parent, name, heading.replace("\n", ", "))


def comparison(found: Mapping[str, Any], title: str) -> Figure:
    """Draw the runs' accuracies above, with the mean over seeds, and the differences of every two below.

    A difference is shown where the exact McNemar test, corrected for the number of pairs, says so.

    Args:
        found: what `Comparison.to_json` gives.
    """
    runs, pairs, groups = found["runs"], found["pairs"], found["groups"]
    titles = shorten([run["name"] for run in runs]) + shorten(
        [f"mean of {group['name']}" for group in groups], 40
    )
    short = dict(zip((run["name"] for run in runs), shorten([run["name"] for run in runs], 20), strict=True))
    names = [f"{short[pair['a']]} − {short[pair['b']]}" for pair in pairs]  # noqa: RUF001
    lines = [len(titles), len(names)]
    figure = new_figure(5.2 + label_width([*titles, *names]), 2.4 + PITCH * sum(lines), title)
    above, below = figure.subplots(2, height_ratios=[count + 1 for count in lines])
    draw_intervals(
        above,
        titles,
        [run["accuracy"] for run in runs] + [group["accuracy"]["mean_interval"] for group in groups],
        [BLUE] * len(runs) + [INK] * len(groups),
    )
    above.set_xlim(right=min(above.get_xlim()[1], 100))
    above.set_xlabel(f"accuracy (%){'; black: mean over seeds' if groups else ''}")
    draw_intervals(
        below,
        names,
        [pair["accuracy"]["difference_interval"] for pair in pairs],
        [VERMILION if pair["shown"] else MUTED for pair in pairs],
    )
    below.axvline(0, color=INK, linewidth=0.8, zorder=1)
    below.set_xlabel("first minus second (points); orange: difference shown")
    return figure
