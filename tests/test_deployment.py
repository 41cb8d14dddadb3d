"""The Dockerfile and the systemd unit of the documentation: their commands parse, and their checkers pass them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import submillion
from submillion.cli import app
from support import ROOT

FOLDER = ROOT / "docs" / "deployment"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
UNIT = (FOLDER / "submillion.service").read_text(encoding="utf-8")


def of_image() -> list[str]:
    parts = [re.search(rf"^{name} (\[.*\])$", DOCKERFILE, re.MULTILINE) for name in ("ENTRYPOINT", "CMD")]
    return [word for part in parts if part is not None for word in json.loads(part[1])]


def of_unit() -> list[str]:
    start = re.search(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    assert start is not None
    return shlex.split(start[1])


@pytest.mark.parametrize("words", [of_image(), of_unit()], ids=["image", "unit"])
def test_command_parses(words: list[str]) -> None:
    program, name, *arguments = words
    assert (Path(program).name, name) == ("submillion", "serve")
    command: Any = typer.main.get_command(app)
    parsed = command.commands[name].make_context(name, arguments).params
    assert parsed["token_file"] is not None
    assert parsed["port"] == 8000


def test_image_has_this_version() -> None:
    assert f"ARG SUBMILLION_VERSION={submillion.__version__}\n" in DOCKERFILE


def test_hadolint_has_no_complaint() -> None:
    checker = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if checker is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([checker, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_systemd_has_no_complaint(tmp_path: Path) -> None:
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("systemd-analyze is not installed")
    # It also looks for the program, which an installation has.
    unit = UNIT.replace("/opt/submillion/bin/submillion", sys.executable)
    (tmp_path / "submillion.service").write_text(unit, encoding="utf-8")
    done = subprocess.run(
        [checker, "verify", tmp_path / "submillion.service"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
