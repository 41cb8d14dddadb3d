"""Exports of tiny runs: opened by plain transformers, onnxruntime and OpenVINO, replaced, removed and verified."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import sys
import warnings
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

import submillion as sm
from submillion import BadInput, Run
from submillion.exporting import export as export_module
from submillion.exporting.export import Exported, export, lost_too_much
from submillion.model.process_state import preserved_signal_stack, signal_stack
from submillion.report.export_card import render_export_card
from submillion.rundir import RunDir
from submillion.ship.export import forms
from submillion.ship.export.sessions import OpenvinoSession
from support.analysis import thresholds_of
from support.tiny import tiny_encoder
from support.trained import recipe_in, trained_in, two_classes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("trained")
    tiny_encoder(home / "encoder", layers=1)  # converters take seconds for each layer
    return trained_in(home)


@pytest.fixture(scope="module")
def all_forms(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    for name in ("onnxruntime", "onnxscript", "nncf", "openvino"):
        if find_spec(name) is None:  # not importorskip: an imported nncf changes functions of torch
            pytest.skip(f"{name} is not installed")
    return run.export("all", tmp_path_factory.mktemp("exported") / "all", max_loss=100, quiet=True)


@pytest.fixture
def validation(run: Run) -> tuple[list[str], np.ndarray]:
    """Return the validation rows' texts, and the probabilities that the run has saved."""
    from submillion.assess.run_context import RunContext

    context = RunContext.open(run.path)
    return list(context.texts("validation")), context.predictions("validation").probabilities


def test_every_form_agrees_with_the_run(all_forms: Exported) -> None:
    files = all_forms.record["files"]
    assert list(files) == [name for name, (form, _) in forms.FILES.items() if form.in_all]
    for name, entry in files.items():
        int8 = "int8" in entry["form"]
        assert entry["max_probability_difference"] < (0.1 if int8 else 1e-5), name
        assert entry["rows"] == 6
        assert (all_forms.path / name).is_file()
    assert all_forms.record["calibration"] is not None
    assert all_forms.record["compared"] == {"validation": {"rows": 6, "source": "saved predictions"}}


def test_plain_transformers_reads_the_merged_checkpoint(
    all_forms: Exported, validation: tuple[list[str], np.ndarray]
) -> None:
    from transformers import pipeline

    texts, saved = validation
    classify: Any = pipeline("text-classification", model=str(all_forms.path))
    answers = classify(texts, truncation=True, top_k=None)
    for row, answer in zip(saved, answers, strict=True):
        scores = {entry["label"]: entry["score"] for entry in answer}
        assert [scores["0"], scores["1"]] == pytest.approx(row, abs=1e-5)
    config = json.loads((all_forms.path / "config.json").read_text())
    assert config["id2label"] == {"0": "0", "1": "1"}
    assert config["label2id"] == {"0": 0, "1": 1}
    assert config["problem_type"] == "single_label_classification"


def plain_batch(folder: Path, texts: list[str]) -> dict[str, np.ndarray]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    return dict(tokenizer(texts, truncation=True, padding=True, return_tensors="np"))


def test_onnxruntime_alone_reads_the_graph(
    all_forms: Exported, validation: tuple[list[str], np.ndarray]
) -> None:
    import onnx
    import onnxruntime

    texts, saved = validation
    file = all_forms.path / "onnx" / "model.onnx"
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_outputs()] == ["logits"]
    assert session.get_inputs()[0].shape == ["batch_size", "sequence_length"]
    for rows in (slice(0, 1), slice(0, 5)):
        (logits,) = session.run(["logits"], plain_batch(all_forms.path, texts[rows]))
        assert softmax(logits, axis=1) == pytest.approx(saved[rows], abs=1e-5)
    model = onnx.load(str(file))
    assert not any(node.metadata_props for node in model.graph.node), (
        "stack traces name folders of this machine"
    )


