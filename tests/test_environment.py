"""What the manifest says of the machine is true of this process."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from submillion import environment


def test_versions_are_those_installed() -> None:
    import torch

    found = environment.versions()
    assert found["torch"] == torch.__version__
    assert found["python"].startswith("3.")


def test_peak_memory_grows_with_what_is_held() -> None:
    before = environment.peak_memory_mb()
    held = b"x" * 60_000_000
    assert environment.peak_memory_mb() >= max(before, len(held) / 1e6)
    assert before > 5


def test_git_state_tells_commit_and_dirt(tmp_path: Path) -> None:
    assert environment.git_state(tmp_path) is None

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "a").write_text("a")
    git("add", "a")
    git("commit", "-m", "first")
    state = environment.git_state(tmp_path)
    assert state is not None
    assert (len(state["commit"]), state["dirty"]) == (40, False)
    (tmp_path / "a").write_text("b")
    assert environment.git_state(tmp_path) == state | {"dirty": True}


def _hostile_checkout(folder: Path, ran: Path) -> None:
    """Make a checkout whose configuration names a program, which writes `ran`, wherever git lets it."""
    program = folder / "program.sh"
    program.write_text(f"#!/bin/sh\necho \"$0 $@\" >> '{ran}'\ncat\n")
    program.chmod(0o755)

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)

    git("init")
    (folder / ".gitattributes").write_text("a filter=evil diff=evil\nb filter=process\n")
    for name in ("a", "b"):
        (folder / name).write_text("first")
    git("add", ".")
    git("commit", "-m", "first")
    hooks = folder / ".git" / "hooks"
    for hook in ("post-index-change", "fsmonitor-watchman", "pre-commit", "reference-transaction"):
        (hooks / hook).write_text(program.read_text())
        (hooks / hook).chmod(0o755)
    for key in (
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.askPass",
        "diff.external",
        "diff.evil.textconv",
        "diff.evil.command",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.process.process",
    ):
        git("config", key, str(program))
    git("config", "filter.process.required", "true")
    git("config", "filter.evil.required", "true")
    for name in ("a", "b"):  # the same length, so that git has to compare the content
        (folder / name).write_text("FIRST")


def test_no_program_that_a_checkout_names_is_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    folder = tmp_path / "checkout"
    folder.mkdir()
    _hostile_checkout(folder, ran)
    state = environment.git_state(folder)
    assert state is not None
    assert state["dirty"] is True
    assert not ran.exists(), ran.read_text()
    # The programs would run otherwise.
    subprocess.run(["git", "-C", str(folder), "status"], check=False, capture_output=True)
    assert ran.exists()


def test_without_git_and_with_a_git_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git_state(tmp_path) is None
    slow = tmp_path / "git"
    slow.write_text('#!/bin/sh\ncase "$*" in *rev-parse*) echo abc;; *status*) /bin/sleep 9;; esac\n')
    slow.chmod(0o755)
    monkeypatch.setattr(environment, "GIT_TIMEOUT_S", 0.3)
    assert environment.git_state(tmp_path) == {"commit": "abc", "dirty": None}


def test_machine_is_described() -> None:
    machine = environment.machine()
    assert machine["cores"] >= 1
    assert machine["memory_gb"] > 0.1
    assert machine["processor"]
