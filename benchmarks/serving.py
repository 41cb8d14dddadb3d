"""Loads a server with many clients, and compares its speed with that of the same run on the same texts offline.

    python -m benchmarks.serving RUN [--clients 64] [--seconds 300] [--texts-per-request 1] [--json FILE] [--into PAGE]
    python -m benchmarks.serving --report FILE --into docs/serving.md

The clients are coroutines on raw sockets in this process, which shares the processor with the server; each sends its
next request when it has its answer. The texts are those of the run's validation split, one after the other, so
both sides classify the same mixture of lengths. Offline is `Run.predict_proba` on these texts, before and after the
load; `share_of_offline` divides by the mean of the two. Memory is that of the server's processes, once a second;
`memory_growth` compares its mean over the last tenth of the time with that over the second tenth. `--into` writes the
report between two comments of a page; `--report` reads it from the file that `--json` has written.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

import submillion
from benchmarks.cells import machine_facts
from benchmarks.pages import insert
from submillion import notices
from submillion.assess.run_context import RunContext
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.rundir import RunDir

HOST = "127.0.0.1"
PART = "load report"
START = "from submillion.cli import main; main()"
WARM_UP = 3.0  # seconds of the same load before anything is counted
RECONNECTS = 100
GOALS = {"errors": 0, "share_of_offline": 0.8, "p99_over_p50": 4.0, "memory_growth": 0.02}


@dataclass
class Load:
    """What the clients have seen since the warm-up."""

    counting: bool = False
    stopped: bool = False
    texts: int = 0
    seconds: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    memory_mb: list[float] = field(default_factory=list)

    def failed(self, reason: str) -> None:
        """Count an error."""
        self.errors[reason] = self.errors.get(reason, 0) + 1


def offline(run: submillion.Run, texts: list[str]) -> float:
    """Return texts per second of the run without a server."""
    run.predict_proba(texts[:64])
    began = time.perf_counter()
    run.predict_proba(texts)
    return len(texts) / (time.perf_counter() - began)


def requests(texts: list[str], per_request: int, port: int) -> Iterator[bytes]:
    """Yield requests for ever; the texts go round."""
    made = []
    places = itertools.islice(itertools.cycle(range(len(texts))), len(texts) * per_request)
    while chunk := [[texts[place]] for place in itertools.islice(places, per_request)]:
        body = json.dumps({"inputs": chunk}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        made.append(head.encode() + body)
    return itertools.cycle(made)


async def client(port: int, source: Iterator[bytes], per_request: int, load: Load) -> None:
    """Send request after request on one connection until the load stops."""
    reader, writer = await asyncio.open_connection(HOST, port)
    while not load.stopped:
        began = time.perf_counter()
        try:
            writer.write(next(source))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            answer = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            load.failed(type(error).__name__)
            writer.close()
            reader, writer = await reconnected(port, load)
            continue
        if not head.startswith(b"HTTP/1.1 200") or answer.count(b'[{"label"') != per_request:
            load.failed(head[9:12].decode())
        elif load.counting:
            load.seconds.append(time.perf_counter() - began)
            load.texts += per_request
    writer.close()


async def reconnected(port: int, load: Load) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a new connection; each refused one is an error.

    Raises:
        SystemExit: nobody has answered for a while.
    """
    for _ in range(RECONNECTS):
        try:
            return await asyncio.open_connection(HOST, port)
        except OSError as error:
            load.failed(type(error).__name__)
            await asyncio.sleep(0.1)
    raise SystemExit("the server answers no more; its log says why")