def test_openvino_alone_reads_both_graphs(
    all_forms: Exported, validation: tuple[list[str], np.ndarray]
) -> None:
    import openvino

    texts, saved = validation
    for name, reach in (("openvino_model", 1e-5), ("openvino_model_qint8_quantized", 0.1)):
        with preserved_signal_stack():  # see there: the second model would outlive the first one's stack
            model = openvino.Core().compile_model(str(all_forms.path / "openvino" / f"{name}.xml"), "CPU")
        logits = model(plain_batch(all_forms.path, texts))["logits"]
        assert softmax(logits, axis=1) == pytest.approx(saved, abs=reach)


@pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack as Linux has it")
def test_a_signal_is_handled_after_two_models_of_openvino_ended_in_the_order_of_their_start(
    all_forms: Exported,
) -> None:
    before = signal_stack()
    file = "openvino/openvino_model.xml"
    first, second = OpenvinoSession(all_forms.path, file), OpenvinoSession(all_forms.path, file)
    del first
    gc.collect()
    del second
    gc.collect()
    after = signal_stack()
    assert before is not None and after is not None
    assert (after.address, after.size) == (before.address, before.size)


def test_the_callers_process_is_unchanged(run: Run, tmp_path: Path) -> None:
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript")}
    handlers, filters = list(logging.getLogger().handlers), list(warnings.filters)
    run.export("merged", tmp_path / "out", quiet=True)
    assert {name: logging.getLogger(name).level for name in levels} == levels
    assert (list(logging.getLogger().handlers), list(warnings.filters)) == (handlers, filters)
    assert "nncf" not in sys.modules
    assert sys.modules.get("openvino_telemetry", 0) is not None


