"""The part "probe": features of the frozen encoder against transformers, and changes that recheck detects."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from submillion.assess.baselines import frozen_encoder, linear_probe
from submillion.assess.run_context import RunContext
from submillion.data.corpus import Corpus
from submillion.errors import BadInput
from submillion.model.loading import load_encoder
from submillion.model.precision import choose_precision
from submillion.run_format.predictions import Predictions
from support.examined import again, examined, split_of, spread
from support.tiny import FAMILY_NAMES, LABELS, shared_encoder, tiny_texts, tiny_tokens
from support.tiny_run import MAX_LENGTH, NAMES

TEXTS = ["goal", "the coach of the season " * 8, "shares profit merger treaty", ""]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    """A run with a random adapter, scored on 40 test rows, every fourth of them wrong."""
    home = tmp_path_factory.mktemp("run")
    run = examined(home, (["goal"], [0]), spread([0], [0.9])).run
    test = tiny_texts(40, seed=2)
    predicted = [(label + (row % 4 == 0)) % 4 for row, label in enumerate(test[1])]
    made = again(run, test, spread(predicted, [0.8] * 40))
    train, validation = (
        split_of("train", *tiny_texts(160, seed=0)),
        split_of("validation", *tiny_texts(40, seed=1)),
    )
    return RunContext(run, corpus=Corpus(train, validation, made.corpus.test, NAMES, {}))


@pytest.fixture(scope="module")
def found(context: RunContext) -> dict[str, Any]:
    return linear_probe.analyse(context)


def alone(folder: str, texts: list[str], max_length: int) -> np.ndarray:
    """Return the mean over tokens of the last hidden state, text by text, without padding."""
    encoder, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    means = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        means.append(states[0].mean(dim=0).numpy())
    return np.array(means)


def test_features_are_those_of_the_encoder_without_the_adapter(context: RunContext) -> None:
    source = context.manifest["encoder"]["source"]
    features = frozen_encoder.frozen_encoder(context)(TEXTS)
    np.testing.assert_allclose(features, alone(source, TEXTS, MAX_LENGTH), atol=1e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_gives_its_last_hidden_states(family: str) -> None:
    folder = shared_encoder(family)
    encoder = load_encoder(folder, LABELS, family).model.base_model.eval()
    features = frozen_encoder._means(
        encoder, tiny_tokens(folder, TEXTS), 2, choose_precision("float32"), False
    )
    np.testing.assert_allclose(features, alone(str(folder), TEXTS, 32), atol=1e-5)


def test_the_probe_is_trained_on_train_and_chosen_on_validation(
    context: RunContext, found: dict[str, Any]
) -> None:
    entry = found["baselines"]["probe"]
    assert entry["parameters"] == 4 * 32 + 4
    assert (entry["trained_on"], entry["training_rows"]) == (["train"], 160)
    ladder = entry["strength"]["ladder"]
    assert [step["C"] for step in ladder] == list(linear_probe.STRENGTHS)
    best = max(step["accuracy"] for step in ladder)
    assert entry["strength"]["C"] == next(step["C"] for step in ladder if step["accuracy"] == best)
    saved = context.run.load_predictions("test", baseline="probe")
    assert entry["accuracy"]["value"] == np.mean(saved.predicted == saved.labels)
    assert entry["accuracy"]["value"] > 0.5  # a random encoder still tells words apart
    assert found["verdict"]["baseline"] == "probe"
    assert "linear probe: " in found["verdict"]["sentence"]
    assert found["run"]["accuracy"]["value"] == 30 / 40


def test_analyse_and_recheck_give_the_same(context: RunContext, found: dict[str, Any]) -> None:
    assert linear_probe.recheck(context, json.loads(json.dumps(found))) == found
    second = linear_probe.analyse(context)
    for key in ("fit_seconds", "predict_seconds"):
        second["baselines"]["probe"][key] = found["baselines"]["probe"][key]
    assert second == found


def test_recheck_detects_a_changed_answer(context: RunContext, found: dict[str, Any]) -> None:
    file = context.run.prediction_file("test", baseline="probe")
    before = file.read_bytes()
    saved = context.run.load_predictions("test", baseline="probe")
    saved.probabilities[3] = np.roll(saved.probabilities[3], 1)
    context.run.save_predictions(
        "test",
        Predictions.of(saved.ids, saved.text_sha256, saved.labels, saved.probabilities, NAMES),
        "probe",
    )
    assert (
        linear_probe.recheck(context, found)["baselines"]["probe"]["accuracy"]
        != found["baselines"]["probe"]["accuracy"]
    )
    file.write_bytes(before)


def test_another_encoder_is_refused(context: RunContext) -> None:
    manifest = context.run.read_manifest()
    other = manifest["encoder"] | {"sha256": dict.fromkeys(manifest["encoder"]["sha256"], "ab" * 32)}
    context.run.update_manifest(encoder=other)
    try:
        with pytest.raises(BadInput, match="the weights that"):
            frozen_encoder.frozen_encoder(RunContext(context.run))
    finally:
        context.run.update_manifest(encoder=manifest["encoder"])


def test_one_class_has_no_probe(context: RunContext) -> None:
    corpus = context.corpus
    train = split_of("train", ["goal", "coach"], [1, 1])
    alike = RunContext(context.run, corpus=Corpus(train, corpus.validation, corpus.test, NAMES, {}))
    file = context.run.prediction_file("test", baseline="probe")
    before = file.read_bytes()
    found = linear_probe.analyse(alike)
    assert (found["baselines"], found["verdict"]) == ({}, None)
    assert "all training rows have the same class" in found["absent"]
    assert linear_probe.recheck(alike, found) == found
    file.write_bytes(before)
