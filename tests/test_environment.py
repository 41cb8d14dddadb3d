"""What the manifest says of the machine is true of this process."""

from __future__ import annotations

import subprocess
from pathlib import Path

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


def test_machine_is_described() -> None:
    machine = environment.machine()
    assert machine["cores"] >= 1
    assert machine["memory_gb"] > 0.1
    assert machine["processor"]