def test_a_file_that_loses_too_much_is_removed_and_the_others_stay(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from submillion.cli import main

    form = forms.FORMS["merged"]
    other = forms.ExportFile(
        "bad/model.bin", "bad", "transformers", lambda _, file: file.touch(), lambda: Wrong
    )
    bad = forms.Form("bad", (other,))
    monkeypatch.setattr(export_module, "chosen_forms", lambda _, **_known: [form, bad])
    monkeypatch.setitem(forms.FILES, "bad/model.bin", (bad, other))
    monkeypatch.setattr(
        sys,
        "argv",
        ["submillion", "export", str(run.path), "--to", "merged", "--out", str(tmp_path / "out"), "--quiet"],
    )
    with pytest.raises(SystemExit) as stop:
        sys.exit(main())
    assert stop.value.code == 1
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert list(record["files"]) == ["model.safetensors"]
    assert record["removed"]["bad/model.bin"]["accuracy_difference"] < 0
    assert not (tmp_path / "out" / "bad").exists()
    assert (
        "Removed, because they lost more than 0.2 points of accuracy: bad/model.bin."
        in capsys.readouterr().out
    )


class Wrong:
    """A runtime that takes the class that the run finds least probable."""

    def __init__(self, folder: Path) -> None:
        from submillion.ship.export.sessions import TransformersSession

        self._right = TransformersSession(folder)

    def logits(self, texts: list[str]) -> np.ndarray:
        return -self._right.logits(texts)


@pytest.mark.parametrize(
    ("difference", "high_of_sample", "lost"),
    [
        (-0.001, 0.01, False),
        (-0.003, 0.01, True),
        (0.0, -0.001, False),
        (0.0, -0.003, True),
        (-0.003, None, True),
    ],
)
def test_a_file_with_a_sample_is_judged_by_every_row_and_by_the_sample_s_whole_interval(
    difference: float, high_of_sample: float | None, lost: bool
) -> None:
    interval = None if high_of_sample is None else {"value": -0.01, "low": -0.03, "high": high_of_sample}
    entry: Any = {
        "accuracy_difference": difference,
        "argmax_agreement": 0.9,
        "sample": {"accuracy_difference": -0.01, "interval": interval},
    }
    assert lost_too_much(entry, 0.2) is lost


def test_an_existing_output_is_replaced_on_request_only(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run.export("merged", out, quiet=True)
    with pytest.raises(BadInput, match="a folder that does not exist yet"):
        run.export("merged", out, quiet=True)
    (out / "model.safetensors").write_text("broken")
    run.export("merged", out, overwrite=True, quiet=True)
    assert sm.verify(out).holds
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").touch()
    with pytest.raises(BadInput, match=r"which holds thesis\.tex"):
        run.export("merged", foreign, overwrite=True, quiet=True)
    assert (foreign / "thesis.tex").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign", "out"], "nothing temporary is left"


def test_the_card_lists_the_thresholds_per_class_and_verify_compares_them(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    copy = RunDir(run.path).copy_to(tmp_path / "run")
    names = [str(name) for name in run.classes_]
    chosen = thresholds_of("precision", names, [0.625, None]) | {"rule": "The rule of the thresholds."}
    copy.write_analysis("thresholds", chosen)
    out = tmp_path / "out"
    sm.load(copy.path).export("merged", out, quiet=True)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"| {names[0]} | 0.625000 |\n| {names[1]} | never answered |" in card
    assert "The rule of the thresholds." in card
    assert sm.verify(out, against=copy.path).holds
    copy.write_analysis("thresholds", thresholds_of("precision", names, [0.5, None]))
    assert {check.name for check in sm.verify(out, against=copy.path).failing} == {"thresholds"}


def test_bad_arguments_are_refused_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="Did you mean 'onnx'?"):
        run.export("onx", tmp_path / "out")
    for joined in ("merged,onnx", "merged onnx"):
        with pytest.raises(BadInput, match=rf"found {joined}\. Name each form by itself\."):
            run.export(joined, tmp_path / "out")
    with pytest.raises(BadInput, match="points of accuracy from 0 to 100"):
        run.export("merged", tmp_path / "out", max_loss=-1)
    wrong: Any
    for wrong in (None, 3, Path("merged"), [Path("merged")], ["merged", 3], [["merged"]], b"merged", []):
        with pytest.raises(BadInput, match="expected some of merged, onnx"):
            run.export(wrong, tmp_path / "out")
    for wrong in (None, "0.2", True, [1], float("nan"), Decimal("0.2")):
        with pytest.raises(BadInput, match="points of accuracy from 0 to 100"):
            run.export("merged", tmp_path / "out", max_loss=wrong)
    for wrong in (None, 3, b"out"):
        with pytest.raises(BadInput, match="`out`: expected the path of a folder"):
            run.export("merged", wrong)
    monkeypatch.setattr(forms, "find_spec", lambda name: None if name == "nncf" else object())
    with pytest.raises(
        BadInput, match=r"no nncf\. Install them with: pip install \"submillion\[openvino\]\""
    ):
        run.export("all", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_forms_of_an_iterator_and_a_limit_of_numpy_are_read(run: Run, tmp_path: Path) -> None:
    names: Any = (name for name in ["merged"])
    exported = run.export(names, str(tmp_path / "out"), max_loss=np.float32(50), quiet=True)  # type: ignore[arg-type]
    assert list(exported.record["files"]) == ["model.safetensors"]
    assert json.loads((exported.path / "export.json").read_text())["max_loss"] == 50


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_every_file_has_the_permissions_of_any_new_file(run: Run, tmp_path: Path) -> None:
    run.export("merged", tmp_path / "out", quiet=True)
    (tmp_path / "new").touch()
    modes = {file.name: oct(file.stat().st_mode) for file in (tmp_path / "out").iterdir()}
    assert modes == dict.fromkeys(modes, oct((tmp_path / "new").stat().st_mode))


def test_a_tokenizer_that_pads_on_the_left_pads_as_the_run_does(tmp_path: Path) -> None:
    tiny_encoder(tmp_path / "encoder", layers=1)
    file = tmp_path / "encoder" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"padding_side": "left"}))
    exported = trained_in(tmp_path, report=False).export("merged", tmp_path / "out", quiet=True)
    (entry,) = exported.record["files"].values()
    assert entry["max_probability_difference"] < 1e-5


