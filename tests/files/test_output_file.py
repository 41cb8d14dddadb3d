"""Outputs that a user names: no file is damaged, links and devices stay what they are, bad places are found early."""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from submillion.errors import BadInput, SubmillionError
from submillion.files.output_file import OutputFile

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of unix")


def written(name: Path | str, text: str = "rows\n", **options: bool) -> None:
    with OutputFile.at(name, **options).open() as stream:
        stream.write(text)


def test_a_new_file_is_made_with_its_folder_once_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "made" / "out.csv"
    with OutputFile.at(target).open() as stream:
        stream.write("rows\n")
        assert not target.exists()
    assert target.read_text() == "rows\n"
    assert [file.name for file in target.parent.iterdir()] == ["out.csv"]


def test_an_existing_file_needs_consent_and_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("before")
    target.chmod(0o640)
    with pytest.raises(BadInput, match="expected a file that does not exist yet"):
        OutputFile.at(target)
    written(target, overwrite=True)
    assert target.read_text() == "rows\n" and stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_failure_keeps_the_existing_file(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("before")
    with pytest.raises(RuntimeError), OutputFile.at(target, overwrite=True).open() as stream:
        stream.write("half")
        raise RuntimeError
    assert target.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(exists: bool, tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere" / "real.csv", tmp_path / "link.csv"
    target.parent.mkdir()
    link.symlink_to(Path("elsewhere") / "real.csv")
    if exists:
        target.write_text("before")
        with pytest.raises(BadInput, match="does not exist yet"):
            OutputFile.at(link)
    written(link, overwrite=exists)
    assert link.is_symlink() and target.read_text() == "rows\n"


def test_a_named_pipe_stays_a_pipe(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    written(pipe)
    reader.join(10)
    assert got == ["rows\n"] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_a_device() -> None:
    written("/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of linux")
def test_a_full_device_is_one_message() -> None:
    with pytest.raises(SubmillionError, match="/dev/full: could not be written .No space left"):
        written("/dev/full", "x" * 100_000)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_is_written_into(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    written(name)  # it is a regular file here, which must not be replaced
    assert capfd.readouterr().out == "rows\n"


def test_standard_output_is_utf_8_whatever_its_locale_is(monkeypatch: pytest.MonkeyPatch) -> None:
    received = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(received, encoding="ascii", newline="\r\n"))
    written("-", "grün\n")
    assert received.getvalue() == "grün\n".encode()


def test_a_pipe_whose_reader_has_ended_is_one_message(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(SubmillionError, match="the program that read it has ended"):
            written(f"/dev/fd/{writing}", "x" * 100_000)
    finally:
        os.close(writing)


def test_places_that_cannot_be_written_are_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name, message in (
        (tmp_path, "a directory"),
        (tmp_path / "file" / "out.csv", "a place that can be written"),
        (tmp_path / "circle", "a place that can be written"),
        ("~nobody-of-this-name/out.csv", "a place that can be written"),
        ("a\0b", "a place that can be written"),
        (tmp_path / ("x" * 300), "a place that can be written"),
    ):
        with pytest.raises(BadInput, match=message):
            OutputFile.at(name)


def test_an_input_is_never_an_output(tmp_path: Path) -> None:
    source, link = tmp_path / "in.csv", tmp_path / "link.csv"
    source.write_text("text\n")
    link.symlink_to(source)
    for name in (source, link):
        with pytest.raises(BadInput, match="another file than the input"):
            OutputFile.at(name, overwrite=True, inputs=[source])
