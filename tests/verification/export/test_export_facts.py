"""Statements of an export about its run: each one that is forged, hashes and card included, is detected."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import submillion as sm
from submillion import Run
from submillion.cache import sha256_of
from submillion.exporting.export import Exported
from submillion.report.export_card import write_export_report
from submillion.rundir import RunDir
from support.analysis import thresholds_of
from support.tiny import tiny_encoder
from support.trained import trained_in


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("trained")
    tiny_encoder(home / "encoder", layers=1)
    return trained_in(home, report=False)


@pytest.fixture(scope="module")
def merged(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run.export("merged", tmp_path_factory.mktemp("exported") / "merged", quiet=True)


def set_in(record: dict[str, Any], path: str, value: Any) -> None:
    """Set an entry of a record by its dotted path; `*` is the only entry."""
    *above, last = path.split(".")
    for name in above:
        record = next(iter(record.values())) if name == "*" else record[name]
    record[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("labels", ["1", "0"]),
        ("max_length", 512),
        ("windows", "all"),
        ("pooling", "mean"),
        ("normalize", True),
        ("longer_rows", 2),
        ("text_columns", ["title", "body"]),
        ("metadata", "license: mit"),
        ("thresholds", {"objective": "f1", "rule": "", "split": "validation", "rows": 6, "values": {}}),
        ("run.name", "another"),
        ("run.encoder_licence", "mit"),
        ("run.data_licence", "mit"),
        ("reference.accuracy", 0.99),
        ("files.*.interval.low", -0.0001),
        ("files.*.form", "onnx"),
        ("files.*.batch_size", 1),
    ],
)
def test_no_statement_about_the_run_can_be_forged(
    merged: Exported, run: Run, tmp_path: Path, path: str, value: Any
) -> None:
    folder = tmp_path / "forged"
    shutil.copytree(merged.path, folder)
    record = json.loads((folder / "export.json").read_text())
    set_in(record, path, value)
    if path == "labels":  # in every file, as a forger would
        config = json.loads((folder / "config.json").read_text())
        config |= {"id2label": dict(enumerate(value)), "label2id": {"1": 0, "0": 1}}
        (folder / "config.json").write_text(json.dumps(config))
        record["common"]["config.json"] = sha256_of(folder / "config.json")
    (folder / "export.json").write_text(json.dumps(record))
    write_export_report(folder, record)
    verdict = sm.verify(folder, against=run)
    assert {check.name for check in verdict.failing} <= {"facts", "labels", "thresholds", "answers"}
    assert not verdict.holds


def test_thresholds_that_were_chosen_after_the_export_are_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    copy = RunDir(run.path).copy_to(tmp_path / "run")
    sm.load(copy.path).export("merged", tmp_path / "out", quiet=True)
    names = [str(name) for name in run.classes_]
    copy.write_analysis("thresholds", thresholds_of("precision", names, [0.5, None]))
    assert {check.name for check in sm.verify(tmp_path / "out", against=copy.path).failing} == {"thresholds"}


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ({"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModel": "mine.M"}}, "auto_map"),
        ({"attn_implementation": "kernels-community/mine"}, "attn_implementation"),
    ],
)
def test_no_code_that_an_export_names_is_run(
    merged: Exported,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    entries: dict[str, Any],
    found: str,
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # transformers would ask whether to run it
    folder, trace = tmp_path / "hostile", tmp_path / "trace"
    shutil.copytree(merged.path, folder)
    (folder / "mine.py").write_text(f"open({str(trace)!r}, 'w')")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))
    record = json.loads((folder / "export.json").read_text())
    for name in ("config.json", "mine.py"):
        record["common"][name] = sha256_of(folder / name)
    (folder / "export.json").write_text(json.dumps(record))
    failing = sm.verify(folder, against=run).failing
    assert any(check.name == "answers" and found in check.found for check in failing)
    assert not trace.exists()


def test_no_pickle_of_an_export_is_read(merged: Exported, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    shutil.copytree(merged.path, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    failing = sm.verify(folder, against=run).failing
    assert any(check.name == "answers" and "a pickle" in check.found for check in failing)


def test_the_longest_input_of_a_tokenizer_is_that_of_the_record(merged: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(merged.path, folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 9}))
    record = json.loads((folder / "export.json").read_text())
    record["common"][file.name] = sha256_of(file)
    (folder / "export.json").write_text(json.dumps(record))
    assert {check.name for check in sm.verify(folder).failing} == {"labels"}
