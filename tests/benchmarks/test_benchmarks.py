"""Tests of the benchmark harness on a tiny encoder: rows, ratios and failures, not speed."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import harness, inference, library, training
from benchmarks.encoders import SHAPES, with_weights
from benchmarks.harness import compare, render
from benchmarks.isolated import ProcessFailed, run_isolated
from benchmarks.peers.lora import adapted, classifier
from benchmarks.texts import SPREAD, read_texts
from benchmarks.variants import Setting, Variant
from submillion.budget.count import count
from submillion.sources.folder import read_config
from support.tiny import LABELS, shared_encoder, tiny_encoder, tiny_texts

KEYS = {
    "name",
    "ratio",
    "ratio_to",
    "samples_per_s",
    "samples_per_s_rounds",
    "samples_per_cpu_s",
    "peak_rss_mb",
    "others",
}


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("benchmarks")
    texts, labels = tiny_texts(2 * SPREAD * 2)
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *zip(texts, (LABELS[n] for n in labels), strict=True)])
    return Setting(folder, tiny_encoder(folder / "encoder"), batch_size=2, steps=2, max_length=32)


def test_variants_run_the_same_texts_and_warm_up_with_the_longest(setting):
    texts = read_texts(setting)
    grouped, mixed = (
        sorted(row for batch in batches for row in batch) for batches in (texts.grouped, texts.mixed)
    )
    assert grouped == mixed == [2, 3, 4, 5]
    assert texts.longest == [0, 1]
    assert max(map(len, texts.ids)) == len(texts.ids[0])
    wide = texts.padded(texts.grouped[1], 32)
    assert wide["input_ids"].shape == (2, 32)
    assert wide["attention_mask"].sum().item() == sum(len(texts.ids[row]) for row in texts.grouped[1])
    assert texts.padded(texts.longest)["input_ids"].shape[1] == len(texts.ids[0])


def test_lengths_cut_texts_before_their_last_token(setting):
    whole, cut = read_texts(setting), read_texts(replace(setting, lengths=(4, 5)))
    assert {len(ids) for ids in cut.ids} == {4, 5}
    assert {ids[-1] for ids in cut.ids} == {ids[-1] for ids in whole.ids}


def test_rows_have_ratio_speed_and_memory_and_a_failure_does_not_stop_the_others(setting, capfd):
    variants = {
        "reference_12": training.VARIANTS["reference_12"],
        "broken": Variant("benchmarks.absent:open_training"),
        "usual": replace(training.VARIANTS["usual"], base="usual_of_another_encoder"),
    }
    reference, broken, usual = compare(variants, setting, rounds=2, patience_s=0)
    assert set(usual) == {*KEYS, "tokens_per_text"}
    assert set(reference) == {*KEYS, "tokens_per_text", "precision", "execution"}
    assert [row["name"] for row in (reference, broken, usual)] == list(variants)
    assert reference["ratio_to"] == "usual"
    # A variant whose base does not run is compared with the first variant.
    assert usual["ratio_to"] == "reference_12"
    rounds = zip(usual["samples_per_s_rounds"], reference["samples_per_s_rounds"], strict=True)
    ratios = [speed / base_speed for speed, base_speed in rounds]
    assert usual["ratio"] == pytest.approx(sum(ratios) / 2)
    assert usual["samples_per_cpu_s"] > 0
    speeds = reference["samples_per_s_rounds"]
    assert len(speeds) == 2 and min(speeds) <= reference["samples_per_s"] <= max(speeds)
    assert 50 < usual["peak_rss_mb"] < 5000
    assert set(broken) == {"name", "error"} and "benchmarks.absent" in broken["error"]
    lines = render([reference, broken, usual]).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == list(variants)
    assert "broken: ModuleNotFoundError" in capfd.readouterr().err


def test_the_command_line_selects_variants_and_writes_rows(setting, tmp_path, monkeypatch, capsys):
    for script in (training, inference):
        assert "usual" in script.VARIANTS and not script.VARIANTS.keys() & script.CHOICES.keys()
    seen = {}
    monkeypatch.setattr(
        harness,
        "compare",
        lambda variants, setting, rounds, patience_s: (
            seen.update(variants) or [{"name": "usual", "error": "x"}]
        ),
    )
    places = ["--data", str(setting.data), "--encoder", str(setting.encoder)]
    monkeypatch.setattr(sys, "argv", ["training", *places, "--json", str(tmp_path / "rows.json")])
    assert harness.main("", training.VARIANTS, training.CHOICES) == 1
    assert list(seen) == list(training.VARIANTS)
    assert json.loads((tmp_path / "rows.json").read_text())[0]["name"] == "usual"
    monkeypatch.setattr(sys, "argv", ["training", *places, "--only", "usuall"])
    with pytest.raises(SystemExit):
        harness.main("", training.VARIANTS, training.CHOICES)
    assert "usuall is not among" in capsys.readouterr().err


def test_an_encoder_without_weights_gets_random_ones_in_a_temporary_folder(setting, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((setting.encoder / name).read_bytes())
    with with_weights(tmp_path) as copy:
        assert copy != tmp_path and (copy / "model.safetensors").is_file()
        assert (copy / "tokenizer.json").is_file()
    assert not copy.exists() and not (tmp_path / "model.safetensors").exists()
    with with_weights(setting.encoder) as same:
        assert same == Path(setting.encoder)


def test_each_variant_is_compared_with_the_usual_script_of_its_encoder_and_adapters():
    shapes = {**training.MODERNBERT, **training.DEBERTA}
    variants = {**training.VARIANTS, **training.ENCODERS, **shapes, **training.CHOICES}
    for name, variant in variants.items():
        usual = variants[variant.base]
        assert usual.opener == training.USUAL and usual.encoder == variant.encoder, name
        for option in ("all_linear", "rank"):
            assert variant.options.get(option) == usual.options.get(option), name


@pytest.mark.parametrize("family", ["roberta", "mpnet", "bert"])
@pytest.mark.parametrize("all_linear", [False, True])
def test_the_peers_train_the_same_parameters_as_submillion(family, all_linear):
    encoder = shared_encoder(family)
    setting = Setting(encoder, encoder)
    recipe = library.recipe_of(setting, "auto", all_linear)
    peer = adapted(classifier(encoder), all_linear)
    ours = count(
        read_config(encoder, str(encoder)), len(LABELS), recipe.lora, recipe.head, recipe.budget
    ).trainable
    assert sum(value.numel() for value in peer.parameters() if value.requires_grad) == ours
    ranks = {module.r["default"] for module in peer.modules() if hasattr(module, "lora_A")}
    assert ranks == {recipe.lora.r} == {6 if all_linear else 8}


@pytest.mark.parametrize(
    ("variants", "rank", "trainable"), [(training.MODERNBERT, 4, 847_876), (training.DEBERTA, 12, 998_404)]
)
def test_the_adapters_on_a_shape_fill_the_million(variants, rank, trainable):
    setting = Setting(Path("data"), Path("encoder"))
    (shape,) = {variant.encoder for variant in variants.values()}
    counts = []
    for each in (rank, rank + 1):
        recipe = library.recipe_of(setting, "packed", all_linear=True, rank=each)
        counts.append(count(SHAPES[shape], len(LABELS), recipe.lora, recipe.head, recipe.budget).trainable)
    assert counts[0] == trainable <= 1_000_000 < counts[1]
    assert {variant.options["rank"] for variant in variants.values()} == {rank}


@pytest.mark.parametrize("family", ["modernbert", "deberta-v2"])
def test_the_peers_adapt_the_same_matrices_of_a_shape_as_submillion(family):
    encoder = shared_encoder(family)
    recipe = library.recipe_of(Setting(encoder, encoder), "auto", all_linear=True, rank=4)
    peer = adapted(classifier(encoder), True, 4)
    config = read_config(encoder, str(encoder))
    ours = count(config, len(LABELS), recipe.lora, recipe.head, recipe.budget).trainable
    assert sum(value.numel() for value in peer.parameters() if value.requires_grad) == ours


def test_inference_merges_the_adapters_if_requested(setting, monkeypatch):
    real, requests, results = library.choose_execution, [], []
    monkeypatch.setattr(
        library, "choose_execution", lambda *args, **kwargs: requests.append(kwargs) or real(*args, **kwargs)
    )
    predict = library.predict_logits
    monkeypatch.setattr(
        library, "predict_logits", lambda *args, **kwargs: results.append(predict(*args, **kwargs))
    )
    for merged in (False, True):
        opened = library.open_inference(setting, "auto", merged=merged)
        opened.run_batch(opened.batches[0])
    assert requests == [{"merged": False}, {"merged": True}]
    separate, merged_in = results
    assert separate.shape == (4, len(LABELS)) and np.isfinite(separate).all()
    assert (
        np.abs(separate - merged_in).max() <= 0.05 * np.abs(separate).max()
    )  # B is zero before training, so the logits are equal


def test_an_isolated_function_returns_its_result_or_raises_the_reason():
    assert run_isolated(max, 3, 4) == 4
    with pytest.raises(ProcessFailed, match="ValueError: invalid literal"):
        run_isolated(int, "x")
    with pytest.raises(ProcessFailed, match="ended with 7"):
        run_isolated(__import__("os")._exit, 7)