async def drive(
    port: int, arguments: argparse.Namespace, texts: list[str], server: psutil.Process
) -> tuple[Load, float]:
    """Run the clients; return what they saw and the seconds that were counted."""
    load = Load()
    source = requests(texts, arguments.texts_per_request, port)
    clients = [
        asyncio.create_task(client(port, source, arguments.texts_per_request, load))
        for _ in range(arguments.clients)
    ]
    await asyncio.sleep(WARM_UP)
    load.counting, load.errors, began = True, {}, time.perf_counter()
    while time.perf_counter() - began < arguments.seconds:
        await asyncio.sleep(1)
        processes = [server, *server.children(recursive=True)]
        load.memory_mb.append(sum(one.memory_info().rss for one in processes) / 1e6)
    seconds = time.perf_counter() - began
    load.counting, load.stopped = False, True
    await asyncio.gather(*clients)
    if not load.seconds:
        raise SystemExit(f"no request was answered; errors: {load.errors}")
    return load, seconds


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def wait_until_ready(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers."""
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"the server ended with {server.returncode}")


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure offline, under load, and offline again."""
    with notices.collecting(quiet=True):
        context = RunContext.open(arguments.run)
        texts = list(context.texts("validation"))
        run = submillion.load(arguments.run)
        before = offline(run, texts)
        port = free_port()
        command = [sys.executable, "-c", START, "serve", str(arguments.run), "--port", str(port)]
        with Path(arguments.log).open("wb") as log:
            server = subprocess.Popen([*command, "--workers", str(arguments.workers)], stdout=log, stderr=log)
            try:
                wait_until_ready(port, server)
                load, seconds = asyncio.run(drive(port, arguments, texts, psutil.Process(server.pid)))
            finally:
                server.terminate()
                status = server.wait(30)
        after = offline(run, texts)
    facts = subject(context.run, texts)
    return facts | summary(load, seconds, (before, after), arguments) | {"server_exit_status": status}


def subject(run: RunDir, texts: Sequence[str]) -> dict[str, Any]:
    """Return what was measured: the run, its encoder, and the mean number of tokens that the run reads of a text."""
    source = run.located(run.read_manifest()["encoder"]["source"])
    tokens = encode(load_tokenizer(run.tokenizer), texts, Truncation.of(run.read_recipe().data))
    return {
        "run": run.path.resolve().name,
        "encoder": Path(source).name if Path(source).is_dir() else source,
        "tokens_per_text": round(float(tokens.lengths.mean()), 1),
    }


def summary(
    load: Load, seconds: float, offline_rates: tuple[float, float], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Return the figures of the report."""
    times, memory = sorted(load.seconds), load.memory_mb
    tenth = max(1, len(memory) // 10)
    p50, p99 = (times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
    rate = load.texts / seconds
    return {
        "clients": arguments.clients,
        "texts_per_request": arguments.texts_per_request,
        "workers": arguments.workers,
        "seconds": round(seconds, 1),
        "requests": len(times),
        "errors": sum(load.errors.values()),
        "errors_by_reason": load.errors,
        "texts_per_s": round(rate, 1),
        "offline_texts_per_s": [round(one, 1) for one in offline_rates],
        "share_of_offline": round(rate / statistics.fmean(offline_rates), 3),
        "p50_ms": round(1000 * p50, 1),
        "p99_ms": round(1000 * p99, 1),
        "p99_over_p50": round(p99 / p50, 2),
        "memory_mb": [round(one, 1) for one in (memory[0], max(memory), memory[-1])],
        "memory_growth": round(
            statistics.fmean(memory[-tenth:]) / statistics.fmean(memory[tenth : 2 * tenth] or memory) - 1, 4
        ),
        "memory_mb_by_second": [round(one, 1) for one in memory],
        "cores": psutil.cpu_count(),
        **machine_facts(),
    }


def markdown(report: dict[str, Any]) -> str:
    """Return the report as a paragraph and a table."""
    first, largest, last = report["memory_mb"]
    of_run = (
        f"Run `{report['run']}` on {report['encoder']}, {report['tokens_per_text']:.0f} tokens per text; "
    )
    offline_mean = statistics.fmean(report["offline_texts_per_s"])
    rows = [
        ("requests", f"{report['requests']:,} of {report['texts_per_request']} text each", ""),
        ("errors", f"{report['errors']:,}", "0"),
        ("texts/s", f"{report['texts_per_s']:,.0f}", ""),
        ("texts/s offline, mean of before and after", f"{offline_mean:,.0f}", ""),
        (
            "share of offline",
            f"{report['share_of_offline']:.0%}",
            f"at least {GOALS['share_of_offline']:.0%}",
        ),
        ("p50", f"{report['p50_ms']:,.0f} ms", ""),
        ("p99", f"{report['p99_ms']:,.0f} ms", ""),
        ("p99 / p50", f"{report['p99_over_p50']:.2f}", f"at most {GOALS['p99_over_p50']:g}"),
        ("memory at the start, at most, at the end", f"{first:,.0f}, {largest:,.0f}, {last:,.0f} MB", ""),
        ("growth of memory", f"{report['memory_growth']:+.1%}", f"at most {GOALS['memory_growth']:.0%}"),
    ]
    return "\n".join(
        [
            f"{of_run}{report['clients']} clients for {report['seconds']:,.0f} seconds, {report['workers']} "
            f"{'process' if report['workers'] == 1 else 'processes'}; {report['processor']}, {report['cores']} cores "
            f"(shared with the clients), commit {(report['commit'] or 'unknown')[:7]}:",
            "",
            "| | measured | goal |",
            "|---|---:|---:|",
            *(f"| {name} | {value} | {goal} |" for name, value, goal in rows),
        ]
    )


def missed(report: dict[str, Any]) -> list[str]:
    """Return the names of the goals that a report misses."""
    return [
        name
        for name, goal in GOALS.items()
        if (report[name] < goal if name == "share_of_offline" else report[name] > goal)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the report, and return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--texts-per-request", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log", default="serving.log", help="file for the server's log lines")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--report", type=Path, help="a report that --json has written, in place of a run")
    parser.add_argument("--into", type=Path, help="write the report into this page, between its comments")
    options = parser.parse_args(arguments)
    if (options.run is None) == (options.report is None):
        parser.error("expected a run, or --report")
    report = json.loads(options.report.read_text(encoding="utf-8")) if options.report else measured(options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if options.into:
        insert(markdown(report), options.into, PART)
    for name, value in report.items():
        if name != "memory_mb_by_second":
            print(f"{name:24} {value}")
    failed = missed(report)
    print("missed: " + ", ".join(failed) if failed else "every goal is met")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
