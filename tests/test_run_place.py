"""Tests of the place of a run: what is refused, what a failure or a kill leaves, and the lock."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from submillion import run_place
from submillion.errors import BadInput, SubmillionError
from submillion.files.atomic import atomic_dir, atomic_file
from submillion.rundir import RunDir


class Kill(BaseException):
    """Stands in for the end of the process: nothing that follows it is done."""


def write_run(place: Path, seed: int, status: str = "complete") -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "manifest.json").write_text(json.dumps({"format": 2, "seed": seed, "status": status}))
    (place / "adapter").mkdir(exist_ok=True)
    (place / "adapter" / "weights").write_text(str(seed))


def contents(place: Path) -> dict[str, str]:
    """Return all files but the lock."""
    files = (file for file in place.rglob("*") if file.is_file() and file.name != ".lock")
    return {file.relative_to(place).as_posix(): file.read_text() for file in files}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The place of a complete run."""
    write_run(tmp_path / "runs" / "mine", seed=1)
    return tmp_path / "runs" / "mine"


def test_a_new_run_needs_a_new_or_empty_directory(place: Path) -> None:
    with pytest.raises(BadInput, match=r"holds adapter, manifest\.json.*replace this run with `overwrite`"):
        run_place.check(place, overwrite=False)
    run_place.check(place, overwrite=True)
    (place / "thesis.docx").write_text("years of work")
    with pytest.raises(BadInput, match=r"no run wrote: thesis\.docx"):
        run_place.check(place, overwrite=True)
    with pytest.raises(BadInput, match="found a file"):
        run_place.check(place / "manifest.json", overwrite=True)


def test_a_run_is_not_replaced_by_one_that_is_made_of_it(place: Path) -> None:
    rows = place.resolve() / "data" / "train.parquet"
    with pytest.raises(BadInput, match=r"one that holds data/train.parquet, which the new one is made of"):
        run_place.check(place, overwrite=True, sources=["/elsewhere", str(rows)])
    run_place.check(place, overwrite=True, sources=[str(place.resolve().with_name("mine-2"))])


def test_files_of_a_desktop_are_no_contents(place: Path) -> None:
    (place.parent / "new").mkdir()
    for folder in (place, place.parent / "new"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / name).touch()
        with run_place.new_run(folder, overwrite=folder == place):
            write_run(folder, seed=2)
        assert contents(folder)["adapter/weights"] == "2"


