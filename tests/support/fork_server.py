"""A warm process that imported everything once and forks a child per command, which a test may kill at a chosen point.

python -m support.fork_server    reads one request per line of standard input, and answers each in one line
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support import TESTS

EVENTS = ("replace", "fsync", "rename", "unlink", "mkdir")
"""Calls of `os` after which the state of a run on disk differs."""
ORIGINAL = {name: getattr(os, name) for name in EVENTS}
PR_SET_CHILD_SUBREAPER = 36  # Linux, prctl(2)


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    """Exit code; negative for a signal."""
    output: str
    """Standard output and standard error."""
    events: int
    """Calls of the functions in EVENTS."""
    seconds: float


class ForkServer:
    """The test's side: starts the warm process, and runs commands in children of it."""

    def __init__(self) -> None:
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "MPLBACKEND": "agg",
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(
        self,
        *command: object,
        at_event: int = 0,
        worker_at_event: int = 0,
        after_s: float = 0.0,
        file_size: int = 0,
        cwd: Path | None = None,
    ) -> Ended:
        """Run `submillion COMMAND` to its end.

        Args:
            command: the arguments of the command line.
            at_event: kill it with SIGKILL right before this call, counted from 1, of a function in EVENTS.
            worker_at_event: kill its first process of a study's run in the same way.
            after_s: kill it with SIGKILL after these seconds.
            file_size: bytes after which writing into a file fails, as on a full disk.
            cwd: its working directory.
        """
        request = {
            "command": list(map(str, command)),
            "at_event": at_event,
            "worker_at_event": worker_at_event,
            "after_s": after_s,
            "file_size": file_size,
            "cwd": str(cwd or Path.cwd()),
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the warm process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@cache
def shared_server() -> ForkServer:
    """Return a server that all tests of this process share."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def serve(requests: Any, answers: Any) -> None:
    """Answer requests until there are no more."""
    ctypes.CDLL(None).prctl(
        PR_SET_CHILD_SUBREAPER, 1
    )  # a process whose parent was killed becomes a child of this one
    _import_everything()
    _make_reports_cheap()
    _load_a_model()
    # A child that collects garbage would visit, and so copy, all that was imported.
    gc.collect()
    gc.freeze()
    for line in requests:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()


def _import_everything() -> None:
    """Import what any command may need; nothing is computed, because threads would not survive a fork."""
    import submillion

    for module in pkgutil.walk_packages(submillion.__path__, "submillion."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # an optional extra that is not installed
                importlib.import_module(module.name)
    for name in ("torch", "transformers", "peft", "sklearn.svm", "sklearn.linear_model", "scipy.stats", "filelock",
                 "sklearn.feature_extraction.text", "matplotlib.pyplot", "transformers.models.roberta"):  # fmt: skip
        importlib.import_module(name)


def _make_reports_cheap() -> None:
    """Compile the templates and the types of all files once, and draw no figure."""
    from submillion.report import card, page
    from submillion.report.write import write_report
    from support.plain_figures import use_plain_figures
    from support.run import made_run

    for engine, ending in ((card.card_engine(), ".md.jinja"), (page.page_engine(), ".html.jinja")):
        for template in engine.list_templates():
            if template.endswith(ending):
                engine.get_template(template)
    use_plain_figures()
    with tempfile.TemporaryDirectory() as home:
        write_report(made_run(Path(home) / "run").path)


def _load_a_model() -> None:
    """Load one as a command does: transformers compiles the names of all its weights as patterns the first time."""
    from support.tiny_run import tiny_run

    with tempfile.TemporaryDirectory() as home:
        run, _ = tiny_run(Path(home))
        run.read_manifest()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    log, counter = (os.memfd_create(name) for name in ("output", "events"))
    started_at = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _run(request, log, counter)
        except BaseException:  # noqa: BLE001 - shown in the output
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if request["after_s"]:
        deadline = started_at + request["after_s"]
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with suppress(ChildProcessError):
        while True:  # processes that it started; they must not outlive it
            os.waitpid(-1, 0)
    seconds = time.monotonic() - started_at
    output, events = (os.pread(file, 1 << 20, 0).decode(errors="replace") for file in (log, counter))
    os.close(log)
    os.close(counter)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "output": output,
        "events": len(events),
        "seconds": seconds,
    }


def _run(request: dict[str, Any], log: int, counter: int) -> int:
    """Run one command in the child; return its exit code."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.chdir(request["cwd"])
    _fork_jobs(request["worker_at_event"], counter)
    _count_events(request["at_event"], counter)
    if request["file_size"]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], request["file_size"]))
    from submillion import cli

    sys.argv = ["submillion", *request["command"]]
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _count_events(kill_at: int, counter: int) -> None:
    """Count the calls of the functions in EVENTS, and end this process right before one of them."""
    left = kill_at

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            os.write(counter, b".")
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    for name, function in ORIGINAL.items():
        setattr(os, name, counted(function))


def _restore_events() -> None:
    for name, function in ORIGINAL.items():
        setattr(os, name, function)


def _fork_jobs(kill_at: int, counter: int) -> None:
    """Let a study fork the processes of its runs from the process of the command, which has everything imported."""
    left = [kill_at]

    class Forked:
        """Has the methods of `subprocess.Popen` that the engine calls."""

        __class_getitem__ = classmethod(lambda cls, _: cls)  # the engine names Popen[bytes]

        def __init__(
            self, command: list[str], *, stdin: int, stdout: Any, stderr: int, env: dict[str, str]
        ) -> None:
            assert command[1:3] == ["-m", worker.__name__] and (stdin, stderr) == (-3, -2)
            self.returncode: int | None = None
            self.pid = os.fork()
            if self.pid == 0:
                os.dup2(stdout.fileno(), 1)
                os.dup2(stdout.fileno(), 2)
                os.environ.clear()
                os.environ.update(env)
                _restore_events()
                _count_events(left[0], counter)
                sys.argv = command[2:]
                code = 1
                try:
                    code = worker.main()
                except BaseException:  # noqa: BLE001 - shown in the log
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            left[0] = 0  # the first process only

        def poll(self) -> int | None:
            if self.returncode is None:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                if ended:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

        def wait(self) -> None:
            while self.poll() is None:
                time.sleep(0.01)

        def terminate(self) -> None:
            os.kill(self.pid, signal.SIGTERM)

    from submillion.study import worker
    from submillion.study.engines import local

    local.subprocess = SimpleNamespace(Popen=Forked, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    local.TICK_S = 0.02


def main(arguments: Sequence[str] = ()) -> None:
    """Serve standard input; children must not write into the answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
