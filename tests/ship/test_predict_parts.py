"""Long predictions in parts: formats, kills at any point, and what a continuation refuses."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest

from submillion import notices
from submillion.data.token_report import Unknown
from submillion.errors import BadInput, SubmillionError
from submillion.rundir import RunDir
from submillion.ship import predict, predict_parts, predict_rows
from submillion.ship.predict import predict_file
from submillion.ship.predict_engines import Scored
from submillion.ship.predict_options import PredictOptions
from submillion.ship.predict_parts import CURSOR
from submillion.ship.predict_rows import Chunk, RowHash, after
from support.tiny_run import NAMES, tiny_run

ROWS = 103
EVENTS = ("replace", "fsync", "unlink", "mkdir", "rmdir")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return tiny_run(tmp_path_factory.mktemp("home"))[0]


class MadeEngine:
    """Stands in for the classifier: logits that follow from the text."""

    seen: ClassVar[list[int]] = []

    def __init__(self, *_: Any) -> None:
        pass

    def scored(self, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Scored]]:
        for chunk in chunks:
            self.seen.append(len(chunk[1]))
            numbers = [int(text.split()[1]) for text in chunk[1]]
            logits = np.eye(4, dtype=np.float32)[[number % 4 for number in numbers]]
            yield chunk, Scored(logits, sum(number % 5 == 0 for number in numbers), Unknown(1, 0, 1, 0))


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "open_for_answers", lambda *_: SimpleNamespace(labels=NAMES))
    monkeypatch.setattr(predict, "LocalEngine", MadeEngine)
    monkeypatch.setattr(predict, "PARTS_FROM", 20)
    monkeypatch.setattr(predict_parts, "PART_ROWS", 25)
    monkeypatch.setattr(predict_rows, "READ_ROWS", 10)
    monkeypatch.setattr(MadeEngine, "seen", [])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [{"id": f"r{number}", "text": f"text {number}", "extra": str(number)} for number in range(ROWS)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path / "in.jsonl"


OPTIONS = PredictOptions(chunk_rows=10, keep=("extra",))
RESUMED = PredictOptions(chunk_rows=7, keep=("extra",), resume=True)


def content(out: Path) -> Any:
    """Return the rows of an output, whatever its form."""
    if out.is_dir() or out.suffix == ".parquet":
        return pq.read_table(out).to_pylist()
    return out.read_text(encoding="utf-8")


def check_complete(out: Path) -> None:
    """Check that an output has every row once, in order, with its label."""
    rows = content(out)
    if isinstance(rows, str) and out.suffix == ".jsonl":
        rows = [json.loads(line) for line in rows.splitlines()]
    elif isinstance(rows, str):
        head, *lines = rows.splitlines()
        assert head == "ID,Label,extra"
        rows = [
            {"ID": line.split(",", 1)[0], "Label": line.split(",", 1)[1].rsplit(",", 1)[0].strip('"'),
             "extra": line.rsplit(",", 1)[1]} for line in lines
        ]  # fmt: skip
    assert rows == [
        {"ID": f"r{number}", "Label": NAMES[number % 4], "extra": str(number)} for number in range(ROWS)
    ]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet", "folder"])
def test_an_output_of_parts_has_every_row_once_in_order(run: RunDir, file: Path, name: str) -> None:
    out = file.with_name(name)
    assert predict_file(run.path, file, out, options=OPTIONS) == ROWS
    check_complete(out)
    if name == "folder":
        names = {entry.name for entry in out.iterdir()}
        assert names - {".lock"} == {CURSOR, *(f"part-{number:05}.parquet" for number in range(4))}
        assert json.loads((out / CURSOR).read_text())["complete"] is True
    else:
        assert {entry.name for entry in file.parent.iterdir()} == {file.name, name}
    (truncated,) = [notice for notice in notices.collected() if notice["code"] == "truncated_texts"]
    assert (truncated["truncated"], truncated["rows"]) == (ROWS // 5 + 1, ROWS)


class Killed(BaseException):
    """The process ends here: after it, no call that changes a disk succeeds."""


def killed_at(patch: pytest.MonkeyPatch, point: int) -> Callable[[], int]:
    """Let every call that changes the disk fail from call `point` on; return the counter of the calls."""
    calls = [0]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] >= point:
                raise Killed
            return function(*arguments, **named)

        return call

    for name in EVENTS:
        patch.setattr(os, name, counted(getattr(os, name)))
    return lambda: calls[0]


@pytest.mark.parametrize("name", ["out.csv", "folder"])
def test_killed_at_random_writes_and_resumed_no_row_is_lost_or_doubled(
    run: RunDir, file: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        counted = killed_at(patch, 10**9)
        predict_file(run.path, file, file.with_name(f"whole-{name}"), options=OPTIONS)
    events = counted()
    assert events > 20
    for point in sorted(random.Random(name).sample(range(1, events + 1), 12)):
        out = file.parent / str(point) / name
        kills, at = random.Random(point), point
        for turn in range(4):
            with monkeypatch.context() as patch:
                killed_at(patch, at if turn < 3 else 10**9)
                try:
                    predict_file(run.path, file, out, options=RESUMED if turn else OPTIONS)
                    break
                except Killed:
                    at = kills.randint(1, events)
                except BadInput as error:
                    # Killed after the last step: the output is there, and its parts are gone.
                    assert turn and "a file that does not exist yet" in str(error)
                    break
        check_complete(out)
        if name == "out.csv":
            assert [entry.name for entry in out.parent.iterdir() if not entry.name.startswith(".")] == [name]


def test_a_process_that_is_killed_is_continued_after_its_last_part(
    run: RunDir, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = file.with_name("out.csv")
    child = os.fork()
    if child == 0:
        complete = predict_parts.Parts.complete_part

        def then_die(parts: predict_parts.Parts) -> None:
            complete(parts)
            if parts.counts.rows > 50:
                os.kill(os.getpid(), signal.SIGKILL)

        predict_parts.Parts.complete_part = then_die  # type: ignore[method-assign]
        try:
            predict_file(run.path, file, out, options=OPTIONS)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not out.exists()
    with pytest.raises(BadInput, match="an unfinished prediction of 60 rows.*Continue with `resume`"):
        predict_file(run.path, file, out, options=OPTIONS)
    assert predict_file(run.path, file, out, options=RESUMED) == ROWS
    assert sum(MadeEngine.seen) == ROWS - 60, "the complete parts are not classified again"
    check_complete(out)


def raised(error: BaseException) -> Any:
    raise error


def interrupted(run: RunDir, file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predict until Ctrl-C after two parts."""
    scored = MadeEngine.scored

    def until(self: MadeEngine, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Scored]]:
        for number, one in enumerate(scored(self, chunks)):
            if number == 7:
                raise KeyboardInterrupt
            yield one

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MadeEngine, "scored", until)
        predict_file(run.path, file, out, options=OPTIONS)


