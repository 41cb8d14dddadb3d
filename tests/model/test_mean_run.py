"""Tests of a run whose head reads the mean: recipe, files, and the lines that documentation and card print."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

import submillion
from submillion import Recipe
from submillion.model.trained import open_run_classifier
from submillion.report.card import render_card
from submillion.rundir import RunDir
from support import ROOT
from support.trained import recipe_in, tiny_fields, two_classes


@pytest.fixture(scope="module", params=["auto", "normalized"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run` on an `encoder` that records the mean, with head.pooling=auto or with head.normalize."""
    home = tmp_path_factory.mktemp("mean")
    tiny_fields(home)
    (home / "encoder" / "1_Pooling").mkdir()
    pooling = json.dumps({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    (home / "encoder" / "1_Pooling" / "config.json").write_text(pooling, encoding="utf-8")
    fields = {"head.kind": "linear", "head.pooling": "auto", "train.epochs": 5, "train.learning_rate": 0.03}
    if request.param == "normalized":
        fields |= {"head.pooling": "mean", "head.normalize": True}
    recipe = recipe_in(home, **fields)
    texts, labels = two_classes()
    submillion.train(recipe, home / "run", texts=texts, labels=labels, quiet=True)
    return home


def test_the_recipe_of_the_run_names_the_resolved_pooling(home: Path) -> None:
    assert Recipe.load(home / "run" / "recipe.yaml").head.pooling == "mean"
    parts = RunDir(home / "run").read_manifest()["budget"]["parts"]
    weight = load_file(home / "run" / "adapter" / "head.safetensors")["weight"]
    assert parts["head.output"] == weight.numel() + len(weight)


def test_the_head_is_among_the_files_that_decide_predictions(home: Path) -> None:
    name = "adapter/head.safetensors"
    assert name in submillion.Run(home / "run").file_hashes()
    assert name in RunDir(home / "run").read_manifest()["files"]


def test_the_lines_of_the_documentation_give_the_logits_of_the_run(home: Path) -> None:
    page = (ROOT / "docs" / "run-directory.md").read_text(encoding="utf-8")
    (lines,) = [code for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "head" in code]
    code = lines.replace("sentence-transformers/all-MiniLM-L6-v2", str(home / "encoder"))
    code = code.replace("runs/reviews/adapter", str(home / "run" / "adapter"))
    if not Recipe.load(home / "run" / "recipe.yaml").head.normalize:
        (mean,) = re.findall(r"the features are the mean itself, `(.*?)`", page)
        code = code.replace("normalize((states * real).sum(1))", mean)
        assert mean in code
    assert len([line for line in lines.splitlines() if line and not line.startswith("from ")]) == 5
    tokenizer = AutoTokenizer.from_pretrained(home / "run" / "tokenizer")
    texts = sorted(two_classes()[0][:6], key=len)
    texts[0] = texts[0].split()[0]
    batch = tokenizer(texts, padding=True, truncation=True, max_length=24, return_tensors="pt")
    assert not batch["attention_mask"].all()  # some of it is padding
    names: dict[str, object] = {"batch": dict(batch)}
    exec(compile(code, "docs/run-directory.md", "exec"), names)
    logits = names["logits"]
    assert isinstance(logits, torch.Tensor)
    expected = torch.from_numpy(open_run_classifier(RunDir(home / "run")).probabilities(texts, 8))
    torch.testing.assert_close(logits.softmax(dim=1), expected, rtol=1e-4, atol=1e-5)
    assert expected.std(dim=0).min() > 1e-4  # the features of different texts differ


def test_the_lines_of_the_card_give_the_logits_and_the_label_of_the_run(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", render_card(RunDir(home / "run")), flags=re.DOTALL)
    code = code.replace("PATH_TO_ENCODER", str(home / "encoder"))
    monkeypatch.chdir(home / "run")
    texts, opened = two_classes()[0][:4], open_run_classifier(RunDir(home / "run"))
    expected = torch.from_numpy(opened.probabilities(texts, 8))
    logits = []
    for text, probabilities in zip(texts, expected, strict=True):
        names: dict[str, object] = {}
        exec(compile(code.replace('"a text to label"', repr(text)), "README.md", "exec"), names)
        assert capsys.readouterr().out.strip() == str(opened.labels[int(probabilities.argmax())])
        assert isinstance(names["logits"], torch.Tensor)
        logits.append(names["logits"])
    torch.testing.assert_close(torch.cat(logits).softmax(dim=1), expected, rtol=1e-4, atol=1e-5)
    assert expected.std(dim=0).min() > 1e-4  # the features of different texts differ


def test_verify_holds_and_misses_a_removed_head(home: Path, tmp_path: Path) -> None:
    assert not [check for check in submillion.verify(home / "run").checks if check.holds is False]
    shutil.copytree(home, tmp_path / "copy")
    (tmp_path / "copy" / "run" / "adapter" / "head.safetensors").unlink()
    failed = {
        check.name for check in submillion.verify(tmp_path / "copy" / "run").checks if check.holds is False
    }
    assert {"layout", "hashes", "budget"} <= failed


def test_verify_names_a_recipe_that_scales_the_mean_otherwise_than_the_head(
    home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home, tmp_path / "copy")
    recipe = tmp_path / "copy" / "run" / "recipe.yaml"
    lines, found = re.subn(
        r"normalize: (true|false)",
        lambda match: f"normalize: {'false' if match[1] == 'true' else 'true'}",
        recipe.read_text(encoding="utf-8"),
    )
    assert found == 1
    recipe.write_text(lines, encoding="utf-8")
    failed = [check for check in submillion.verify(tmp_path / "copy" / "run").checks if check.holds is False]
    assert "adapter" in {check.name for check in failed if "head.normalize" in check.where}
