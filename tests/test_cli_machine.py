"""Tests of cli_machine.py: `runs` and `cache` print text or JSON, and name their flags in messages."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from submillion import cli

TOKENS = f"{'a' * 32}.safetensors"


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, list(arguments))
    return done.exit_code, done.output


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUBMILLION_CACHE", str(tmp_path))
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / TOKENS).write_bytes(b"x" * 1000)
    return tmp_path


def test_the_cache_is_listed_located_and_pruned(root: Path) -> None:
    assert run("cache", "path") == (0, f"{root}\n")
    code, text = run("cache")
    assert code == 0
    assert f"tokens  {TOKENS}  1.0 kB" in text
    assert json.loads(run("cache", "--json")[1])["size"] == 1000
    code, text = run("cache", "prune", "--older-than", "1h", "--json")
    assert (code, json.loads(text)["freed"]) == (0, 0)
    code, text = run("cache", "prune", "--all", "--kind", "tokens")
    assert (code, text.splitlines()[-1]) == (0, f"{root}: 1.0 kB freed, 0 bytes left")
    assert not (root / "tokens" / TOKENS).exists()


def test_what_could_not_be_deleted_is_exit_code_1(root: Path) -> None:
    (root / "tokens" / f".{TOKENS}.0123abcd").touch()
    code, text = run("cache", "prune", "--all")
    assert code == 1
    assert "not deleted, a process may be writing it" in text


def test_messages_name_the_flags_of_a_command_in_a_group(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["submillion", "cache", "prune", "--max-size", "big"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("submillion: --max-size: expected a size such as 20GB")


def test_runs_of_an_empty_folder_and_of_none(tmp_path: Path) -> None:
    assert run("runs", str(tmp_path)) == (0, f"no runs below {tmp_path}\n")
    code, text = run("runs", str(tmp_path), "--json")
    assert (code, json.loads(text)["runs"]) == (0, [])