def test_an_interruption_says_what_is_complete(
    run: RunDir, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(run, file, file.with_name("out.csv"), monkeypatch)
    (notice,) = [one for one in notices.collected() if one["code"] == "unfinished_prediction"]
    assert notice["rows"] == 60
    parts = file.with_name("out.csv.parts")
    assert {entry.name for entry in parts.iterdir()} - {".lock"} == {
        CURSOR,
        "part-00000.csv",
        "part-00001.csv",
    }


def test_another_input_another_run_or_a_changed_part_is_not_continued(
    run: RunDir, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = file.with_name("out.csv")
    interrupted(run, file, out, monkeypatch)
    whole = file.read_text()
    file.write_text(whole.replace('text 3"', 'text 4"'))
    with pytest.raises(BadInput, match="the 60 rows at the beginning that .* was made from, found others"):
        predict_file(run.path, file, out, options=RESUMED)
    with pytest.raises(
        BadInput, match="expected the run and the options that began this output, found others: columns"
    ):
        predict_file(run.path, file, out, options=PredictOptions(resume=True))
    part = out.with_name("out.csv.parts") / "part-00001.csv"
    before = part.read_bytes()
    part.write_bytes(before[:-1])
    with pytest.raises(
        BadInput, match="part-00001.csv: expected the part that the cursor counts, found another"
    ):
        predict_file(run.path, file, out, options=RESUMED)
    part.write_bytes(before)
    file.write_text(whole.replace('text 99"', 'text 7"'))  # after the complete parts
    assert predict_file(run.path, file, out, options=RESUMED) == ROWS
    assert out.read_text().splitlines()[100].endswith(f'"{NAMES[3]}",99')
    file.write_text(whole)
    predict_file(run.path, file, out, options=OPTIONS, overwrite=True)
    check_complete(out)


def test_a_complete_folder_is_not_repeated_and_replaced_only_on_request(run: RunDir, file: Path) -> None:
    out = file.with_name("folder")
    predict_file(run.path, file, out, options=OPTIONS)
    with pytest.raises(BadInput, match="a complete prediction of 103 rows"):
        predict_file(run.path, file, out, options=OPTIONS)
    MadeEngine.seen.clear()
    assert predict_file(run.path, file, out, options=RESUMED) == ROWS
    assert not MadeEngine.seen
    predict_file(run.path, file, out, options=OPTIONS, overwrite=True)
    check_complete(out)
    other = file.with_name("other")
    other.mkdir()
    (other / ".DS_Store").touch()
    assert predict_parts.check_folder(other, resume=False, overwrite=False) is None
    (other / "mine.txt").write_text("mine")
    for options in (OPTIONS, RESUMED):
        with pytest.raises(BadInput, match="which has other files"):
            predict_file(run.path, file, other, options=options, overwrite=True)
    assert (other / "mine.txt").read_text() == "mine"


def test_a_complete_output_is_continued_by_its_own_rows_only(
    run: RunDir, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = file.read_text().splitlines(keepends=True)
    out = file.with_name("folder")
    file.write_text("".join(lines[:60]))
    predict_file(run.path, file, out, options=OPTIONS)
    before = content(out)
    for other in (lines[1:61], lines[:59]):
        file.write_text("".join(other))
        with pytest.raises(
            BadInput, match="the 60 rows at the beginning that .* was made from, found others"
        ):
            predict_file(run.path, file, out, options=RESUMED)
        assert content(out) == before
    file.write_text("".join(lines))
    MadeEngine.seen.clear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(predict_parts.Parts, "complete", lambda _: raised(KeyboardInterrupt()))
        predict_file(run.path, file, out, options=RESUMED)
    assert json.loads((out / CURSOR).read_text())["complete"] is False
    assert predict_file(run.path, file, out, options=RESUMED) == ROWS
    check_complete(out)


def test_a_file_whose_parts_were_not_joined_is_joined_for_its_own_rows_only(
    run: RunDir, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = file.with_name("out.csv"), file.read_text()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(predict_parts.Parts, "files", lambda _: raised(KeyboardInterrupt()))
        predict_file(run.path, file, out, options=OPTIONS)
    MadeEngine.seen.clear()
    file.write_text(whole.replace('text 3"', 'text 4"'))
    with pytest.raises(BadInput, match="the 103 rows at the beginning that .* was made from, found others"):
        predict_file(run.path, file, out, options=RESUMED)
    assert not out.exists()
    file.write_text(whole)
    assert predict_file(run.path, file, out, options=RESUMED) == ROWS
    assert not MadeEngine.seen
    check_complete(out)


def test_two_processes_do_not_write_one_output(run: RunDir, file: Path) -> None:
    from submillion.cache import locked

    held = locked(file.with_name("folder") / ".lock", wait=False)
    with held, pytest.raises(BadInput, match="another process that writes it"):
        predict_file(run.path, file, file.with_name("folder"), options=OPTIONS)


def test_a_broken_row_far_down_is_met_before_anything_is_classified(run: RunDir, file: Path) -> None:
    with file.open("a") as stream:
        stream.write('{"id": 1, "text": null\n')
    with pytest.raises(BadInput, match="line 104"):
        predict_file(run.path, file, file.with_name("out.csv"), options=OPTIONS)
    assert not MadeEngine.seen
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("given", "form", "name"),
    [
        ("text,extra\ntext 1,a\n", None, "csv"),
        ('{"text": "text 1", "extra": "a"}\n', None, "jsonl"),
        ("text 1\n", "txt", "lines"),
    ],
)
def test_standard_input_is_read_and_answered_on_standard_output(
    run: RunDir,
    given: str,
    form: str | None,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given.encode())))
    assert predict_file(run.path, "-", stdin_form=form) == 1
    assert capsys.readouterr().out == f"ID,Label\n0,{NAMES[1]}\n"


def test_problems_of_standard_input_name_it_and_not_its_copy(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, problem in (
        ("", "^standard input: expected a file"),
        ("text\na\nb,c\n", "^standard input, line 3:"),
    ):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given.encode())))
        with pytest.raises(BadInput, match=problem):
            predict_file(run.path, "-")


