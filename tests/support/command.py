"""The command line, run in the test's own process: a process of its own would import torch first."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from submillion import cli


@dataclass(frozen=True)
class Ended:
    """The exit code, the output and the messages of a command."""

    returncode: int
    stdout: str
    stderr: str


def submillion(*arguments: object, cwd: Path) -> Ended:
    """Run a command in a folder."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["submillion", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as ended:
            assert ended.code is None or isinstance(ended.code, int)
            code = ended.code or 0
    return Ended(code, out.getvalue(), err.getvalue())
