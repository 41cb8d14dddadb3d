"""Compares variants: each has its own process, and they take turns, round by round.

The speed of a machine drifts by some percent within minutes, so only interleaved measurements are comparable: in every
round each variant runs its batches once while the others sleep. A process per variant gives each its own peak memory,
and settings (threads, number formats) that do not affect the others.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.encoders import SHAPES, catalog_folder, of_shape, with_weights
from benchmarks.isolated import ProcessFailed
from benchmarks.variants import Child, Round, Setting, Variant

QUIET = 0.05
"""Share of the processors used by other programs above which a measurement is doubtful."""
PATIENCE_S = 60.0
"""Seconds that a round waits for other programs to end."""


def _wait_until_quiet(patience_s: float) -> None:
    """Wait until other programs are idle, at most `patience_s` seconds."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end and psutil.cpu_percent(interval=0.5) > 100 * QUIET:
        pass


def compare(
    variants: Mapping[str, Variant], setting: Setting, rounds: int, patience_s: float = PATIENCE_S
) -> list[dict[str, Any]]:
    """Return one row per variant, in order.

    Args:
        variants: the variants by name.
        setting: what they share.
        rounds: how often each runs its batches.
        patience_s: seconds that a round waits for other programs to end.

    Returns:
        Per variant `name`, `ratio` (median over the rounds of its speed divided by that of its base, or of the first
        variant if its base does not run), `ratio_to` (the name of that variant), `samples_per_s` (median),
        `samples_per_s_rounds`, `samples_per_cpu_s` (median, per second of CPU time of all threads), `peak_rss_mb`,
        `others` (the largest share of the processors that other programs used in a round) and its own facts; or
        `name` and `error`.
    """
    children: dict[str, Child] = {}
    errors: dict[str, str] = {}
    results: dict[str, list[Round]] = {name: [] for name in variants}
    with ExitStack() as stack:
        folders: dict[str | None, Path] = {None: setting.encoder}
        for name, variant in variants.items():
            started_at = time.perf_counter()
            try:
                if variant.encoder is not None and variant.encoder not in folders:
                    folders[variant.encoder] = _folder(variant.encoder, setting, stack)
                encoder = folders[variant.encoder]
                children[name] = Child(variant, replace(setting, encoder=encoder))
            except ProcessFailed as error:
                errors[name] = str(error)
                log(f"{name}: {error}")
                continue
            stack.callback(children[name].close)
            log(f"{name}: ready after {time.perf_counter() - started_at:.1f} s")
        for number in range(rounds):
            for name, child in children.items():
                if name in errors:
                    continue
                try:
                    _wait_until_quiet(patience_s)
                    last = child.round()
                except ProcessFailed as error:
                    errors[name] = str(error)
                    log(f"{name}: {error}")
                    continue
                results[name].append(last)
                disturbed = (
                    f", other programs used {last.others:.0%} of the processors"
                    if last.others > QUIET
                    else ""
                )
                log(f"round {number + 1} of {rounds}: {name} {last.samples_per_s:.1f} samples/s{disturbed}")
    return _rows(variants, results, errors, {name: child.facts for name, child in children.items()})


def _folder(encoder: str, setting: Setting, stack: ExitStack) -> Path:
    """Return the folder of `Variant.encoder`, which exists until the stack is closed."""
    if encoder in SHAPES:
        return stack.enter_context(of_shape(encoder, setting.encoder))
    return catalog_folder(encoder)


def _rows(
    variants: Mapping[str, Variant],
    results: Mapping[str, Sequence[Round]],
    errors: Mapping[str, str],
    facts: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return the row of each variant, as `compare` describes it."""
    completed = [name for name in variants if name not in errors]
    speeds = {name: [last.samples_per_s for last in results[name]] for name in completed}
    rows: list[dict[str, Any]] = []
    for name, variant in variants.items():
        if name in errors:
            rows.append({"name": name, "error": errors[name]})
            continue
        base = variant.base if variant.base in completed else completed[0]
        ratios = [speed / base_speed for speed, base_speed in zip(speeds[name], speeds[base], strict=True)]
        rows.append(
            {
                "name": name,
                "ratio": statistics.median(ratios),
                "ratio_to": base,
                "samples_per_s": statistics.median(speeds[name]),
                "samples_per_s_rounds": speeds[name],
                "samples_per_cpu_s": statistics.median(last.samples_per_cpu_s for last in results[name]),
                "peak_rss_mb": results[name][-1].peak_rss_mb,
                "others": max(last.others for last in results[name]),
                **facts[name],
            }
        )
    return rows


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table."""
    width = max(len(str(row["name"])) for row in rows)
    base_width = max(len(str(row.get("ratio_to", ""))) for row in rows)
    lines = [f"{'':{width}}  {'ratio to':>{base_width + 9}}   samples/s: median, min .. max    peak MB"]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['name']:{width}}  {row['error'].splitlines()[0]}")
            continue
        speeds = row["samples_per_s_rounds"]
        lines.append(
            f"{row['name']:{width}}  {row['ratio']:8.2f} {row['ratio_to']:{base_width}}   {row['samples_per_s']:9.1f}, "
            f"{min(speeds):7.1f} .. {max(speeds):7.1f}   {row['peak_rss_mb']:8,.0f}"
        )
    if any(row.get("others", 0) > QUIET for row in rows):
        lines.append("Other programs were running: measure again when the machine is idle.")
    return "\n".join(lines)


def main(description: str, default: Mapping[str, Variant], optional: Mapping[str, Variant]) -> int:
    """Read the command line, compare, print; return exit code 1 if a variant failed.

    Args:
        description: of the script.
        default: the variants that run without --only.
        optional: variants that run only if --only names them.
    """
    known = {**default, **optional}
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with AG News as csv")
    parser.add_argument(
        "--encoder", type=Path, required=True, help="folder of an encoder, with or without weights"
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--only", default=",".join(default), help=f"variants among {','.join(known)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="batches per round")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--lengths", type=_range, help="cut each text at a random number of tokens of this range, e.g. 8-32"
    )
    parser.add_argument(
        "--patience", type=float, default=PATIENCE_S, help="seconds a round waits for other programs"
    )
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"--only: {unknown[0]} is not among {', '.join(known)}")
    # As with Ctrl-C: ends the children and removes the folder with random weights.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sizes = {"batch_size": options.batch_size, "steps": options.steps, "lengths": options.lengths}
    setting = Setting(options.data, options.encoder, **sizes)
    with with_weights(setting.encoder) as encoder:
        chosen = {name: known[name] for name in names}
        rows = compare(chosen, replace(setting, encoder=encoder), options.rounds, options.patience)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(render(rows))
    return int(any("error" in row for row in rows))


def _range(text: str) -> tuple[int, int]:
    """Return the bounds of a range like `8-32`."""
    low, _, high = text.partition("-")
    return int(low), int(high)


def log(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)
