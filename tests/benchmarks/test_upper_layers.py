"""Tests of the studies of adapters, ensembles and unbalanced classes: rows, states, steps, tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig

from benchmarks import adapters, ensembles, imbalance, wise_ft
from benchmarks.accuracy.sets import LabelledSet, Rows
from benchmarks.cells import append_cell, known, paired
from benchmarks.study import Sample, development, drawn
from benchmarks.upper_layers import BATCH, Training, UpperLayers, batches, rate_of, train_adapters
from support.tiny import LABELS, shared_encoder, tiny_encoder, tiny_texts


@pytest.fixture(scope="module")
def upper() -> UpperLayers:
    return UpperLayers(str(shared_encoder("bert", layers=3)), layers=2, max_tokens=10)


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_states_continue_to_the_features_of_the_whole_encoder(kind: str) -> None:
    upper = UpperLayers(str(shared_encoder(kind, layers=3)), layers=2, max_tokens=10)
    assert all(isinstance(upper.copy().get_submodule(name), torch.nn.Linear) for name in upper.names())
    texts, labels = tiny_texts(5)
    part = upper.states(Rows(texts, labels))
    inputs = upper._tokenizer(texts, truncation=True, max_length=10, padding=True, return_tensors="pt")
    with torch.inference_mode():
        last = upper.copy()(**inputs).last_hidden_state
    real = inputs["attention_mask"].unsqueeze(2)
    expected = (last * real).sum(dim=1) / real.sum(dim=1)
    np.testing.assert_allclose(upper.features(part), expected, atol=1e-5)


def test_without_a_step_the_answer_is_the_probe_and_training_fits_the_texts(upper: UpperLayers) -> None:
    texts, labels = tiny_texts(24)
    part = upper.states(Rows(texts, labels))
    classes = max(labels) + 1
    config = LoraConfig(r=2, lora_alpha=4, target_modules=upper.names())
    before, after = (
        train_adapters(upper, config, part, part, classes, Training(steps, 1e-2, seed=0)) for steps in (0, 20)
    )
    losses = [
        torch.nn.functional.cross_entropy(torch.from_numpy(answer.logits), torch.tensor(labels)).item()
        for answer in (before, after)
    ]
    assert losses[1] < losses[0] / 2
    head = (upper.hidden + 1) * classes
    assert before.parameters == after.parameters > head
    weighted = train_adapters(upper, config, part, part, classes, Training(0, 1e-2, 0, balanced=True))
    assert not np.allclose(weighted.logits, before.logits)


def test_every_method_begins_as_the_encoder(tmp_path: Path) -> None:
    # Blocks of OFT are 64 wide.
    encoder = tiny_encoder(tmp_path / "encoder", "bert", layers=2, hidden=64)
    wide = UpperLayers(str(encoder), layers=1, max_tokens=10)
    texts, labels = tiny_texts(8)
    part = wide.states(Rows(texts, labels))
    answers = [
        train_adapters(wide, config(wide.names()), part, part, 4, Training(0, 1e-3, seed=0)).logits
        for config in adapters.METHODS.values()
    ]
    for logits in answers[1:]:
        np.testing.assert_allclose(logits, answers[0], atol=1e-5)


def test_shares_of_a_training_lie_between_the_probe_and_the_whole(upper: UpperLayers) -> None:
    texts, labels = tiny_texts(24)
    part, classes = upper.states(Rows(texts, labels)), max(labels) + 1
    config = LoraConfig(r=2, lora_alpha=4, target_modules=upper.names())
    shares = Training(6, 1e-2, seed=0, shares=(0.0, 0.5))
    answer = train_adapters(upper, config, part, part, classes, shares)
    probe = train_adapters(upper, config, part, part, classes, Training(0, 1e-2, seed=0))
    assert np.array_equal(answer.interpolated[0.0], probe.logits)
    whole = train_adapters(upper, config, part, part, classes, Training(6, 1e-2, seed=0))
    assert np.array_equal(answer.logits, whole.logits)
    half = answer.interpolated[0.5]
    change = np.linalg.norm(answer.logits - probe.logits)
    assert 0 < np.linalg.norm(half - probe.logits) < change
    assert 0 < np.linalg.norm(half - answer.logits) < change


def test_a_study_of_shares_scores_probe_training_and_shares(upper: UpperLayers) -> None:
    texts, labels = tiny_texts(40)
    rows = Rows(texts, labels)
    sample = Sample(upper, tuple(LABELS), upper.states(rows), rows, seed=0, size=4)
    found = wise_ft.score(sample)
    settings = ("probe", "trained", "share 0.5", "share 0.75")
    assert list(found) == ["rows", *(f"{name}{figure}" for name in settings for figure in ("", ", macro F1"))]
    assert len(sample.train.states) == 16
    cells = [
        {"set": "r8", "encoder": "minilm", "size": size} | {name: str(value) for name, value in found.items()}
        for size in "48"
    ]
    for cell in cells:
        cell |= {"trained": "0.9", "probe": "0.8", "trained, macro F1": "0.5", "probe, macro F1": "0.6"}
    lines = list(wise_ft.table(cells))
    assert lines[2].startswith("| R8, 4, minilm | 90.0 | -10.0 (1) | +10.0 (1) |")
    assert lines[-1].startswith("| all of them | 90.0 | -10.0")


def test_every_row_comes_up_before_any_does_again() -> None:
    seen = list(batches(BATCH * 2, 4, np.random.default_rng(0)))
    for epoch in (seen[:2], seen[2:]):
        assert sorted(np.concatenate(epoch)) == list(range(BATCH * 2))
    assert [len(batch) for batch in batches(5, 3, np.random.default_rng(0))] == [5, 5, 5]


def test_the_rate_rises_to_its_peak_and_falls_to_nearly_nothing() -> None:
    share = rate_of(100)
    assert share(9) == 1.0
    assert share(0) == pytest.approx(0.1)
    assert share(99) == pytest.approx(1 / 90)


def test_development_rows_come_from_the_training_rows_alone() -> None:
    train = Rows([f"text {number}" for number in range(50)], [0, 1] * 25)
    data = LabelledSet("sms", ("a", "b"), train, Rows(["a test text"], [0]))
    groups, others = development(data, 10, 2)
    assert sorted(groups[0].texts + groups[1].texts + others.texts) == sorted(train.texts)


def test_samples_have_the_rows_of_each_class_and_follow_the_seed() -> None:
    labels = np.array([0, 1, 2] * 500)
    assert np.bincount(labels[drawn(labels, 16, 0)]).tolist() == [16, 16, 16]
    assert len(drawn(labels, 1_000, 0)) == 1_000
    assert drawn(labels, 16, 0).tolist() == drawn(labels, 16, 0).tolist() != drawn(labels, 16, 1).tolist()


def test_a_cell_is_known_once_it_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "cells.csv"
    assert not known(file, {"set": "r8"})
    append_cell(file, {"set": "r8", "seed": 1})
    append_cell(file, {"set": "r52", "seed": 2})
    assert known(file, {"set": "r8", "seed": 1})
    assert not known(file, {"set": "r8", "seed": 2})


def test_an_interval_is_students() -> None:
    assert paired([1.0]) == "+1.0 (1)"
    assert paired([1.0, 2.0, 3.0]) == "+2.0 ± 2.5 (3)"  # 4.303 * 1 / sqrt(3)


def test_tables_compare_within_a_seed() -> None:
    common = {"set": "r8", "size": "16", "parameters": "10", "seconds": "2", "rate": "0.001"}
    lora, other = adapters.LORA, "RoAd 4"
    cells = [
        common | {"method": lora, "seed": "0", "accuracy": "0.9"},
        common | {"method": other, "seed": "0", "accuracy": "0.8"},
        common | {"method": other, "seed": str(adapters.TUNING_SEED), "accuracy": "0.1"},
    ]
    assert list(adapters.table(cells))[-1] == "| R8, 16 | RoAd 4 | 10 | 0.001 | 80.0 | -10.0 (1) | 2 |"
    cells = [
        common | {"setting": ensembles.ONE, "members": "1", "seed": "0", "accuracy": "0.9"},
        common
        | {"setting": "average", "members": "3", "seed": "0", "accuracy": "0.95", "mean_of_members": "0.94"},
    ]
    last = list(ensembles.table(cells))[-1]
    assert last == "| R8, 16 | 3 adapters of rank 5, averaged | 10 | 95.0 | +5.0 (1) | +1.0 (1) |"
    common |= {"training_rows": "3000", "seed": "0", "passes": "2"}
    cells = [
        common | {"setting": imbalance.PLAIN, "accuracy": "0.9", "macro_f1": "0.5"},
        common | {"setting": "balanced", "accuracy": "0.8", "macro_f1": "0.7"},
    ]
    last = list(imbalance.table(cells))[-1]
    assert last == "| R8, 3,000 | balanced, 2 | 80.0 | -10.0 (1) | 70.0 | +20.0 (1) |"


@pytest.mark.parametrize("study", [adapters, ensembles, imbalance])
def test_no_cell_is_twice_in_a_committed_file(study: object) -> None:
    rows = adapters.read_cells(study.FILE)  # type: ignore[attr-defined]
    assert rows
    figures = {"accuracy", "mean_of_members", "macro_f1", "seconds", "processor", "commit"}
    cells = [tuple(value for name, value in row.items() if name not in figures) for row in rows]
    assert len(set(cells)) == len(cells)
