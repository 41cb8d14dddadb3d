"""How the cost of training grows with text length, batch, threads, rank and adapted layers; and memory with the data.

    python -m benchmarks.growth --data FOLDER --encoder FOLDER [--json FILE] [--draw FOLDER]
        [--only length,batch,threads,rank,layers,rows]

Submillion's own step, rank 8 on query and value, on texts that are all equally long: one thing grows, the others stay.
Each point is a process of its own; the points of an axis work in turn, round by round, and medians are told. `rows`
measures the peak memory of a process that reads, checks and tokenizes so many texts, draws an epoch of batches and does
the first steps. An encoder without weights gets random ones.

With --json, parts that the file has already and that are not measured now stay in it; --draw draws all that it has.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.apart import apart
from benchmarks.encoders import with_weights
from benchmarks.growth_figure import draw
from benchmarks.growth_rows import measure_rows
from benchmarks.harness import PATIENCE_S, QUIET, Setting, Variant, compare, say

OPENER = "benchmarks.library:open_growth"
LENGTHS = [16, 32, 64, 128, 256, 512]
BATCHES = [1, 2, 4, 8, 16, 32, 64, 128]
RANKS = [1, 2, 4, 8, 16, 32, 64]
ROWS = [1_000, 10_000, 100_000, 1_000_000]
ONLY = ("length", "batch", "threads", "rank", "layers", "rows")


@dataclass(frozen=True)
class Point:
    """One place on an axis."""

    value: int
    options: dict[str, Any]
    line: str = ""
    """Which of the axis's lines it is on, where there are several."""


@dataclass(frozen=True)
class Range:
    """From where to where the axes go, and what is the same in all."""

    layers: int
    """Of the encoder."""
    longest: int
    """Tokens that the encoder takes."""
    cores: int
    text: int
    """Tokens of a text, where they do not grow."""
    threads: int | None
    """Where they do not grow; None leaves torch's own choice."""
    tokens: int
    """Of a round."""


def length(span: Range) -> list[Point]:
    """Tokens of each text."""
    return [Point(tokens, {"length": tokens}) for tokens in LENGTHS if tokens <= span.longest]


def batch(span: Range) -> list[Point]:
    """Texts of a batch."""
    return [Point(size, {"batch_size": size}) for size in BATCHES]


def threads(span: Range) -> list[Point]:
    """Processor threads: 1, 2, 3, 4, 6, 8, 12 ... and all cores."""
    usual = (number << shift for shift in range(span.cores.bit_length()) for number in (2, 3))
    return [Point(number, {"threads": number}) for number in steps_to(span.cores, [1, *usual])]


def rank(span: Range) -> list[Point]:
    """Rank of the adapters."""
    return [Point(number, {"rank": number}) for number in RANKS]


