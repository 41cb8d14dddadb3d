"""Classifiers of other programs become runs: the same function as with plain peft, counted and checked, or refused."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import submillion as sm
from submillion import adoption_subject
from submillion.assess import registry
from submillion.cli import app
from submillion.errors import BadInput, OverBudget, Problem
from submillion.notices import collected, collecting
from submillion.rundir import RunDir
from submillion.ship.export.forms import chosen_forms
from submillion.ship.serve.models import open_runs
from submillion.ship.serve.options import ServeOptions
from support.foreign import foreign_adapter, labelled_file, plain_logits
from support.server import running_in_thread
from support.tiny import LABELS, shared_encoder, tiny_texts

IDS = torch.tensor([[2, 9, 14, 33, 3], [2, 44, 50, 17, 3]])
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank and alpha by pattern, rsLoRA": {
        "rank_pattern": {r"layer.1.attention.self.query": 2, r".*\.0\..*value": 8},
        "alpha_pattern": {r"layer\.1\..*query": 32},
        "use_rslora": True,
    },
    "DoRA on one layer, biases": {"use_dora": True, "layers_to_transform": [1], "bias": "lora_only"},
    "every linear layer but one": {"target_modules": "all-linear", "exclude_modules": ["output.dense"]},
    "trained norms": {"modules_to_save": ["classifier", "LayerNorm"]},
    "biases alone": {"target_modules": "dummy-target-modules", "bias": "all"},
    "a pattern, no task": {
        "task_type": None,
        "target_modules": r".*layer\.(0|1)\..*(query|key)",
        "modules_to_save": ["classifier"],
    },
}


@pytest.fixture(scope="module")
def encoder() -> Path:
    return shared_encoder("roberta")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """A folder with an adapter and labelled rows."""
    home = tmp_path_factory.mktemp("foreign")
    foreign_adapter(home / "adapter", encoder)
    labelled_file(home / "test.csv")
    return home


@pytest.fixture(scope="module")
def run(home: Path, encoder: Path) -> sm.Run:
    """The adapter of `home`, adopted and evaluated."""
    return sm.adopt(
        home / "adapter", home / "run", encoder=encoder, labels=LABELS, data=home / "test.csv", quiet=True
    )


def copied(home: Path, folder: Path) -> Path:
    shutil.copytree(home / "adapter", folder)
    return folder


def changed_settings(folder: Path, **settings: Any) -> Path:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_an_adopted_adapter_gives_the_logits_of_the_original(
    kind: str, tmp_path: Path, encoder: Path
) -> None:
    original = foreign_adapter(tmp_path / "adapter", encoder, **KINDS[kind])
    run = sm.adopt(original, tmp_path / "run", encoder=encoder, labels=LABELS, quiet=True)
    expected = plain_logits(original, encoder, IDS)
    assert torch.allclose(plain_logits(run.path / "adapter", encoder, IDS), expected, atol=1e-5)
    tokens = sum(value.numel() for value in load_file(original / "adapter_model.safetensors").values())
    counted = RunDir(run.path).read_manifest()["budget"]
    assert counted["trainable"] == tokens == sum(counted["parts"].values())


def test_parts_of_the_count(tmp_path: Path, encoder: Path) -> None:
    settings = {"modules_to_save": ["classifier", "LayerNorm"], "layers_to_transform": [1]}
    original = foreign_adapter(tmp_path / "adapter", encoder, **settings)
    run = sm.adopt(original, tmp_path / "run", encoder=encoder, labels=LABELS, quiet=True)
    budget = RunDir(run.path).read_manifest()["budget"]
    assert budget["parts"]["lora.query"] == 4 * (32 + 32)
    assert budget["parts"]["head.output"] == 32 * 4 + 4
    assert any(part.startswith("module.") and "LayerNorm" in part for part in budget["parts"])
    assert budget["by_layer"][0]["parts"].keys().isdisjoint({"lora.query"})


def test_the_run_is_scored_reported_and_verified(run: sm.Run) -> None:
    assert run.status == "complete"
    assert run.metrics["test"]["rows"] == 40
    verdict = sm.verify(run, full=True)
    assert verdict.holds, verdict.render()
    strengths = {check.name: check.strength for check in verdict.checks}
    assert strengths["predictions"] == "predicted again"
    assert strengths["adapter"] == "recomputed"
    assert strengths["training"] == "not checked"


def test_the_run_verifies_wherever_its_files_were_named_from(
    home: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home, tmp_path / "home", ignore=shutil.ignore_patterns("run"))
    shutil.copytree(encoder, tmp_path / "home" / "encoder")
    monkeypatch.chdir(tmp_path / "home")
    sm.adopt("adapter", "adopted", encoder="encoder", labels=LABELS, data="test.csv", quiet=True)
    named = RunDir("adopted").read_manifest()["encoder"]
    assert (named["source"], named["name"]) == ("../encoder", "../encoder")
    verdict = sm.verify("adopted", rows=0)
    assert verdict.holds, verdict.render()
    monkeypatch.chdir(tmp_path)
    assert sm.verify("home/adopted", rows=0).holds


def test_a_run_that_is_not_scored_verifies(home: Path, encoder: Path, tmp_path: Path) -> None:
    bare = sm.adopt(home / "adapter", tmp_path / "run", encoder=encoder, labels=LABELS, quiet=True)
    verdict = sm.verify(bare)
    assert verdict.holds, verdict.render()
    (metrics,) = (check for check in verdict.checks if check.name == "metrics")
    assert (metrics.holds, metrics.found) == (None, "no split is scored")


def test_the_run_predicts_with_class_names_and_is_listed(run: sm.Run) -> None:
    texts, _ = tiny_texts(5)
    assert set(run.predict(texts)) <= set(LABELS)
    listed = CliRunner().invoke(app, ["runs", str(run.path)])
    assert "unknown" in listed.output


def test_the_run_is_a_fitted_estimator(run: sm.Run) -> None:
    texts = tiny_texts(4, seed=1)[0]
    one = sm.SubmillionClassifier.load(run.path)
    assert one.predict(texts).tolist() == run.predict(texts)


def test_what_is_not_known_is_called_unknown(run: sm.Run) -> None:
    card, page = (run.path / "README.md").read_text(), (run.path / "report.html").read_text()
    for text in (card, page):
        assert "Unknown: another program trained this adapter" in text
        assert "not complete" not in text
    assert "learning_rate" not in card and "seed unknown" in page
    assert not (run.path / "recipe.yaml").exists()
    with pytest.raises(BadInput, match="expected a run with a recipe, found an adopted one"):
        run.recipe  # noqa: B018
    with pytest.raises(BadInput, match="training rows are known, found an adopted one"):
        run.report(["noise"], quiet=True)
    with pytest.raises(BadInput, match="training rows are known, found an adopted one"):
        run.report(["all", "noise"], quiet=True)
    assert "noise" not in registry.possible_parts(adopted=True)


def test_a_changed_adapter_is_detected(run: sm.Run, tmp_path: Path) -> None:
    copy = RunDir(tmp_path / "copy")
    shutil.copytree(run.path, copy.path)
    file = copy.adapter / "adapter_model.safetensors"
    tensors = {name: value * 1.01 for name, value in load_file(file).items()}
    save_file(tensors, file, {"label_names": json.dumps(LABELS)})
    copy.seal(copy.adapter)
    manifest = copy.read_manifest()
    evaluated = manifest["evaluations"]["test"] | {"file": str(run.path.parent / "test.csv")}
    copy.update_manifest(evaluations={"test": evaluated})
    failing = {check.name for check in sm.verify(copy.path, full=True).failing}
    assert "predictions" in failing


def test_over_the_budget(home: Path, encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(OverBudget, match=r"over budget: the [\d,]+ values in .* Nothing was written"):
        sm.adopt(home / "adapter", tmp_path / "run", encoder=encoder, labels=LABELS, budget=1000, quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:3], "expected 4 names, in the order of the head's outputs, found 3"),
        (None, "expected 4 names, in the order of the head's outputs, found none"),
        (["a", "a", "b", "c"], "expected different names"),
        (["a", " a\u00a0", "b", "c"], "expected different names"),
        (["a", "b\x1b[2J", "c", "d"], "expected class names without control characters"),
    ],
)
def test_labels_that_do_not_fit_the_head(
    labels: list[str] | None, message: str, home: Path, encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        sm.adopt(home / "adapter", tmp_path / "run", encoder=encoder, labels=labels, quiet=True)


def test_labels_in_another_order_than_the_files_hold(home: Path, encoder: Path, tmp_path: Path) -> None:
    folder = copied(home, tmp_path / "adapter")
    names = {str(index): name for index, name in enumerate(LABELS)}
    (folder / "config.json").write_text(json.dumps({"id2label": names}))
    with pytest.raises(BadInput, match="expected the order that the adapter's files hold: World, Sports"):
        sm.adopt(folder, tmp_path / "run", encoder=encoder, labels=LABELS[::-1], quiet=True)
    with collecting(quiet=True):
        run = sm.adopt(folder, tmp_path / "run", encoder=encoder, quiet=True)
        assert [notice for notice in collected() if notice["code"] == "other_labels"] == []
    assert run.classes_.tolist() == LABELS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": "IA3"}, "found an adapter of kind IA3"),
        ({"task_type": "TOKEN_CLS"}, "expected SEQ_CLS"),
        ({"init_lora_weights": "pissa"}, "expected first values that do not change the encoder's weights"),
        ({"lora_bias": True}, "lora_bias: expected no value: an adapter with this setting cannot be adopted"),
        ({"target_modules": "(.*a)*b"}, "expected names of modules, or patterns"),
        ({"r": 2}, r"lora_A.weight' of shape \[2, 32\], found shape \[4, 32\]"),
        ({"target_modules": ["query", "key", "value"]}, "expected the tensor .*key.lora_A"),
    ],
)
def test_adapters_that_cannot_be_adopted_are_refused_by_name(
    settings: dict[str, Any], message: str, home: Path, encoder: Path, tmp_path: Path
) -> None:
    folder = changed_settings(copied(home, tmp_path / "adapter"), **settings)
    with pytest.raises(BadInput, match=message):
        sm.adopt(folder, tmp_path / "run", encoder=encoder, labels=LABELS, quiet=True)
    assert not (tmp_path / "run").exists()


def test_an_adapter_without_its_head(home: Path, encoder: Path, tmp_path: Path) -> None:
    folder = copied(home, tmp_path / "adapter")
    file = folder / "adapter_model.safetensors"
    save_file({name: value for name, value in load_file(file).items() if "classifier" not in name}, file)
    with pytest.raises(BadInput, match="expected the trained head of the classifier"):
        sm.adopt(folder, tmp_path / "run", encoder=encoder, labels=LABELS, quiet=True)


def test_a_head_that_was_random_in_training_and_never_saved(tmp_path: Path) -> None:
    encoder = shared_encoder("deberta-v2")
    settings = {"target_modules": ["query_proj", "value_proj"]}
    folder = foreign_adapter(tmp_path / "adapter", encoder, **settings)
    with pytest.raises(BadInput, match="They were random in its training and were not saved"):
        sm.adopt(folder, tmp_path / "run", encoder=encoder, labels=LABELS, quiet=True)


def test_pickled_tensors(home: Path, encoder: Path, tmp_path: Path) -> None:
    folder = copied(home, tmp_path / "adapter")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(BadInput, match="a pickle, which can run code"):
        sm.adopt(folder, tmp_path / "run", encoder=encoder, labels=LABELS, quiet=True)


def test_another_encoder_is_noticed(home: Path, tmp_path: Path) -> None:
    encoder = shared_encoder("roberta", dropout=0.0)
    with collecting(quiet=True):
        sm.adopt(home / "adapter", tmp_path / "run", encoder=encoder, labels=LABELS, quiet=True)
    notices = RunDir(tmp_path / "run").read_manifest()["notices"]
    assert "other_encoder" in {notice["code"] for notice in notices}


def test_an_encoder_that_is_named_anew_causes_no_warning_of_peft(
    home: Path, encoder: Path, tmp_path: Path
) -> None:
    folder = changed_settings(copied(home, tmp_path / "adapter"), base_model_name_or_path="/elsewhere/bert")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sm.adopt(folder, tmp_path / "run", encoder=encoder, labels=LABELS, quiet=True)
    assert not [str(one.message) for one in caught if "base_model_name_or_path" in str(one.message)]


def test_an_encoder_that_is_not_found_is_asked_for_by_the_option(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = changed_settings(copied(home, tmp_path / "adapter"), base_model_name_or_path="/elsewhere/bert")
    for revision in (None, "abc"):
        changed_settings(folder, revision=revision)
        with pytest.raises(
            BadInput, match="adapter names this encoder; name another place of it with `encoder`"
        ):
            sm.adopt(folder, tmp_path / "run", labels=LABELS, quiet=True)

    def unreachable(source: str, _: str | None) -> None:
        raise BadInput(Problem(source, "a model", "no answer", "Name a folder with @{encoder.source}."))

    monkeypatch.setattr(adoption_subject, "encoder_config", unreachable)
    changed_settings(folder, base_model_name_or_path="sentence-transformers/all-MiniLM-L6-v2", revision=None)
    for named in (None, "sentence-transformers/all-MiniLM-L6-v2"):
        remedy = "Name a folder with `encoder`. Or take the copy in the catalog: `encoder=minilm`.$"
        with pytest.raises(BadInput, match=remedy):
            sm.adopt(folder, tmp_path / "run", encoder=named, labels=LABELS, quiet=True)


def test_a_revision_of_an_encoder_that_has_none_is_noticed(home: Path, encoder: Path, tmp_path: Path) -> None:
    folder = copied(home, tmp_path / "adapter")
    changed_settings(folder, base_model_name_or_path=str(encoder), revision="abc")
    sm.adopt(folder, tmp_path / "run", labels=LABELS, quiet=True)
    notices = RunDir(tmp_path / "run").read_manifest()["notices"]
    assert "encoder_revision" in {notice["code"] for notice in notices}


def test_a_run_is_not_replaced_by_one_of_its_own_adapter(home: Path, encoder: Path, tmp_path: Path) -> None:
    sm.adopt(home / "adapter", tmp_path / "run", labels=LABELS, encoder=encoder, quiet=True)
    with pytest.raises(BadInput, match="found one that holds adapter, which the new one is made of"):
        sm.adopt(tmp_path / "run" / "adapter", tmp_path / "run", encoder=encoder, overwrite=True, quiet=True)


def test_on_the_command_line(home: Path, encoder: Path, tmp_path: Path) -> None:
    arguments = ["adopt", str(home / "adapter"), "--out", str(tmp_path / "run"), "--encoder", str(encoder)]
    done = CliRunner().invoke(app, [*arguments, "--labels", ",".join(LABELS), "--quiet"])
    assert done.exit_code == 0, done.output
    assert "not scored yet" in done.output
    assert (tmp_path / "run" / "report.html").is_file()


def test_files_of_other_rows_are_evaluated_as_usual(run: sm.Run, tmp_path: Path) -> None:
    scores = run.evaluate(labelled_file(tmp_path / "more.csv", 24), quiet=True)
    assert scores["rows"] == 24


def test_an_adopted_run_is_exported_with_unknown_data_and_verified(run: sm.Run, tmp_path: Path) -> None:
    exported = run.export("merged", tmp_path / "exported", quiet=True)
    entry = exported.record["files"]["model.safetensors"]
    assert (entry["argmax_agreement"], exported.record["run"]["data_licence"]) == (1.0, None)
    assert "- Data: not stated by its source." in (tmp_path / "exported" / "README.md").read_text(
        encoding="utf-8"
    )
    assert sm.verify(tmp_path / "exported", against=run).holds
    with pytest.raises(
        BadInput, match="a run whose training rows are known, to calibrate openvino-int8.* Name other forms"
    ):
        run.export(["merged", "openvino-int8"], tmp_path / "calibrated", quiet=True)


def test_all_forms_of_an_adopted_run_are_those_without_calibration() -> None:
    with collecting(quiet=True):
        chosen = [form.name for form in chosen_forms("all", training_texts=False)]
        assert [notice["forms"] for notice in collected()] == [["openvino-int8"]]
    assert "openvino-int8" not in chosen
    assert [*chosen, "openvino-int8"] == [form.name for form in chosen_forms("all")]


def test_an_adopted_run_is_served(run: sm.Run) -> None:
    from submillion.ship.serve.app import create_app

    options = ServeOptions(port=0)
    texts, _ = tiny_texts(3)
    with running_in_thread(create_app(open_runs([run.path]), options), options) as url:
        answers = httpx.post(f"{url}/predict", json={"inputs": [[text] for text in texts]}, timeout=20).json()
        pages = [httpx.get(f"{url}/{page}", timeout=20) for page in ("report", "card")]
    assert [answer[0]["label"] for answer in answers] == run.predict(texts)
    assert [page.status_code for page in pages] == [200, 200]


def test_an_adopted_run_suggests_texts_of_any_file(run: sm.Run, home: Path, tmp_path: Path) -> None:
    assert run.suggest(home / "test.csv", tmp_path / "next.csv", rows=3, quiet=True) == 3


def test_what_needs_predictions_names_the_data_that_an_adopted_run_lacks(
    run: sm.Run, home: Path, encoder: Path, tmp_path: Path
) -> None:
    bare = sm.adopt(home / "adapter", tmp_path / "run", encoder=encoder, labels=LABELS, quiet=True)
    with pytest.raises(
        BadInput, match="an adopted one that was not evaluated.*`submillion adopt .* --data FILE`"
    ):
        bare.report(["attribution"], quiet=True)
    with pytest.raises(BadInput, match="none: no file .* proven. .*`submillion adopt .* --data FILE`"):
        bare.export("merged", tmp_path / "exported", quiet=True)
    with pytest.raises(
        BadInput, match="saved predictions of 'validation', found none. Score all runs on one"
    ):
        bare.compare(run)
