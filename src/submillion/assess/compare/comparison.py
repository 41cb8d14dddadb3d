"""What comparing runs found, in words: a table of runs, a table of pairs, a plain sentence for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from submillion.assess.statistics.paired_tests import unshown
from submillion.run_format.interval import ALPHA, Interval
from submillion.text_table import align
from submillion.wording import p_equals, p_value, percent, percent_range, points, points_range

MEASURES = ("accuracy", "macro_f1")


@dataclass(frozen=True)
class Comparison:
    """What comparing runs found."""

    found: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return what `compare` documents."""
        return self.found

    def render(self) -> str:
        """Return tables of runs and pairs, and a plain sentence for each pair and for each two recipes."""
        found = self.found
        lines = [f"{found['split']}: {found['rows']:,} rows, the same for every run", ""]
        lines += align(
            [
                ["run", "seed", "accuracy (95% interval)", "macro F1 (95% interval)"],
                *(
                    [run["name"], str(run["seed"]), _percent(run["accuracy"]), _decimal(run["macro_f1"])]
                    for run in found["runs"]
                ),
            ]
        )
        if found["differs"]:
            lines += ["", "what differs:"]
            lines += [
                f"  {field}: {', '.join(map(str, values))}" for field, values in found["differs"].items()
            ]
        lines += ["", "differences in points; p corrected for their number (Holm)", ""]
        lines += align(
            [
                ["pair", "only first", "only second", "accuracy", "p", "macro F1", "p"],
                *(
                    [
                        f"{pair['a']} - {pair['b']}",
                        f"{pair['only_a']:,}",
                        f"{pair['only_b']:,}",
                        *(
                            cell
                            for measure in MEASURES
                            for cell in (_points(pair[measure]), p_value(pair[measure]["p_holm"]))
                        ),
                    ]
                    for pair in found["pairs"]
                ),
            ]
        )
        for group in found["groups"]:
            lines += ["", f"{group['name']}: {len(group['runs'])} seeds ({', '.join(group['runs'])})"]
            lines += [
                f"  {title} mean {form(group[measure]['mean'])}, deviation {form(group[measure]['deviation'])}, "
                f"95% interval of the mean {form(low)} to {form(high)}"
                for measure, title, form in (
                    ("accuracy", "accuracy", lambda share: percent(share, 2)),
                    ("macro_f1", "macro F1", "{:.4f}".format),
                )
                for low, high in [_limits(group[measure]["mean_interval"])]
            ]
            if group["repeated"]:
                lines.append(f"  not counted, their seed is there already: {', '.join(group['repeated'])}")
        lines += ["", *(entry["sentence"] for entry in (*found["pairs"], *found["between"]))]
        return "\n".join(lines)


def sentence(pair: dict[str, Any], comparisons: int) -> str:
    """Say what the interval of a pair's accuracy difference allows to say, and no more."""
    of = pair["accuracy"]
    low, high = _limits(of["difference_interval"])
    limits = f"{points_range(low, high, 1)} points"
    who = f"{pair['a']} against {pair['b']}"
    if pair["shown"]:
        better = "more" if of["difference"] > 0 else "less"
        return f"{who}: {better} accurate, {points(of['difference'], 1)} points ({limits}; {p_equals(of['p_holm'])})"
    if not pair["only_a"] + pair["only_b"]:
        return f"{who}: right and wrong on the same rows; no difference shown: {limits}"
    needed = pair["rows_needed"]
    size = f"; {_size(of)} would take some {_round(needed):,} rows to be shown at 80% power" if needed else ""
    return f"{who}: {unshown(of['p'], comparisons)}: {limits} ({p_equals(of['p_holm'])}){size}"


def sentence_over_seeds(entry: dict[str, Any]) -> str:
    """Say what the seeds of two recipes allow to say about the mean accuracies."""
    of = entry["accuracy"]
    low, high = _limits(of["difference_interval"])
    limits = f"{points_range(low, high, 1)} points"
    who = f"{entry['a']} against {entry['b']}, over seeds"
    if of["p_holm"] < ALPHA:
        better = "more" if of["difference"] > 0 else "less"
        return f"{who}: {better} accurate, {points(of['difference'], 1)} points ({limits}; {p_equals(of['p_holm'])})"
    needed = of["seeds_needed"]
    size = f"; {_size(of)} would take {needed:,} seeds of each to be shown at 80% power" if needed else ""
    return f"{who}: no difference shown: {limits} ({p_equals(of['p_holm'])}){size}"


def _size(of: dict[str, Any]) -> str:
    """Name the difference seen."""
    return f"one of {points(of['difference'])}"


def _round(count: int) -> int:
    """Return a count to two digits: the estimate is no better."""
    return int(float(f"{count:.2g}"))


def _limits(found: Interval) -> tuple[Any, Any]:
    return found["low"], found["high"]


def _percent(found: Interval) -> str:
    return f"{percent(found['value'], 2)} ({percent_range(found['low'], found['high'], 2)})"


def _decimal(found: Interval) -> str:
    limits = "" if found["low"] is None else f" ({found['low']:.4f} to {found['high']:.4f})"
    return f"{found['value']:.4f}{limits}"


def _points(found: dict[str, Any]) -> str:
    low, high = _limits(found["difference_interval"])
    limits = "" if low is None else f" ({points_range(low, high)})"
    return f"{points(found['difference'])}{limits}"
