"""Tests of model/trained.py: a run opens with its trained classifier, or the error names what is missing or changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from submillion.data.truncation import Truncation
from submillion.errors import BadInput
from submillion.model.trained import check_same_weights, open_run_classifier
from submillion.rundir import RunDir
from support.tiny import tiny_encoder
from support.tiny_run import MAX_LENGTH, NAMES, tiny_run


def rewrite(run: RunDir, **facts: object) -> None:
    run.write_json(run.manifest, run.read_manifest() | facts)


def test_the_opened_classifier_is_the_trained_one(tmp_path: Path) -> None:
    import torch

    run, trained = tiny_run(tmp_path)
    torch.manual_seed(99)
    opened = open_run_classifier(run)
    batch = opened.tokenizer(["goal word1 coach", "orbit"], padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(opened.classifier.cpu()(batch), trained(batch), rtol=0, atol=0)
    assert (opened.labels, opened.truncation) == (NAMES, Truncation(MAX_LENGTH))
    assert opened.execution.precision.dtype_name == "float32"
    assert not opened.classifier.training


def test_the_tokenizer_is_the_runs_own(tmp_path: Path) -> None:
    run, _ = tiny_run(tmp_path)
    before = open_run_classifier(run).tokenizer("goal coach")["input_ids"]
    file = tmp_path / "encoder" / "tokenizer.json"
    changed = json.loads(file.read_text(encoding="utf-8"))
    words = changed["model"]["vocab"]
    words["goal"], words["coach"] = words["coach"], words["goal"]
    file.write_text(json.dumps(changed), encoding="utf-8")
    assert open_run_classifier(run).tokenizer("goal coach")["input_ids"] == before


def test_an_encoder_with_other_weights_is_rejected(tmp_path: Path) -> None:
    run, _ = tiny_run(tmp_path)
    shutil.rmtree(tmp_path / "encoder")
    tiny_encoder(tmp_path / "encoder", seed=1)
    with pytest.raises(BadInput, match=r"model\.safetensors: expected the weights that .* was trained on"):
        open_run_classifier(run)


def test_the_error_names_every_changed_weight_file_and_no_other_file() -> None:
    run = RunDir("run")
    fetched = SimpleNamespace(
        path=Path("encoder"),
        sha256={"a.safetensors": "1", "b.safetensors": "changed", "new.bin": "3", "README.md": "changed"},
    )
    recorded = {"a.safetensors": "1", "b.safetensors": "2", "gone.bin": "4", "README.md": "5"}
    with pytest.raises(BadInput) as caught:
        check_same_weights(run, recorded, fetched)
    assert [Path(problem.where).name for problem in caught.value.problems] == [
        "b.safetensors",
        "gone.bin",
        "new.bin",
    ]
    check_same_weights(run, fetched.sha256 | {"README.md": "5"}, fetched)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("adapter", "adapter: expected a folder of every finished run, found no such folder.*`resume`"),
        ("tokenizer", "tokenizer: expected a folder of every finished run"),
        ("recipe.yaml", r"recipe\.yaml: expected the recipe of a run, found no such file"),
    ],
)
def test_the_error_names_a_missing_part(tmp_path: Path, part: str, message: str) -> None:
    run, _ = tiny_run(tmp_path)
    place = run.path / part
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(BadInput, match=message):
        open_run_classifier(run)


@pytest.mark.parametrize("key", ["labels", "encoder"])
def test_the_error_names_a_missing_entry_of_the_manifest(tmp_path: Path, key: str) -> None:
    run, _ = tiny_run(tmp_path)
    manifest = run.read_manifest()
    del manifest[key]
    run.manifest.write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=rf"manifest\.json: expected an entry '{key}', found no such entry"):
        open_run_classifier(run)


def test_labels_other_than_the_adapters_are_rejected(tmp_path: Path) -> None:
    run, _ = tiny_run(tmp_path)
    rewrite(run, labels=[*NAMES, "a fifth"])
    with pytest.raises(BadInput, match="a fifth"):
        open_run_classifier(run)


def test_the_error_names_a_missing_encoder(tmp_path: Path) -> None:
    run, _ = tiny_run(tmp_path)
    shutil.rmtree(tmp_path / "encoder")
    with pytest.raises(BadInput, match="encoder"):
        open_run_classifier(run)


@pytest.mark.parametrize("token_id", [999_999_999, 64])
def test_a_tokenizer_with_ids_of_another_encoder_is_one_message(token_id: int, tmp_path: Path) -> None:
    """Such an id would be read from the memory behind the embeddings."""
    run, trained = tiny_run(tmp_path)
    token_id = max(token_id, trained.vocabulary)
    file = run.tokenizer / "tokenizer.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    values["model"]["vocab"]["goal"] = token_id
    file.write_text(json.dumps(values), encoding="utf-8")
    opened = open_run_classifier(run)
    assert opened.probabilities(["coach"], 8).shape == (1, 4)
    with pytest.raises(
        BadInput, match=rf"the tokenizer: expected token ids from 0 to .*, found id {token_id}"
    ):
        opened.probabilities(["coach goal"], 8)


def test_a_maximum_length_beyond_the_positions_is_refused(tmp_path: Path) -> None:
    run, trained = tiny_run(tmp_path)
    text = run.recipe.read_text(encoding="utf-8")
    run.recipe.write_text(text.replace(f"max_length: {MAX_LENGTH}", "max_length: 8192"), encoding="utf-8")
    with pytest.raises(BadInput, match=f"at most the {trained.longest} tokens .* found 8192"):
        open_run_classifier(run)
