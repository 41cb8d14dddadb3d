"""Measures how training cost grows with text length, batch, threads, rank and layers, and memory with the data.

    python -m benchmarks.growth --data FOLDER --encoder FOLDER [--json FILE] [--draw FOLDER]
        [--only length,batch,threads,rank,layers,rows]

Runs Submillion's training step with rank 8 on query and value on texts of equal length, and varies one quantity at a
time. Each point is a process of its own; the points of an axis take turns, round by round, and medians are reported.
`rows` measures the peak memory of a process that reads, checks and tokenizes N texts, draws the batches of an epoch and
runs the first steps. An encoder without weights gets random ones.

With --json, parts of the file that are not measured now stay unchanged; --draw draws all of its parts.
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

from benchmarks.encoders import with_weights
from benchmarks.growth_figure import draw
from benchmarks.growth_rows import measure_rows
from benchmarks.harness import PATIENCE_S, QUIET, compare, log
from benchmarks.isolated import run_isolated
from benchmarks.variants import Setting, Variant

OPENER = "benchmarks.library:open_growth"
LENGTHS = [16, 32, 64, 128, 256, 512]
BATCHES = [1, 2, 4, 8, 16, 32, 64, 128]
RANKS = [1, 2, 4, 8, 16, 32, 64]
ROWS = [1_000, 10_000, 100_000, 1_000_000]
ONLY = ("length", "batch", "threads", "rank", "layers", "rows")


@dataclass(frozen=True)
class Point:
    """One point of an axis."""

    value: int
    options: dict[str, Any]
    line: str = ""
    """The line that the point belongs to, if the axis has several."""


@dataclass(frozen=True)
class Range:
    """The ends of the axes, and the values that stay constant on them."""

    layers: int
    """Layers of the encoder."""
    longest: int
    """Maximum tokens per text."""
    cores: int
    """Processor cores."""
    text: int
    """Tokens per text on the other axes."""
    threads: int | None
    """Threads on the other axes; None keeps torch's number."""
    tokens: int
    """Tokens per round."""


def length(span: Range) -> list[Point]:
    """Return the points of the text length, in tokens."""
    return [Point(tokens, {"length": tokens}) for tokens in LENGTHS if tokens <= span.longest]


def batch(_: Range) -> list[Point]:
    """Return the points of the batch size, in texts."""
    return [Point(size, {"batch_size": size}) for size in BATCHES]


def threads(span: Range) -> list[Point]:
    """Return the points of the threads: 1, 2, 3, 4, 6, 8, 12 ... and all cores."""
    usual = (number << shift for shift in range(span.cores.bit_length()) for number in (2, 3))
    return [Point(number, {"threads": number}) for number in steps_to(span.cores, [1, *usual])]


def rank(_: Range) -> list[Point]:
    """Return the points of the adapters' rank."""
    return [Point(number, {"rank": number}) for number in RANKS]


def layers(span: Range) -> list[Point]:
    """Return the points of the number of adapted layers from the top, with the layers below computed or cached."""
    quarters = [span.layers * quarter // 4 for quarter in (1, 2, 3)]
    counts = steps_to(span.layers, [1, 2, 3, *quarters])
    computed = [
        Point(number, {"layers": f"top-{number}", "cached": False}, "computed in every step")
        for number in counts
    ]
    # With all layers adapted there are none below, so both lines end in the same point.
    return computed + [Point(number, {"layers": f"top-{number}"}, "cached") for number in counts[:-1]]


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
    """Return one row per point of an axis: `value`, `line`, and the row of `harness.compare`."""
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


def describe(setting: Setting) -> dict[str, Any]:
    """Return machine, versions and sizes of the encoder; needs torch, so it runs in a process of its own."""
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
            else "peak MB   bytes per further text"
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
        lines.append("Other programs were running: measure again when the machine is idle.")
    return "\n".join(lines)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with AG News as csv")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of an encoder")
    parser.add_argument("--json", type=Path, help="write the measurements to this file")
    parser.add_argument("--draw", type=Path, help="draw growth.svg and growth.png into this folder")
    parser.add_argument("--only", default=",".join(ONLY), help=f"parts among {','.join(ONLY)}; '' only draws")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="clock of the figure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=8192, help="tokens per round")
    parser.add_argument("--text", type=int, default=64, help="tokens per text on the other axes")
    parser.add_argument("--batch-size", type=int, default=32, help="texts per batch on the other axes")
    parser.add_argument("--threads", type=int, help="processor threads on the other axes")
    parser.add_argument(
        "--rows", default=",".join(map(str, ROWS)), help="numbers of texts of the memory measurement"
    )
    parser.add_argument(
        "--patience", type=float, default=PATIENCE_S, help="seconds a round waits for other programs"
    )
    options = parser.parse_args(arguments)
    options.only = [name for name in options.only.split(",") if name]
    options.rows = sorted({int(number) for number in options.rows.split(",")})
    if unknown := [name for name in options.only if name not in ONLY]:
        parser.error(f"--only: {unknown[0]} is not among {', '.join(ONLY)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write and draw; return exit code 1 if a point failed."""
    options = options_of(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    parts: dict[str, Any] = {}
    if options.json and options.json.is_file():
        parts = json.loads(options.json.read_text(encoding="utf-8"))
    with with_weights(options.encoder) as encoder:
        setting = Setting(options.data, encoder, options.batch_size)
        known = run_isolated(describe, setting) if options.only else {}
        for name in options.only:
            log(f"-- {name}")
            if name == "rows":
                rows = measure_rows(replace(setting, max_length=128), options.rows)
            else:
                cores = known["machine"]["cores"] or os.cpu_count() or 1
                shape = known["layers"], known["longest"]
                span = Range(*shape, cores, options.text, options.threads, options.tokens)
                rows = measure(name, setting, span, options.rounds, options.patience)
            parts[name] = {
                "machine": known["machine"],
                "versions": known["versions"],
                "rounds": options.rounds,
                "tokens_of_a_round": options.tokens,
                "tokens_of_a_text": options.text,
                "batch_size": options.batch_size,
                "threads": options.threads or known["machine"]["threads"],
                "rows": rows,
            }
            print(render(parts[name], name), flush=True)
            if options.json:  # at once, as the next part may take long or be interrupted
                options.json.write_text(json.dumps(parts, indent=2) + "\n", encoding="utf-8")
    if options.draw:
        for file in draw(parts, options.draw, options.clock):
            log(f"drawn: {file}")
    return int(any("error" in row for name in options.only for row in parts[name]["rows"]))


if __name__ == "__main__":
    sys.exit(main())
