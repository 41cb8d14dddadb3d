"""The tables of the accuracy benchmark as markdown: accuracy, macro F1, seconds, paired differences, empty cells."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from benchmarks.accuracy.cells import DETERMINISTIC, ENCODERS, METHODS, Cell, encoder_of, kind_of, left_out
from benchmarks.accuracy.differences import Difference, difference, mean_of
from benchmarks.accuracy.goals import goals
from benchmarks.accuracy.results import Result
from benchmarks.accuracy.sets import ALL, PER_CLASS, SETS, SIZES, seeds_of
from submillion.wording import p_equals, plural

Known = Mapping[Cell, Result]
PART = "accuracy"
UNEQUAL = ("r8", "r52", "sms")
"""Sets with classes of very different size, whose macro F1 has a table."""
TITLES = {"majority": "most frequent class", "words": "words, SVM", "characters": "characters, SVM"}
KIND_TITLES = {
    "frozen": "frozen encoder, logistic regression",
    "model2vec": "model2vec, logistic regression",
    "setfit": "SetFit",
    "peft": "transformers + peft script",
    "auto": "**submillion `auto`**",
}
LINEAR_KINDS = ("frozen", "model2vec")
"""Linear models on frozen features, which count as linear rivals beside words and characters."""


def render(known: Known, hits: Mapping[Cell, np.ndarray]) -> str:
    """Return all tables as markdown.

    Args:
        known: the computed cells.
        hits: whether each test row was right, by cell.
    """
    parts = [_machines(known)]
    for name, (title, _) in SETS.items():
        parts.append(f"## {title}")
        if not any(cell.set == name for cell in known):
            parts.append("No cell has been computed yet.")
            continue
        parts.append(_grid(known, name, "accuracy in %", _accuracy))
        if name in UNEQUAL:
            parts.append(_grid(known, name, "macro F1", _macro_f1))
        parts.append(_grid(known, name, "processor seconds of training", _seconds))
    parts += [
        "## Differences",
        _differences(known, hits),
        "## Goals",
        goals(known),
        "## Empty cells",
        _empty(known),
    ]
    return "\n\n".join(parts)


def title_of(method: str) -> str:
    """Return the method in words, such as `SetFit, minilm`."""
    encoder = encoder_of(method)
    return f"{KIND_TITLES[kind_of(method)]}, {encoder}" if encoder else TITLES[method]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; all columns but the first are aligned right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seeds_planned(size: str, method: str) -> int:
    """Return how many seeds a complete cell of the table has."""
    return 1 if size == ALL and kind_of(method) in DETERMINISTIC else len(seeds_of(size))


def _of(known: Known, name: str, size: str, method: str) -> dict[int, Result]:
    """Return the results of one cell of a table by seed."""
    cells = (Cell(name, size, seed, method) for seed in seeds_of(size))
    return {cell.seed: known[cell] for cell in cells if cell in known}


def _grid(known: Known, name: str, unit: str, show: Callable[[Mapping[int, Result]], str]) -> str:
    """Return the table of one quantity: a row a method, a column a size."""
    rows = []
    for method in METHODS:
        found = {size: _of(known, name, size, method) for size in SIZES}
        if not any(found.values()):
            continue
        shown = []
        for size, results in found.items():
            planned = seeds_planned(size, method)
            partial = f" ({len(results)} of {planned} seeds)" if 0 < len(results) < planned else ""
            shown.append(show(results) + partial if results else "")
        rows.append([title_of(method), *shown, _parameters(found.values())])
    header = [
        unit,
        *(f"{size} a class" if size in PER_CLASS else _size(size) for size in SIZES),
        "parameters",
    ]
    return markdown(header, rows)


def _size(size: str) -> str:
    return "all rows" if size == ALL else f"{int(size):,} rows"


def _accuracy(results: Mapping[int, Result]) -> str:
    mean = mean_of([100 * result.accuracy for result in results.values()])
    return f"{mean.value:.1f}" + (f" ± {mean.half_width:.1f}" if mean.half_width is not None else "")


def _macro_f1(results: Mapping[int, Result]) -> str:
    mean = mean_of([result.macro_f1 for result in results.values()])
    return f"{mean.value:.3f}" + (f" ± {mean.half_width:.3f}" if mean.half_width is not None else "")


def _seconds(results: Mapping[int, Result]) -> str:
    seconds = statistics.median(result.train_cpu_s for result in results.values())
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.1f}" if seconds >= 0.1 else f"{seconds:.2f}"


def _parameters(found: Iterable[Mapping[int, Result]]) -> str:
    """Return the fewest and most trained parameters of a method on a set."""
    counts = {result.parameters for results in found for result in results.values()}
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _differences(known: Known, hits: Mapping[Cell, np.ndarray]) -> str:
    rows = []
    for name, (title, _) in SETS.items():
        for size in SIZES:
            for encoder in ENCODERS:
                ours = _of(known, name, size, f"auto-{encoder}")
                if ours:
                    line = [f"{title}, {size}, {encoder}", _accuracy(ours)]
                    rows.append([*line, *_against(known, hits, Cell(name, size, 0, f"auto-{encoder}"))])
    if not rows:
        return "No cell of `auto` has been computed yet."
    header = [
        "`auto`",
        "accuracy",
        "best linear rival",
        "difference",
        "SetFit",
        "difference",
        "SetFit's seconds",
    ]
    return markdown(header, rows)


def _against(known: Known, hits: Mapping[Cell, np.ndarray], cell: Cell) -> list[str]:
    """Return the last columns of the table of differences for one cell of `auto`; its seed does not matter."""
    ours, encoder = _of(known, cell.set, cell.size, cell.method), encoder_of(cell.method)
    rivals = ["words", "characters", *(f"{kind}-{encoder}" for kind in LINEAR_KINDS)]
    measured = {rival: _of(known, cell.set, cell.size, rival) for rival in rivals}
    means = {
        rival: statistics.fmean(result.accuracy for result in found.values())
        for rival, found in measured.items()
        if found
    }
    shown = ["", ""]
    if means:
        best = max(means, key=lambda rival: means[rival])
        shown = [
            f"{title_of(best)}, {100 * means[best]:.1f}",
            _gap(_compared(hits, cell, best, ours, measured[best])),
        ]
    rival = f"setfit-{encoder}"
    theirs = _of(known, cell.set, cell.size, rival)
    if not theirs:
        return [*shown, "", "", ""]
    ratios = [
        theirs[seed].train_cpu_s / ours[seed].train_cpu_s
        for seed in set(ours) & set(theirs)
        if theirs[seed].processor == ours[seed].processor  # seconds of two processors say nothing
    ]
    speed = f"{statistics.median(ratios):.1f} times ours" if ratios else ""
    return [*shown, _accuracy(theirs), _gap(_compared(hits, cell, rival, ours, theirs)), speed]


def _compared(
    hits: Mapping[Cell, np.ndarray],
    cell: Cell,
    rival: str,
    ours: Mapping[int, Result],
    theirs: Mapping[int, Result],
) -> Difference | None:
    """Return the difference of two methods on the same rows of a set and size."""
    # On all rows a deterministic rival has one run, which every seed of ours is compared with.
    if len(theirs) == 1 and seeds_planned(cell.size, rival) == 1:
        theirs = dict.fromkeys(ours, theirs[0])
        rows = hits.get(Cell(cell.set, cell.size, 0, rival))
        their_hits = {} if rows is None else dict.fromkeys(ours, rows)
    else:
        their_hits = _hits(hits, cell, rival, theirs)
    return difference(
        {seed: result.accuracy for seed, result in ours.items()},
        {seed: result.accuracy for seed, result in theirs.items()},
        _hits(hits, cell, cell.method, ours),
        their_hits,
    )


def _hits(
    hits: Mapping[Cell, np.ndarray], cell: Cell, method: str, seeds: Iterable[int]
) -> dict[int, np.ndarray]:
    return {seed: hits[Cell(cell.set, cell.size, seed, method)] for seed in seeds}


def _gap(found: Difference | None) -> str:
    if found is None:
        return "no common seed"
    value, low, high = (100 * number for number in (found.value, found.low, found.high))
    carried = "" if found.is_carried else ", not carried"
    pairs = f"{found.pairs:,} {found.unit}{carried}"
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f}), {p_equals(found.p)}, {pairs}"


def _empty(known: Known) -> str:
    """Return which cells are not computed yet, lack seeds, or are left out, by method."""
    rows = []
    for method in METHODS:
        columns = ["", "", ""]
        for name, (title, _) in SETS.items():
            for column, sizes in enumerate(_empty_sizes(known, name, method)):
                if sizes:
                    columns[column] += f"{'; ' if columns[column] else ''}{title} {', '.join(sizes)}"
        if any(columns):
            rows.append([title_of(method), *columns])
    if not rows:
        return "None."
    header = ["method", "not computed yet", "seeds so far", "left out: minutes of a run on two cores"]
    return markdown(header, rows)


def _empty_sizes(known: Known, name: str, method: str) -> tuple[list[str], list[str], list[str]]:
    """Return the sizes that are not computed yet, that lack seeds, and that are left out, of a set and method."""
    missing, partial, out = list[str](), list[str](), list[str]()
    for size in SIZES:
        seeds, found = seeds_planned(size, method), len(_of(known, name, size, method))
        if reason := left_out(name, size, method):
            out.append(f"{size}: {reason}")
        elif not found:
            missing.append(size)
        elif found < seeds:
            partial.append(f"{size}: {found} of {seeds}")
    return missing, partial, out


def _machines(known: Known) -> str:
    """Return which machines, commits and versions the cells were computed with."""
    lines = []
    for (processor, threads), count in Counter(
        (result.processor, result.threads) for result in known.values()
    ).items():
        loads = [result.load for result in known.values() if result.processor == processor]
        lines.append(
            f"- {plural(count, 'cell')} on {processor}, threads: {threads}; load of the machine {min(loads):.1f} to "
            f"{max(loads):.1f}."
        )
    commits = Counter(result.commit for result in known.values())
    lines.append(
        "- Commits (`+`: with changes): " + ", ".join(f"{name} ({n:,})" for name, n in commits.items())
    )
    lines.append("- Versions: " + "; ".join(sorted({result.versions for result in known.values()})))
    return "\n".join(lines)