@pytest.mark.parametrize("name", ["file/run", "x" * 300, "/proc/self/run"])
def test_a_place_that_cannot_be_made_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="a directory that can be written to"):
        run_place.check(tmp_path / name, overwrite=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_check_leaves_no_directory(tmp_path: Path) -> None:
    run_place.check(tmp_path / "a" / "b", overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_training_leaves_nothing_and_brings_the_earlier_run_back(place: Path) -> None:
    before = contents(place)
    for target in (place, place.parent / "new" / "deeper"):
        with pytest.raises(BadInput, match="no"), run_place.new_run(target, overwrite=True):
            write_run(target, seed=2, status="running")
            raise BadInput("no")
    assert contents(place) == before
    assert [entry.name for entry in place.parent.iterdir()] == ["mine"]


def test_any_failure_before_the_first_saved_state_brings_the_earlier_run_back(place: Path) -> None:
    before = contents(place)
    with pytest.raises(KeyboardInterrupt), run_place.new_run(place, overwrite=True):
        assert contents(place).keys() == {".begun", *(f".replaced/{name}" for name in before)}
        write_run(place, seed=2, status="running")
        raise KeyboardInterrupt
    assert contents(place) == before


def test_a_failure_after_a_saved_state_keeps_both_runs(place: Path) -> None:
    before = contents(place)
    with pytest.raises(SubmillionError), run_place.new_run(place, overwrite=True):
        write_run(place, seed=2, status="running")
        (place / run_place.STATE).parent.mkdir(parents=True)
        (place / run_place.STATE).touch()
        raise SubmillionError("no space")
    assert contents(place)["adapter/weights"] == "2"
    assert {name: contents(place)[f".replaced/{name}"] for name in before} == before
    with run_place.held(place):  # as `resume` does
        write_run(place, seed=2)
    assert not (place / ".replaced").exists()


def test_a_new_run_that_fails_without_an_earlier_one_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(SubmillionError), run_place.new_run(tmp_path / "run", overwrite=False):
        write_run(tmp_path / "run", seed=2, status="running")
        raise SubmillionError("no space")
    assert contents(tmp_path / "run")["adapter/weights"] == "2"


def test_the_earlier_run_goes_when_the_new_one_is_complete(place: Path) -> None:
    with run_place.new_run(place, overwrite=True):
        write_run(place, seed=2)
    assert contents(place) == contents(place) | {"adapter/weights": "2"}
    assert not (place / ".replaced").exists() and not (place / ".begun").exists()


def test_a_run_is_replaced_where_a_link_leads(place: Path) -> None:
    link = place.parent / "link"
    link.symlink_to(place)
    with run_place.new_run(link, overwrite=True):
        write_run(link, seed=2)
    assert link.is_symlink() and contents(place)["adapter/weights"] == "2"


def killed_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """End the process at a call of a function that changes a directory."""
    left = call

    def counted(function):
        def change(*arguments, **named):
            nonlocal left
            left -= 1
            if left <= 0:
                raise Kill
            return function(*arguments, **named)

        return change

    for name in ("rename", "unlink", "rmdir", "mkdir", "touch"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("call", range(1, 24))
def test_killed_at_any_change_of_the_directory_no_run_is_lost(place: Path, call: int, refused: bool) -> None:
    write_run(place / ".replaced", seed=0)  # that an earlier kill has left
    (place / "manifest.json").write_text(json.dumps({"format": 2, "seed": 1, "status": "interrupted"}))
    before = contents(place)
    with pytest.MonkeyPatch.context() as patch:
        killed_at(patch, call)
        try:
            with run_place.new_run(place, overwrite=True):
                with patch.context() as pause:
                    pause.undo()
                (place / "manifest.json").write_text('{"format": 2, "seed": 2, "status": "running"}')
                if refused:
                    raise BadInput("no")
                (place / "manifest.json").write_text('{"format": 2, "seed": 2, "status": "complete"}')
        except (Kill, BadInput):
            pass
    with run_place.held(place):
        after = contents(place)
    if json.loads(after["manifest.json"])["seed"] == 1:
        assert after == before
    elif refused:  # killed before it was undone: both are there
        assert (
            before.items() <= {name.removeprefix(".replaced/"): text for name, text in after.items()}.items()
        )
    else:
        assert json.loads(after["manifest.json"]) == {"format": 2, "seed": 2, "status": "complete"}


def test_the_lock_is_held_once_and_by_a_thread_as_often_as_it_likes(place: Path) -> None:
    run, refusals = RunDir(place), list[str]()

    def other() -> None:
        try:
            with run.locked():
                pass
        except BadInput as error:
            refusals.append(str(error))

    assert not run.is_locked()
    with run.locked(), run.locked():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refusals) == 1 and "no other process is working on" in refusals[0]
    with run.locked():
        pass
    assert not run.is_locked()
    with pytest.raises(BadInput, match="no such directory"):
        RunDir(place / "none").locked()
    assert not (place / "none").exists()


def test_left_overs_of_a_killed_process_are_swept_and_nothing_else(place: Path) -> None:
    own = [".gitignore", ".note.txt", "adapter/.hidden"]
    for name in (*own, ".manifest.json.0a1b2c3d", "adapter/.weights.0a1b2c3d"):
        (place / name).write_text("")
    (place / ".tokenizer.old.0a1b2c3d" / "old").mkdir(parents=True)
    (place / ".tokenizer.1b2c3d4e").mkdir()
    (place / ".tokenizer.old.0a1b2c3d" / "old" / "vocabulary").touch()
    with RunDir(place).locked():
        assert {*contents(place)} == {*own, "manifest.json", "adapter/weights", "tokenizer/vocabulary"}
    assert not list(place.glob(".tokenizer*"))


def test_a_write_sweeps_what_a_killed_one_left_but_not_what_is_being_written(tmp_path: Path) -> None:
    target = tmp_path / "labels.csv"
    (tmp_path / ".labels.csv.0a1b2c3d").touch()
    (tmp_path / ".labels.csv.1b2c3d4e").mkdir()
    (tmp_path / ".other.csv.0a1b2c3d").touch()
    with atomic_file(target) as outer:
        with atomic_file(target) as inner:
            assert outer.exists() and inner.exists()
            inner.write_text("inner")
        outer.write_text("outer")
    assert target.read_text() == "outer"
    assert {file.name for file in tmp_path.iterdir()} == {"labels.csv", ".other.csv.0a1b2c3d"}
    atomic_dir(tmp_path / "folder", lambda folder: (folder / "a").touch())
    assert (tmp_path / "folder" / "a").is_file()
