"""The figure of a comparison: the accuracy of each run and the difference of each pair, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from submillion.errors import BadInput, Problem
from submillion.report.drawn_names import drawn
from submillion.report.interval_figure import PITCH, draw_intervals
from submillion.report.theme import (
    BLUE,
    INK,
    MUTED,
    VERMILION,
    house_style,
    new_figure,
    save,
    width_for,
)
from submillion.wording import MINUS

SUFFIXES = (".svg", ".png")


def figure_file(out: Path, suffix: str) -> Path:
    """Return the file of a figure; a suffix .svg or .png of `out` is ignored.

    Raises:
        BadInput: the path ends in no name.
    """
    if out.name in ("", ".."):
        found = f"'{out}', a folder"
        raise BadInput(Problem("@{out}", "the path of a figure", found, "Add a name for its files."))
    return out.with_suffix(suffix) if out.suffix in SUFFIXES else out.with_name(out.name + suffix)


def draw(comparison: Mapping[str, Any], out: Path) -> list[Path]:
    """Draw a comparison as svg and png.

    Args:
        comparison: as `Comparison.to_json` returns it.
        out: path of the files; a suffix .svg or .png is ignored.

    Returns:
        The two files written.
    """
    name = figure_file(out, ".svg").stem
    heading = (
        f"Accuracy of {len(comparison['runs'])} runs and their differences\n"
        f"{comparison['split']}, the same {comparison['rows']:,} rows for all runs; 95% intervals"
    )
    with house_style():
        return save(comparison_figure(comparison, heading), out.parent, name, heading.replace("\n", ", "))


def comparison_figure(comparison: Mapping[str, Any], title: str) -> Figure:
    """Draw the accuracies of the runs and their means over seeds above, and the differences of all pairs below.

    Differences are orange if the exact McNemar test, corrected for the number of pairs, is significant.

    Args:
        comparison: as `Comparison.to_json` returns it.
        title: of the figure.
    """
    runs, pairs, groups = comparison["runs"], comparison["pairs"], comparison["groups"]
    titles = drawn([run["name"] for run in runs], "run") + drawn(
        [f"mean of {group['name']}" for group in groups], "mean of group", 40
    )
    short = dict(
        zip((run["name"] for run in runs), drawn([run["name"] for run in runs], "run", 20), strict=True)
    )
    names = [f"{short[pair['a']]} {MINUS} {short[pair['b']]}" for pair in pairs]
    lines = [len(titles), len(names)]
    figure = new_figure(width_for([*titles, *names]), 2.4 + PITCH * sum(lines), title)
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
    below.set_xlabel("first minus second (points);\norange: difference shown")
    return figure