def layers(span: Range) -> list[Point]:
    """Number of adapted layers, the uppermost ones; those below computed at every step, or kept."""
    quarters = [span.layers * quarter // 4 for quarter in (1, 2, 3)]
    counts = steps_to(span.layers, [1, 2, 3, *quarters])
    found = [
        Point(number, {"layers": f"top-{number}", "cached": False}, "computed in every step")
        for number in counts
    ]
    # With all layers adapted there is nothing below: both lines end in one point.
    return found + [Point(number, {"layers": f"top-{number}"}, "kept") for number in counts[:-1]]


AXES: dict[str, Callable[[Range], list[Point]]] = {
    "length": length,
    "batch": batch,
    "threads": threads,
    "rank": rank,
    "layers": layers,
}


def steps_to(last: int, wanted: Sequence[int]) -> list[int]:
    """Return the wanted numbers from 1 to `last`, and `last`, in order."""
    return sorted({number for number in wanted if 1 <= number < last} | {last})


def measure(axis: str, setting: Setting, span: Range, rounds: int, patience_s: float) -> list[dict[str, Any]]:
    """Return a row per point of an axis: `value`, `line`, and what `harness.compare` measured."""
    points = AXES[axis](span)
    usual = {"length": span.text, "tokens": span.tokens, "threads": span.threads}
    names = [" ".join(filter(None, (axis, str(point.value), point.line))) for point in points]
    variants = {
        name: Variant(OPENER, usual | point.options, base=names[0])
        for name, point in zip(names, points, strict=True)
    }
    rows = compare(variants, setting, rounds, patience_s)
    return [
        {"value": point.value, "line": point.line, **row} for point, row in zip(points, rows, strict=True)
    ]


def about(setting: Setting) -> dict[str, Any]:
    """Return machine, versions and what an encoder's sizes are; asked in a process of its own, as it needs torch."""
    from submillion import environment
    from submillion.families.families import family_of
    from submillion.sources.folder import read_config

    config = read_config(setting.encoder, str(setting.encoder))
    return {
        "machine": environment.machine(),
        "versions": environment.versions(),
        "layers": config[family_of(config).keys.get("num_hidden_layers", "num_hidden_layers")],
        "longest": family_of(config).longest_input(config),
    }


def render(part: dict[str, Any], name: str) -> str:
    """Return the rows of a part as a table."""
    timed = name != "rows"
    lines = [
        f"{name:30}"
        + (
            "samples/s: median, min .. max   by CPU second   peak MB"
            if timed
            else "peak MB   bytes a text more"
        )
    ]
    for row in part["rows"]:
        head = f"{row['value']:>12,} {row.get('line', ''):24}"[:37]
        if "error" in row:
            lines.append(f"{head} {row['error'].splitlines()[0]}")
        elif timed:
            speeds = row["samples_per_s_rounds"]
            lines.append(
                f"{head} {row['samples_per_s']:8.1f}, {min(speeds):7.1f} .. {max(speeds):7.1f}   "
                f"{row['samples_per_cpu_s']:10.2f}   {row['peak_rss_mb']:9,.0f}"
            )
        else:
            slope = row["peak_bytes_per_text"]
            lines.append(
                f"{head} {row['peak_rss_mb']:9,.0f}   " + ("" if slope is None else f"{slope:9,.0f}")
            )
    if any(row.get("others", 0) > QUIET for row in part["rows"]):
        lines.append("Other programs ran meanwhile: measure again when they are done.")
    return "\n".join(lines)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with AG News as csv")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of an encoder")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--draw", type=Path, help="draw growth.svg and growth.png into this folder")
    parser.add_argument("--only", default=",".join(ONLY), help=f"some of {','.join(ONLY)}; '' only draws")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what the figure shows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of a round of each point")
    parser.add_argument("--text", type=int, default=64, help="tokens of a text where they do not grow")
    parser.add_argument("--batch-size", type=int, default=32, help="texts of a batch where they do not grow")
    parser.add_argument("--threads", type=int, help="processor threads where they do not grow")
    parser.add_argument("--rows", default=",".join(map(str, ROWS)), help="numbers of texts, for the memory")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds a round waits for others")
    options = parser.parse_args(arguments)
    options.only = [name for name in options.only.split(",") if name]
    options.rows = sorted({int(number) for number in options.rows.split(",")})
    if unknown := [name for name in options.only if name not in ONLY]:
        parser.error(f"--only: {unknown[0]} is not among {', '.join(ONLY)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write and draw; the exit code is 1 where a point failed."""
    options = options_of(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    found: dict[str, Any] = {}
    if options.json and options.json.is_file():
        found = json.loads(options.json.read_text(encoding="utf-8"))
    with with_weights(options.encoder) as encoder:
        setting = Setting(options.data, encoder, options.batch_size)
        known = apart(about, setting) if options.only else {}
        for name in options.only:
            say(f"-- {name}")
            if name == "rows":
                rows = measure_rows(replace(setting, max_length=128), options.rows)
            else:
                cores = known["machine"]["cores"] or os.cpu_count() or 1
                shape = known["layers"], known["longest"]
                span = Range(*shape, cores, options.text, options.threads, options.tokens)
                rows = measure(name, setting, span, options.rounds, options.patience)
            found[name] = {
                "machine": known["machine"],
                "versions": known["versions"],
                "rounds": options.rounds,
                "tokens_of_a_round": options.tokens,
                "tokens_of_a_text": options.text,
                "batch_size": options.batch_size,
                "threads": options.threads or known["machine"]["threads"],
                "rows": rows,
            }
            print(render(found[name], name), flush=True)
            if options.json:  # at once: the next part may take long, or be ended
                options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if options.draw:
        for file in draw(found, options.draw, options.clock):
            say(f"drawn: {file}")
    return int(any("error" in row for name in options.only for row in found[name]["rows"]))


if __name__ == "__main__":
    sys.exit(main())
