"""The result of comparing runs, as tables and one sentence per comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from submillion.assess.statistics.multiple_tests import not_shown
from submillion.run_format.interval import ALPHA, Interval, limits_of
from submillion.terminal.text_table import align_columns
from submillion.wording import p_equals, p_value, percent, percent_range, points, points_range, printable

MEASURES = ("accuracy", "macro_f1")


@dataclass(frozen=True, repr=False)
class Comparison:
    """The result of comparing runs."""

    result: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return what `compare_runs` documents."""
        return self.result

    def __repr__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return tables of runs and pairs, and a sentence for each pair of runs and of recipes."""
        result = self.result
        lines = [f"{result['split']}: {result['rows']:,} rows, the same for every run", "", *self._runs()]
        if result["differs"]:
            lines += ["", "recipe fields that differ:"]
            lines += [
                f"  {field}: {', '.join(map(str, values))}" for field, values in result["differs"].items()
            ]
        lines += [
            "",
            "differences in points; p-values corrected for the number of pairs (Holm)",
            "",
            *self._pairs(),
        ]
        for group in result["groups"]:
            lines += ["", *_group(group)]
        lines += ["", *(entry["sentence"] for entry in (*result["pairs"], *result["between"]))]
        return "\n".join(map(printable, lines))

    def _runs(self) -> list[str]:
        rows = [
            [run["name"], str(run["seed"]), _percent(run["accuracy"]), _decimal(run["macro_f1"])]
            for run in self.result["runs"]
        ]
        return align_columns([["run", "seed", "accuracy (95% interval)", "macro F1 (95% interval)"], *rows])

    def _pairs(self) -> list[str]:
        rows = [["pair", "only first right", "only second right", "accuracy", "p", "macro F1", "p"]]
        for pair in self.result["pairs"]:
            row = [f"{pair['a']} - {pair['b']}", f"{pair['only_a']:,}", f"{pair['only_b']:,}"]
            for measure in MEASURES:
                row += [_points(pair[measure]), p_value(pair[measure]["p_holm"])]
            rows.append(row)
        return align_columns(rows)


def sentence(pair: dict[str, Any], comparisons: int) -> str:
    """Return the statement that the interval of a pair's accuracy difference supports.

    Args:
        pair: one of the comparison's `pairs`.
        comparisons: number of pairs.
    """
    accuracy = pair["accuracy"]
    low, high = accuracy["difference_interval"]["low"], accuracy["difference_interval"]["high"]
    limits = f"{points_range(low, high, 1)} points"
    runs = f"{pair['a']} against {pair['b']}"
    if pair["shown"]:
        return f"{runs}: {_shown(accuracy, limits)}"
    if not pair["only_a"] + pair["only_b"]:
        return f"{runs}: right and wrong on the same rows; no difference shown: {limits}"
    needed = pair["rows_needed"]
    size = f"; {_size(accuracy)} needs about {_round(needed):,} rows at 80% power" if needed else ""
    shown = not_shown(accuracy["p"], comparisons)
    return f"{runs}: {shown}: {limits} ({p_equals(accuracy['p_holm'])}){size}"


def sentence_over_seeds(entry: dict[str, Any]) -> str:
    """Return the statement about the mean accuracies of two recipes that their seeds support."""
    accuracy = entry["accuracy"]
    low, high = accuracy["difference_interval"]["low"], accuracy["difference_interval"]["high"]
    limits = f"{points_range(low, high, 1)} points"
    recipes = f"{entry['a']} against {entry['b']}, over seeds"
    if accuracy["p_holm"] < ALPHA:
        return f"{recipes}: {_shown(accuracy, limits)}"
    needed = accuracy["seeds_needed"]
    size = f"; {_size(accuracy)} needs {needed:,} seeds of each at 80% power" if needed else ""
    return f"{recipes}: no difference shown: {limits} ({p_equals(accuracy['p_holm'])}){size}"


def _group(group: dict[str, Any]) -> list[str]:
    lines = [f"{group['name']}: {len(group['runs'])} seeds ({', '.join(group['runs'])})"]
    for measure, title in zip(MEASURES, ("accuracy", "macro F1"), strict=True):
        scores, mean = group[measure], group[measure]["mean_interval"]
        values = (scores["mean"], scores["deviation"], mean["low"], mean["high"])
        average, deviation, low, high = (
            percent(value, 2) if measure == "accuracy" else f"{value:.4f}" for value in values
        )
        lines.append(
            f"  {title} mean {average}, deviation {deviation}, 95% interval of the mean {low} to {high}"
        )
    if group["repeated"]:
        lines.append(f"  excluded (duplicate seed): {', '.join(group['repeated'])}")
    return lines


def _shown(accuracy: dict[str, Any], limits: str) -> str:
    better = "more" if accuracy["difference"] > 0 else "less"
    difference = points(accuracy["difference"], 1)
    return f"{better} accurate, {difference} points ({limits}; {p_equals(accuracy['p_holm'])})"


def _size(accuracy: dict[str, Any]) -> str:
    """Name the observed difference."""
    return f"a difference of {points(accuracy['difference'])}"


def _round(count: int) -> int:
    """Return a count to two digits: the estimate is no better."""
    return int(float(f"{count:.2g}"))


def _percent(estimate: Interval) -> str:
    return f"{percent(estimate['value'] or 0.0, 2)} ({percent_range(*limits_of(estimate), 2)})"


def _decimal(estimate: Interval) -> str:
    limits = "" if estimate["low"] is None else f" ({estimate['low']:.4f} to {estimate['high']:.4f})"
    return f"{estimate['value']:.4f}{limits}"


def _points(measure: dict[str, Any]) -> str:
    low, high = measure["difference_interval"]["low"], measure["difference_interval"]["high"]
    limits = "" if low is None else f" ({points_range(low, high)})"
    return f"{points(measure['difference'])}{limits}"