def test_a_folder_that_cannot_be_written_is_one_message(
    run: RunDir, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (file / "parts", file.with_name("x" * 300)):
        with pytest.raises(BadInput, match="expected a place that can be written"):
            predict_file(run.path, file, place)
    (closed := file.with_name("closed")).mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != closed)
    with pytest.raises(BadInput, match="expected a place that can be written, found .* not writable"):
        predict_file(run.path, file, closed)
    assert not any(closed.iterdir())
    monkeypatch.setattr("os.access", lambda *_: True)

    # Some systems, such as /proc for root, say yes to `access` and refuse all the same.
    def refuse(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SubmillionError, match="parts: could not be written .No such file"):
        predict_file(run.path, file, file.with_name("parts"))


def test_an_open_file_is_written_into_and_no_folder_is_made(
    run: RunDir, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    predict_file(run.path, file, "/dev/stdout")  # a regular file here
    assert len(capfd.readouterr().out.splitlines()) == ROWS + 1


def test_wrong_forms_are_refused_by_name(run: RunDir, file: Path) -> None:
    with pytest.raises(BadInput, match="`stdin_form`: expected standard input as the file"):
        predict_file(run.path, file, stdin_form="csv")
    with pytest.raises(BadInput, match="expected one of csv, tsv, .*, found 'xml'"):
        predict_file(run.path, "-", stdin_form="xml")
    with pytest.raises(BadInput, match=r"a name that ends in \.csv, \.jsonl, \.parquet"):
        predict_file(run.path, file, file.with_name("out.xml"))
    for options in (PredictOptions(spreadsheet=True), PredictOptions(resume=True)):
        with pytest.raises(BadInput, match="`spreadsheet`|`resume`"):
            predict_file(
                run.path, file, "-" if options.resume else file.with_name("o.jsonl"), options=options
            )
    with pytest.raises(BadInput, match="expected one of local, ray, found 'spark'"):
        predict_file(run.path, file, "-", options=PredictOptions(engine="spark"))
    for name in ("batch_size", "chunk_rows"):
        with pytest.raises(BadInput, match=f"`{name}`: expected a whole number from 1 on, found 0"):
            predict_file(run.path, file, "-", options=PredictOptions(**{name: 0}))


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_a_row_without_a_label_has_null_and_its_probabilities(run: RunDir, file: Path, name: str) -> None:
    out = file.with_name(name)
    options = PredictOptions(with_confidence=True, abstain_below=0.9, with_text=True)
    predict_file(run.path, file, out, options=options)
    rows = pq.read_table(out).to_pylist() if name.endswith("parquet") else list(map(json.loads, out.open()))
    row = rows[1]
    assert (row["ID"], row["Label"], row["Text"]) == ("r1", None, "text 1")
    top = np.e / (np.e + 3)
    assert row["Confidence"] == pytest.approx(top) == row[f"p_{NAMES[1]}"]
    (notice,) = [one for one in notices.collected() if one["code"] == "abstained"]
    assert notice["abstained"] == ROWS
    with pytest.raises(BadInput, match="one kind of threshold, found two"):
        predict_file(run.path, file, "-", options=PredictOptions(abstain_below=0.5, class_thresholds=True))


def test_the_hash_of_rows_does_not_depend_on_their_chunks_and_tells_columns_apart() -> None:
    def chunk(*rows: tuple[str, str, str]) -> Chunk:
        return [row[0] for row in rows], [row[1] for row in rows], [[row[2]] for row in rows]

    def hashed(*chunks: Chunk) -> str:
        whole = RowHash()
        for one in chunks:
            whole.update(one)
        return whole.hexdigest()

    rows = [("1", "a b", "x"), ("2", "", "é"), ("3", "c", "")]
    assert hashed(chunk(*rows)) == hashed(chunk(rows[0]), chunk(*rows[1:]))
    for other in ([("1", "a ", "bx"), *rows[1:]], [rows[1], rows[0], rows[2]], rows[:2]):
        assert hashed(chunk(*other)) != hashed(chunk(*rows))
    skipped = RowHash()
    left = list(after(iter([chunk(*rows[:2]), chunk(rows[2])]), 1, skipped))
    assert [one[0] for one in left] == [["2"], ["3"]]
    assert skipped.hexdigest() == hashed(chunk(rows[0]))
