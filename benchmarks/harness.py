"""Compares variants: each has its own process, and they take turns, round by round.

The speed of a machine drifts by some percent within minutes, so only interleaved measurements are comparable: in every
round each variant runs its batches once while the others sleep. A process per variant gives each its own peak memory,
and settings (threads, number formats) that do not affect the others.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import pkgutil
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.encoders import catalog_folder, with_weights
from benchmarks.isolated import ProcessFailed

BASE = "usual"
"""The variant that others are compared with, unless they name another one."""
QUIET = 0.05
"""Share of the processors used by other programs above which a measurement is doubtful."""
PATIENCE_S = 60.0
"""Seconds that a round waits for other programs to end."""


@dataclass(frozen=True)
class Setting:
    """Data, encoder and batches that all variants of a comparison share."""

    data: Path
    """Folder with AG News as csv."""
    encoder: Path
    """Folder with configuration, tokenizer and weights of an encoder."""
    batch_size: int = 32
    steps: int = 8
    """Batches per round."""
    max_length: int = 128


@dataclass(frozen=True)
class Variant:
    """One way to do the work; only its own process imports it."""

    opener: str
    """`module:function`, called with the Setting and the options; returns Opened."""
    options: dict[str, Any] = field(default_factory=dict)
    base: str = BASE
    """The variant that this one is compared with."""
    encoder: str | None = None
    """Name of an encoder in the catalog; None uses the setting's."""


@dataclass(frozen=True)
class Opened:
    """A variant that is ready to run."""

    run_batch: Callable[[Sequence[int]], object]
    """Runs one batch of row indices."""
    batches: Sequence[Sequence[int]]
    """The batches of a round."""
    warm_up: Sequence[Sequence[int]]
    """Batches that run once before the first round; the last of them runs again before every round."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Further entries of the variant's row."""


@dataclass(frozen=True)
class Round:
    """The measurements of one round of one variant."""

    samples_per_s: float
    samples_per_cpu_s: float
    """Texts per second of CPU time of all threads; less affected by other programs."""
    peak_rss_mb: float
    """Peak memory of the process since its start, in MB of 10^6 bytes."""
    others: float
    """Share of the machine's processors that other programs used during the round."""


class Child:
    """The process of a variant; it sleeps between rounds."""

    def __init__(self, variant: Variant, setting: Setting) -> None:
        """Start the process, and return when the variant has warmed up."""
        # A forked process would start with this process's memory; a spawned one does not.
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_end, variant, setting), daemon=True)
        self._process.start()
        child_end.close()
        self.facts: dict[str, Any] = self._receive()

    def round(self) -> Round:
        """Run all batches once."""
        try:
            self._pipe.send(True)
        except BrokenPipeError:
            self._process.join()
            raise ProcessFailed(f"its process ended with {self._process.exitcode}") from None
        result: Round = self._receive()
        return result

    def close(self) -> None:
        """End the process, even in the middle of a round."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _receive(self) -> Any:
        try:
            message = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise ProcessFailed(f"its process ended with {self._process.exitcode}") from None
        if isinstance(message, str):
            self._process.join()
            raise ProcessFailed(message)
        return message


def _serve(pipe: Any, variant: Variant, setting: Setting) -> None:
    """In the child process: open the variant, warm up, then run a round for every message of the parent."""
    from submillion.environment import peak_memory_mb

    try:
        opened: Opened = pkgutil.resolve_name(variant.opener)(setting, **variant.options)
        for rows in opened.warm_up:
            opened.run_batch(rows)
        _trim_memory()
        pipe.send(opened.facts)
        texts = sum(map(len, opened.batches))
        while True:
            pipe.recv()
            opened.run_batch(opened.warm_up[-1])  # the first batch after a pause is slow
            started_at, own_cpu_s, busy_s = time.perf_counter(), time.process_time(), _busy_seconds()
            for rows in opened.batches:
                opened.run_batch(rows)
            seconds, cpu_seconds = time.perf_counter() - started_at, time.process_time() - own_cpu_s
            others_cpu_s = _busy_seconds() - busy_s - cpu_seconds
            _trim_memory()
            others = max(0.0, others_cpu_s / (seconds * (os.cpu_count() or 1)))
            pipe.send(Round(texts / seconds, texts / cpu_seconds, peak_memory_mb(), others))
    except (EOFError, KeyboardInterrupt):
        pass  # the parent has ended
    except (Exception, SystemExit) as error:  # noqa: BLE001 - reported in the variant's row; the others go on
        pipe.send(f"{type(error).__name__}: {error}")


def _trim_memory() -> None:
    """Return freed memory to the system, as all variants are open at once; their peaks are not affected."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # of glibc
        libc.malloc_trim(0)


def _busy_seconds() -> float:
    """Return the CPU time of all programs since the machine was started."""
    import psutil

    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def _wait_until_quiet(patience_s: float) -> None:
    """Wait until other programs are idle, at most `patience_s` seconds."""
    import psutil

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
        for name, variant in variants.items():
            started_at = time.perf_counter()
            try:
                encoder = catalog_folder(variant.encoder) if variant.encoder else setting.encoder
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
        "--patience", type=float, default=PATIENCE_S, help="seconds a round waits for other programs"
    )
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"--only: {unknown[0]} is not among {', '.join(known)}")
    # As with Ctrl-C: ends the children and removes the folder with random weights.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    setting = Setting(options.data, options.encoder, options.batch_size, options.steps)
    with with_weights(setting.encoder) as encoder:
        chosen = {name: known[name] for name in names}
        rows = compare(chosen, replace(setting, encoder=encoder), options.rounds, options.patience)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(render(rows))
    return int(any("error" in row for row in rows))


def log(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)
