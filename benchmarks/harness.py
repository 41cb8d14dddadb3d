"""Measures variants against each other: each lives in a process of its own, and they work in turn, round by round.

A machine's speed drifts by some percent within minutes, so only what ran side by side can be compared: in every
round each variant does its batches once while the others sleep. A process of its own gives each variant its own
peak of memory, and settings (threads, number formats) that touch no other.
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

from benchmarks.apart import Failed
from benchmarks.encoders import fetched, with_weights

BASE = "usual"
"""The variant that the others are compared with, unless they name another."""
QUIET = 0.05  # share of the processors that other programs may have before a measurement is in doubt
PATIENCE_S = 60.0  # that a round waits for other programs to end


@dataclass(frozen=True)
class Setting:
    """What all variants of a comparison share."""

    data: Path
    """Folder with AG News as csv."""
    encoder: Path
    """Folder with configuration, tokenizer and weights of an encoder."""
    batch_size: int = 32
    steps: int = 8
    """Batches of a round."""
    max_length: int = 128


@dataclass(frozen=True)
class Variant:
    """One way to do the work, named so that only its own process imports it."""

    opener: str
    """`module:function`; called with the Setting and the options, returns Opened."""
    options: dict[str, Any] = field(default_factory=dict)
    base: str = BASE
    """The variant that it is compared with."""
    encoder: str | None = None
    """An encoder by its name in the catalog; None takes the setting's."""


@dataclass(frozen=True)
class Opened:
    """A variant that is ready to work."""

    do: Callable[[Sequence[int]], object]
    """Does one batch, given as rows."""
    batches: Sequence[Sequence[int]]
    """Those of a round."""
    warm_up: Sequence[Sequence[int]]
    """Done once before anything is timed; the last one again before every round."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else the variant's row says."""


@dataclass(frozen=True)
class Round:
    """What one round of one variant took."""

    samples_per_s: float
    samples_per_cpu_s: float
    """Texts by seconds of processor time of all threads: what other programs take counts less here."""
    peak_rss_mb: float
    """Of the process, since it was started; MB of 10^6 bytes."""
    others: float
    """Share of the machine's processors that other programs had meanwhile."""


class Child:
    """A process that has a variant open, and sleeps unless a round is asked for."""

    def __init__(self, variant: Variant, setting: Setting) -> None:
        """Start it; returns once the variant is warm."""
        # Forked, it would begin with this process's memory; spawned, it begins anew.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, variant, setting), daemon=True)
        self._process.start()
        theirs.close()
        self.facts: dict[str, Any] = self._answer()

    def round(self) -> Round:
        """Do all batches once."""
        try:
            self._pipe.send(True)
        except BrokenPipeError:
            self._process.join()
            raise Failed(f"its process ended with {self._process.exitcode}") from None
        done: Round = self._answer()
        return done

    def close(self) -> None:
        """End the process, also in the middle of a round."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise Failed(f"its process ended with {self._process.exitcode}") from None
        if isinstance(answer, str):
            self._process.join()
            raise Failed(answer)
        return answer


def _serve(pipe: Any, variant: Variant, setting: Setting) -> None:
    """Run in the child: open, warm up, then do a round whenever the parent asks for one."""
    from submillion.environment import peak_memory_mb

    try:
        opened: Opened = pkgutil.resolve_name(variant.opener)(setting, **variant.options)
        for rows in opened.warm_up:
            opened.do(rows)
        _give_back()
        pipe.send(opened.facts)
        texts = sum(map(len, opened.batches))
        while True:
            pipe.recv()
            opened.do(opened.warm_up[-1])  # what slept is slow at first
            began, own, all_of_it = time.perf_counter(), time.process_time(), _busy_seconds()
            for rows in opened.batches:
                opened.do(rows)
            seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - own
            taken = _busy_seconds() - all_of_it - cpu_seconds
            _give_back()
            others = max(0.0, taken / (seconds * (os.cpu_count() or 1)))
            pipe.send(Round(texts / seconds, texts / cpu_seconds, peak_memory_mb(), others))
    except (EOFError, KeyboardInterrupt):
        pass  # the parent is done
    except (Exception, SystemExit) as error:
        # Whatever a peer's libraries raise, the other variants go on; the row says it.
        pipe.send(f"{type(error).__name__}: {error}")


def _give_back() -> None:
    """Give freed memory back to the system: all variants are open at once, the peak of each counts all the same."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # of glibc
        libc.malloc_trim(0)


def _busy_seconds() -> float:
    """Return the processor time that all programs have used together since the machine was started."""
    import psutil

    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def _wait_until_quiet(patience_s: float) -> None:
    """Wait while other programs work, but not for ever."""
    import psutil

    end = time.monotonic() + patience_s
    while time.monotonic() < end and psutil.cpu_percent(interval=0.5) > 100 * QUIET:
        pass