def test_the_card_says_how_long_texts_are_read_though_none_was_compared(run: Run, tmp_path: Path) -> None:
    record: Any = run.export("merged", tmp_path / "out", quiet=True).record
    assert "are truncated by `truncation=True`, as by the run." in render_export_card(record)
    card = render_export_card(record | {"windows": "all"})
    assert "The run reads all of a text longer than 24 tokens." in card
    assert "no row of the comparison is longer, so that the figures do not show that loss." in card
    assert "as by the run" not in card


def test_the_cards_say_that_the_text_is_two_columns_joined(tmp_path: Path) -> None:
    texts, labels = two_classes()
    file = tmp_path / "rows.csv"
    lines = [f"{text.replace(' ', ',', 1)},{label}" for text, label in zip(texts, labels, strict=True)]
    file.write_text("\n".join(["title,description,label", *lines]) + "\n", encoding="utf-8")
    run = sm.train(recipe_in(tmp_path, **{"data.train": file}), tmp_path / "run", quiet=True, report=False)
    exported = run.export("merged", tmp_path / "out", quiet=True)
    joined = "The text of a row is title and description, joined with a space, as in training"
    assert joined in (exported.path / "README.md").read_text(encoding="utf-8")
    assert joined in run.push("me/news", encoder="me/encoder", dry_run=True, quiet=True).card
    assert sm.verify(exported.path, against=run).holds


def test_training_rows_of_a_cross_validated_run_are_predicted_again(tmp_path: Path) -> None:
    texts, labels = two_classes()
    recipe = recipe_in(
        tmp_path, **{"data.validation": "cross-validation", "data.folds": 2, "train.patience": 0}
    )
    run = sm.train(recipe, tmp_path / "run", texts=texts, labels=labels, quiet=True)
    exported = export(run.path, "merged", tmp_path / "out")
    assert exported.record["compared"] == {"train": {"rows": 60, "source": "predicted at the export"}}
    assert exported.record["files"]["model.safetensors"]["max_probability_difference"] < 1e-5


def test_a_run_without_predictions_is_refused(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    shutil.rmtree(RunDir.open(tmp_path / "run").predictions)
    with pytest.raises(BadInput, match="none: no file of an export could be proven"):
        export(tmp_path / "run", "merged", tmp_path / "out")


def test_verify_confirms_an_export_and_its_answers(all_forms: Exported, run: Run) -> None:
    alone = sm.verify(all_forms.path)
    assert alone.holds
    assert alone.strengths["predicted again"] == 0
    verdict = sm.verify(all_forms.path, against=run)
    assert verdict.holds, verdict.render()
    assert verdict.strengths["predicted again"] == len(all_forms.record["files"])
    with pytest.raises(BadInput, match="expected a run, found an export"):
        sm.verify(all_forms.path, rows=3)
    with pytest.raises(BadInput, match="an export, to be compared"):
        sm.verify(run.path, against=run)


def test_verify_detects_forged_exports(all_forms: Exported, run: Run, tmp_path: Path) -> None:
    def failing(change: Any, against: Run | None = None) -> set[str]:
        folder = tmp_path / "forged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(all_forms.path, folder)
        change(folder)
        return {check.name for check in sm.verify(folder, against=against).failing}

    def edit(**changes: Any) -> Any:
        def change(folder: Path) -> None:
            record = json.loads((folder / "export.json").read_text())
            for name in list(record["files"]):
                if name != "model.safetensors":
                    continue
                record["files"][name] |= changes
            (folder / "export.json").write_text(json.dumps(record))

        return change

    assert failing(lambda folder: (folder / "onnx" / "model.onnx").write_bytes(b"x")) == {"hashes"}
    assert failing(lambda folder: (folder / "extra.bin").touch()) == {"hashes"}
    assert failing(lambda folder: (folder / "README.md").write_text("better")) == {"pages"}
    assert "answers" in failing(edit(argmax_agreement=0.5), run)
    assert "answers" not in failing(edit(load_seconds=0.0001), run)
