"""The place of an export: nothing of a person or of another program is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from submillion import BadInput, Run, verify
from submillion.exporting import export as export_module
from support.tiny import tiny_encoder
from support.trained import trained_in


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("trained")
    tiny_encoder(home / "encoder", layers=1)
    return trained_in(home, report=False)


def test_a_replaced_export_takes_no_file_of_a_person_with_it(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run.export("merged", out, quiet=True)
    for name in ("note.txt", ".git/HEAD", "onnx/mine.onnx"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
        with pytest.raises(BadInput, match=f"also holds {name}"):
            run.export("merged", out, overwrite=True, quiet=True)
        assert (out / name).read_text() == "mine"
        (out / name).unlink()
    (out / "link").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="also holds link"):
        run.export("merged", out, overwrite=True, quiet=True)


def test_files_of_a_desktop_are_nobodys(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".DS_Store").touch()
    run.export("merged", out, quiet=True)
    (out / "onnx").mkdir()
    for name in (".DS_Store", "onnx/.DS_Store", "Thumbs.db", "desktop.ini"):
        (out / name).touch()
    assert verify(out).holds
    run.export("merged", out, overwrite=True, quiet=True)
    assert not {"Thumbs.db", "onnx"} & {path.name for path in out.iterdir()}


@pytest.mark.parametrize("record", ['{"users": []}', "[]", "3", "no JSON", '{"submillion": 1}'])
def test_the_export_json_of_another_program_makes_no_export(run: Run, tmp_path: Path, record: str) -> None:
    (tmp_path / "export.json").write_text(record)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BadInput, match="which `export` did not write"):
        run.export("merged", tmp_path, overwrite=True, quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.json", "thesis.tex"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("run/adapter/export", "among the run's own files"),
        ("file/export", "file is a file"),
        ("file", "Not a directory"),
        ("x" * 250, "File name too long"),
    ],
)
def test_a_place_where_no_export_can_be_made_is_refused_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "run").symlink_to(run.path)
    monkeypatch.setattr(export_module, "rows_of", None)
    with pytest.raises(BadInput, match=message):
        run.export("merged", tmp_path / out, overwrite=True, quiet=True)


def test_what_appears_at_the_place_of_an_export_meanwhile_is_not_replaced(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write = export_module.write_common

    def and_a_person_saves_a_file(source: Any, folder: Path) -> None:
        write(source, folder)
        out.mkdir()
        (out / "thesis.tex").touch()

    monkeypatch.setattr(export_module, "write_common", and_a_person_saves_a_file)
    with pytest.raises(BadInput, match=r"which holds thesis\.tex"):
        run.export("merged", out, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