def compare(
    variants: Mapping[str, Variant], setting: Setting, rounds: int, patience_s: float = PATIENCE_S
) -> list[dict[str, Any]]:
    """Return a row per variant, in their order.

    Args:
        variants: what to measure.
        setting: what they share.
        rounds: how often each does its batches.
        patience_s: seconds that a round waits for other programs to end.

    Returns:
        Per variant `name`, `ratio` (median over the rounds of its speed by that of its base, or of the first
        variant where its base is not among them), `ratio_to` (that variant's name), `samples_per_s` (median),
        `samples_per_s_rounds`, `samples_per_cpu_s` (median; a second of each thread counts), `peak_rss_mb`,
        `others` (the largest share of the processors that other programs had in a round) and its own facts;
        or `name` and `error`.
    """
    children: dict[str, Child] = {}
    errors: dict[str, str] = {}
    done: dict[str, list[Round]] = {name: [] for name in variants}
    with ExitStack() as open_ones:
        for name, variant in variants.items():
            began = time.perf_counter()
            try:
                mine = replace(setting, encoder=fetched(variant.encoder)) if variant.encoder else setting
                children[name] = Child(variant, mine)
            except Failed as error:
                errors[name] = str(error)
                say(f"{name}: {error}")
                continue
            open_ones.callback(children[name].close)
            say(f"{name}: open and warm after {time.perf_counter() - began:.1f} s")
        for number in range(rounds):
            for name, child in children.items():
                if name in errors:
                    continue
                try:
                    _wait_until_quiet(patience_s)
                    last = child.round()
                except Failed as error:
                    errors[name] = str(error)
                    say(f"{name}: {error}")
                    continue
                done[name].append(last)
                disturbed = f", others had {last.others:.0%} of the processors" if last.others > QUIET else ""
                say(f"round {number + 1} of {rounds}: {name} {last.samples_per_s:.1f} samples/s{disturbed}")
    whole = [name for name in children if name not in errors]
    speeds = {name: [last.samples_per_s for last in done[name]] for name in whole}
    rows: list[dict[str, Any]] = []
    for name, variant in variants.items():
        if name in errors:
            rows.append({"name": name, "error": errors[name]})
            continue
        base = variant.base if variant.base in whole else whole[0]
        by_base = [mine / its for mine, its in zip(speeds[name], speeds[base], strict=True)]
        rows.append(
            {
                "name": name,
                "ratio": statistics.median(by_base),
                "ratio_to": base,
                "samples_per_s": statistics.median(speeds[name]),
                "samples_per_s_rounds": speeds[name],
                "samples_per_cpu_s": statistics.median(last.samples_per_cpu_s for last in done[name]),
                "peak_rss_mb": done[name][-1].peak_rss_mb,
                "others": max(last.others for last in done[name]),
                **children[name].facts,
            }
        )
    return rows


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table."""
    width = max(len(str(row["name"])) for row in rows)
    wide = max(len(str(row.get("ratio_to", ""))) for row in rows)
    lines = [f"{'':{width}}  {'ratio to':>{wide + 9}}   samples/s: median, min .. max    peak MB"]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['name']:{width}}  {row['error'].splitlines()[0]}")
            continue
        speeds = row["samples_per_s_rounds"]
        lines.append(
            f"{row['name']:{width}}  {row['ratio']:8.2f} {row['ratio_to']:{wide}}   {row['samples_per_s']:9.1f}, "
            f"{min(speeds):7.1f} .. {max(speeds):7.1f}   {row['peak_rss_mb']:8,.0f}"
        )
    if any(row.get("others", 0) > QUIET for row in rows):
        lines.append("Other programs ran meanwhile: measure again when they are done.")
    return "\n".join(lines)


def main(description: str, default: Mapping[str, Variant], further: Mapping[str, Variant]) -> int:
    """Read the command line, compare, print; the exit code is 1 where a variant failed.

    Args:
        description: of the script.
        default: variants that run unless --only names others.
        further: those that run only where they are named.
    """
    known = {**default, **further}
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with AG News as csv")
    parser.add_argument(
        "--encoder", type=Path, required=True, help="folder of an encoder, with or without weights"
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--only", default=",".join(default), help=f"some of {','.join(known)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="batches of a round")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds a round waits for others")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"--only: {unknown[0]} is not among {', '.join(known)}")
    # As at Ctrl-C: the children are ended, and the folder with random weights is removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    setting = Setting(options.data, options.encoder, options.batch_size, options.steps)
    with with_weights(setting.encoder) as encoder:
        chosen = {name: known[name] for name in names}
        rows = compare(chosen, replace(setting, encoder=encoder), options.rounds, options.patience)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(render(rows))
    return int(any("error" in row for row in rows))


def say(text: str) -> None:
    """Tell how far it is, on stderr."""
    print(text, file=sys.stderr, flush=True)
