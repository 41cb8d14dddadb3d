"""Tests of the fuzzers: every reader takes its seeds and its kept corpus, and what fails is found and saved."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from submillion.errors import BadInput, Problem
from tests.fuzz import __main__, mutate, runner, seeds
from tests.fuzz.readers import READERS, Reader
from tests.fuzz.runner import CORPUS, fuzz, kept
from tests.fuzz.worker import outcome

SLOW = ("report", "xlsx")  # figures, and a process of its own for every spreadsheet


@pytest.fixture(autouse=True, scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["FUZZ_HOME"] = str(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", [name for name in READERS if name not in SLOW])
def test_every_reader_takes_its_seeds_and_its_kept_corpus(name: str, tmp_path: Path) -> None:
    reader, file = READERS[name], tmp_path / READERS[name].file
    read = reader.prepare(tmp_path)
    for content in [*reader.seeds(), *(kept_file.read_bytes() for kept_file in kept(name))]:
        file.write_bytes(content)
        found = outcome(read, file)
        assert "place" not in found, found["text"]


@pytest.mark.parametrize("name", [name for name in READERS if name not in SLOW])
def test_the_same_seed_makes_the_same_inputs(name: str) -> None:
    def made() -> list[bytes]:
        rng, pool = random.Random(5), READERS[name].seeds()
        return [READERS[name].mutate(rng, rng.choice(pool), pool) for _ in range(20)]

    assert made() == made()
    assert len(set(made())) > 5


def test_the_corpus_belongs_to_readers_and_is_small() -> None:
    files = [file for folder in CORPUS.iterdir() for file in folder.iterdir()]
    assert {file.parent.name for file in files} <= set(READERS)
    assert all(file.stat().st_size < 20_000 for file in files)


def _broken(behaviour: Callable[[bytes], None]) -> Reader:
    def prepare(folder: Path) -> Callable[[Path], None]:
        return lambda file: behaviour(file.read_bytes())

    return Reader(
        "broken", "", "input.txt", prepare, lambda: [b"good"], lambda rng, data, pool: rng.randbytes(2)
    )


def test_an_error_that_is_not_ours_is_named_by_its_place(tmp_path: Path) -> None:
    def refuse(content: bytes) -> None:
        raise BadInput(Problem("here", "good", "bad")) if content == b"bad" else ValueError("odd")

    file = tmp_path / "input.txt"
    read = _broken(refuse).prepare(tmp_path)
    file.write_bytes(b"bad")
    assert outcome(read, file) == {}
    file.write_bytes(b"other")
    assert outcome(read, file)["place"] == "ValueError outside submillion"


@pytest.mark.parametrize(
    ("script", "seconds", "place"),
    [
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            60,
            f"the process ended with {-signal.SIGSEGV}",
        ),
        ("all(True for _ in iter(int, 1))", 0.2, "more than 0.2 seconds"),
        # A busy machine may need more than 0.2 seconds of processor time to fill 256 MiB.
        ("data = bytearray(2**28); time.sleep(60)", 60, "more than 2 GB of memory"),
    ],
)
def test_crashes_hangs_and_memory_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, seconds: float, place: str
) -> None:
    loop = f"print({{}}, flush=True)\nfor line in sys.stdin:\n    {script}\n"
    child = f"import os, signal, sys, time\n{loop}"
    (tmp_path / "child.py").write_text(child, encoding="utf-8")
    monkeypatch.setattr(runner, "COMMAND", ("-S", str(tmp_path / "child.py")))
    monkeypatch.setattr(runner, "CPU_SECONDS", seconds)
    monkeypatch.setattr(runner, "BYTES", 2**27)
    monkeypatch.setitem(runner.READERS, "broken", _broken(lambda content: None))
    started = time.monotonic()
    result = fuzz("broken", 30, 2, 0, tmp_path / "saved")
    assert result.failures == {place: 2}
    assert time.monotonic() - started < 20
    assert {file.read_bytes() for file in (tmp_path / "saved").iterdir()} >= {b"good"}


def test_the_command_lists_the_readers(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--list"]) == 0
    assert capsys.readouterr().out.count("\n") == len(READERS)
    assert __main__.main(["no-such-reader"]) == 2


def test_json_is_changed_in_its_values() -> None:
    rng, text = random.Random(1), seeds.positions()[0].decode()
    changed = {mutate.of_json(rng, text) for _ in range(200)}
    assert len(changed) > 150
    assert any("NaN" in one for one in changed)
    assert any(one.count("[") > 50 for one in changed)
