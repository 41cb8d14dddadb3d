"""The benchmarks' harness, offline on a tiny encoder: rows, ratios, failures; not speed."""

import csv
import json
import sys
from pathlib import Path

import pytest
from benchmarks import harness, inference, training
from benchmarks.harness import Setting, Variant, compare, render, with_weights
from benchmarks.texts import SPREAD, read_texts

from tiny import LABELS, tiny_encoder, tiny_texts

KEYS = {"name", "ratio", "ratio_to", "samples_per_s", "samples_per_s_rounds", "peak_rss_mb", "others"}


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("benchmarks")
    texts, labels = tiny_texts(2 * SPREAD * 2)
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *zip(texts, (LABELS[n] for n in labels), strict=True)])
    return Setting(folder, tiny_encoder(folder / "encoder"), batch_size=2, steps=2, max_length=32)


def test_all_variants_run_the_same_texts_and_warm_up_with_the_longest(setting):
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


def test_rows_have_ratio_speed_and_memory_and_a_failure_stops_nobody_else(setting, capfd, monkeypatch):
    monkeypatch.setattr(harness, "PATIENCE_S", 0)
    variants = {
        "reference_12": training.VARIANTS["reference_12"],
        "broken": Variant("benchmarks.absent:open_training"),
        "usual": training.VARIANTS["usual"],
    }
    reference, broken, usual = compare(variants, setting, rounds=2)
    assert set(usual) == {*KEYS, "tokens_per_text"}
    assert set(reference) == {*KEYS, "tokens_per_text", "precision", "execution"}
    assert [row["name"] for row in (reference, broken, usual)] == list(variants)
    assert usual["ratio"] == 1 and reference["ratio_to"] == "usual"
    speeds = reference["samples_per_s_rounds"]
    assert len(speeds) == 2 and min(speeds) <= reference["samples_per_s"] <= max(speeds)
    assert 50 < usual["peak_rss_mb"] < 5000
    assert set(broken) == {"name", "error"} and "benchmarks.absent" in broken["error"]
    lines = render([reference, broken, usual]).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == list(variants)
    assert "broken: ModuleNotFoundError" in capfd.readouterr().err


def test_the_command_line_chooses_variants_and_writes_rows(setting, tmp_path, monkeypatch, capsys):
    for script in (training, inference):
        assert "usual" in script.VARIANTS and not script.VARIANTS.keys() & script.CHOICES.keys()
    seen = {}
    monkeypatch.setattr(
        harness,
        "compare",
        lambda variants, setting, rounds: seen.update(variants) or [{"name": "usual", "error": "x"}],
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


def test_an_encoder_without_weights_gets_random_ones_in_a_folder_of_its_own(setting, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((setting.encoder / name).read_bytes())
    with with_weights(tmp_path) as made:
        assert made != tmp_path and (made / "model.safetensors").is_file()
        assert (made / "tokenizer.json").is_file()
    assert not made.exists() and not (tmp_path / "model.safetensors").exists()
    with with_weights(setting.encoder) as same:
        assert same == Path(setting.encoder)
