"""Tests that kills of train, resume, evaluate, report, predict and study lose nothing and change no result."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from submillion.rundir import RunDir
from support.fork_server import shared_server
from support.kills import (
    KILLED,
    TRAIN,
    check,
    command,
    facts,
    files_of,
    finish,
    place_beside,
    spread,
    undisturbed,
)
from support.tiny_project import shared_project

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")

# 20 kills of trainings at events and 4 at random times, 14 of evaluate, 12 of report, 8 of predict, up to 10 of
# `--overwrite`; test_run.py has 18 of studies.
CHAINS = 4


@pytest.mark.parametrize("chain", range(CHAINS))
def test_a_training_that_is_killed_again_and_again_ends_as_the_undisturbed_one(chain: int) -> None:
    expected, events = undisturbed()
    drawn, share = random.Random(chain), (chain + 0.5) / CHAINS
    # One kill late in the training, then four among the fewer events of what is left, the latest first.
    points = [0.5 + 0.4 * share, *(0.1 * (index + share) for index in (3, 2, 1, 0))]
    with place_beside(expected.path) as place:
        for point in points:
            assert _go_on(place, at_event=1 + int(point * events)) == KILLED
        _go_on(place, after_s=drawn.uniform(0.02, 1.5))
        finish(place)
        check(place, expected)


def _go_on(place: Path, **kill: float) -> int:
    """Train, or resume a training, until it is killed; return the exit code."""
    if not RunDir(place).manifest.is_file():
        return command(*TRAIN, "--out", place, **kill).code
    return command("resume", place, "--quiet", **kill).code


@pytest.fixture
def place(undisturbed_run: RunDir) -> Iterator[Path]:
    """A copy of the undisturbed run."""
    with place_beside(undisturbed_run.path) as place:
        yield shutil.copytree(undisturbed_run.path, place)


@pytest.fixture(scope="module")
def undisturbed_run() -> RunDir:
    return undisturbed()[0]


EVALUATE = ("evaluate", "--data", "test.csv", "--threshold", "0.5", "--name", "later", "--quiet")
REPORT = ("report", "--with", "errors", "--answer-at", "0.6", "--quiet")


# `resume` goes on once the predictions are saved, or the first part is computed; before that, nothing has changed.
@pytest.mark.parametrize(
    ("words", "kills", "unchanged", "ending"),
    [
        (EVALUATE, 7, 0.0, "the same command"),
        (EVALUATE, 7, 0.25, "resume"),
        (REPORT, 6, 0.0, "the same command"),
        (REPORT, 6, 0.5, "resume"),
    ],
)
def test_a_command_that_is_killed_is_completed(
    words: tuple[str, ...], kills: int, unchanged: float, ending: str, place: Path, undisturbed_run: RunDir
) -> None:
    name, *options = words
    with place_beside(undisturbed_run.path) as other:
        expected = RunDir(shutil.copytree(undisturbed_run.path, other))
        events = command(name, expected.path, *options).events
        first = int(unchanged * events)
        for point in spread(events - first, kills):
            assert command(name, place, *options, at_event=first + point).code == KILLED
            if ending == "resume" and "unfinished" in RunDir(place).read_manifest():
                command("resume", place, "--quiet")
        if ending == "the same command":
            command(name, place, *options)
        check(place, expected)


def test_a_prediction_that_is_killed_leaves_no_file_and_is_repeated(
    tmp_path: Path, undisturbed_run: RunDir
) -> None:
    predict = ("predict", undisturbed_run.path, "test.csv", "--quiet", "--out")
    events = command(*predict, tmp_path / "expected.csv").events
    out = tmp_path / "out" / "labels.csv"
    for point in range(8):
        assert command(*predict, out, at_event=1 + point % events).code == KILLED
        assert not out.exists()
    command(*predict, out)
    assert out.read_bytes() == (tmp_path / "expected.csv").read_bytes()
    assert [file.name for file in out.parent.iterdir()] == [out.name]


OTHER_SEED = ("--set", "seed=7")


@pytest.mark.parametrize("share", [0.01, 0.03, 0.05, 0.2, 0.5, 0.99, 1.0])
def test_a_run_that_is_being_replaced_is_never_lost(
    share: float, place: Path, undisturbed_run: RunDir
) -> None:
    before, replace = facts(undisturbed_run), (*TRAIN, *OTHER_SEED, "--out", place, "--overwrite")
    events = undisturbed()[1] + 30  # those that move the earlier run aside
    ended = command(*replace, at_event=max(1, int(share * events)))
    aside = place / ".replaced"
    manifest = RunDir(place).read_manifest() if RunDir(place).manifest.is_file() else {}
    is_new = manifest.get("seed") == 7
    if manifest.get("status") != "complete":
        assert ended.code == KILLED
        resumed = shared_server().run("resume", place, "--quiet")
        assert resumed.code == (0 if is_new else 2), resumed.output
    if is_new:
        assert RunDir(place).read_manifest()["status"] == "complete"
    else:
        assert facts(RunDir(place)) == before
        command(*replace)
    assert RunDir(place).read_manifest()["seed"] == 7
    if aside.exists():  # killed after the last write of the new run: the next command deletes the earlier one
        assert shared_server().run("resume", place).code == 2
    assert not aside.exists()


def test_a_new_run_in_place_of_one_that_a_kill_left_half_replaced(
    place: Path, undisturbed_run: RunDir
) -> None:
    replace = (*TRAIN, *OTHER_SEED, "--out", place, "--overwrite")
    for point in (40, 90, 140):  # each leaves a run that has begun, in place of the one before
        assert command(*replace, at_event=point).code == KILLED
    refused = shared_server().run(*replace, "--set", "data.max_length=900", cwd=shared_project())
    assert refused.code == 2
    assert facts(RunDir(place / ".replaced"))
    command(*replace)
    assert files_of(place) == files_of(undisturbed_run.path)


def test_only_one_process_works_on_a_run(place: Path) -> None:
    with RunDir(place).locked():
        for words in (("resume", place), ("report", place), ("evaluate", place, "--data", "test.csv"),
                      (*TRAIN, "--out", place, "--overwrite")):  # fmt: skip
            ended = shared_server().run(*words, cwd=shared_project())
            assert ended.code == 2, ended.output
            assert "another process" in ended.output and "Traceback" not in ended.output


@pytest.mark.parametrize("file_size", [500, 2_000, 9_000, 20_000])
def test_a_full_disk_stops_a_training_with_one_message_and_it_goes_on(file_size: int) -> None:
    expected, _ = undisturbed()
    with place_beside(expected.path) as place:
        ended = shared_server().run(*TRAIN, "--out", place, cwd=shared_project(), file_size=file_size)
        assert ended.code == 1, ended.output
        assert "Traceback" not in ended.output
        assert ended.output.count("could not be written") == 1, ended.output
        finish(place)
        check(place, expected)
