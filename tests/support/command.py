"""The command line, run in the test's own process: a process of its own would import torch first."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from submillion import cli

WITHOUT_FIGURES = (
    "from submillion.report import figures; figures.drawings = lambda run: []; "
    "from submillion import cli; cli.main()"
)
"""For `python -c`, where a test needs the command line in a process of its own: drawing figures takes seconds."""


@dataclass(frozen=True)
class Ended:
    """The exit code, the output and the messages of a command."""

    returncode: int
    stdout: str
    stderr: str


def submillion(*arguments: object, cwd: Path, stdin: bytes = b"") -> Ended:
    """Run a command in a folder, with bytes on its standard input."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["submillion", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        try:
            cli.main()
        except SystemExit as ended:
            assert ended.code is None or isinstance(ended.code, int)
            code = ended.code or 0
    return Ended(code, _written(out), _written(err))


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()
