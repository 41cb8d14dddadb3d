"""The baseline "probe": features of the frozen encoder against transformers, with and without cached states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from submillion.assess.baselines import linear_probe
from submillion.assess.baselines.baseline import Fitted
from submillion.assess.baselines.frozen_encoder import FrozenEncoder
from submillion.assess.run_context import RunContext
from submillion.data.corpus import Corpus
from submillion.data.tokenizer import load_tokenizer
from submillion.errors import BadInput
from submillion.recipe import Recipe
from submillion.recipe_classifier import HeadRecipe
from submillion.run_format.manifest import FORMAT
from submillion.rundir import RunDir
from submillion.sources.fetch import fetch_encoder
from support.examined import split_of
from support.tiny import shared_encoder, tiny_encoder
from support.tiny_run import MAX_LENGTH, NAMES, encoder_entry

TEXTS = ["goal", "the coach of the season " * 8, "shares profit merger treaty", ""]
Made = Callable[..., RunContext]


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


def test_features_are_those_of_the_encoder_without_the_adapter(a_context: Made) -> None:
    context = a_context()
    source = str(context.run.located(context.manifest["encoder"]["source"]))
    rows = np.array([2, 0, 3])
    features = FrozenEncoder(context).features(TEXTS, rows)
    np.testing.assert_allclose(features, alone(source, TEXTS, MAX_LENGTH)[rows], atol=1e-5)


def test_the_probe_is_trained_on_train_and_chosen_on_validation(a_context: Made) -> None:
    found = linear_probe.fit(a_context())
    assert isinstance(found, Fitted)
    assert found.facts["parameters"] == 4 * 32 + 4
    assert (found.facts["trained_on"], found.facts["training_rows"]) == (["train"], 200)
    strength = found.facts["strength"]
    assert strength is not None and strength["chosen_on"] == "validation"
    best = max(step["accuracy"] for step in strength["ladder"])
    assert strength["value"] == next(step["value"] for step in strength["ladder"] if step["accuracy"] == best)
    # A random encoder still tells words apart.
    assert np.mean(found.predictions.predicted == found.predictions.labels) > 0.5
    second = linear_probe.fit(a_context())
    assert isinstance(second, Fitted)
    assert np.array_equal(second.predictions.probabilities, found.predictions.probabilities)


@pytest.mark.parametrize("normalize", [False, True])
def test_the_length_of_a_mean_counts_unless_the_head_of_the_run_normalizes(
    a_context: Made, monkeypatch: pytest.MonkeyPatch, normalize: bool
) -> None:
    features = FrozenEncoder.features

    def stretched(self: FrozenEncoder, texts: list[str], rows: np.ndarray, **options: bool) -> np.ndarray:
        found = features(self, texts, rows, **options)
        return found * np.linspace(1, 9, len(found), dtype=np.float32)[:, None]

    answers = []
    for patched in (False, True):
        if patched:
            monkeypatch.setattr(FrozenEncoder, "features", stretched)
        context = a_context()
        head = HeadRecipe(kind="linear", pooling="mean", normalize=normalize)
        context.__dict__["recipe"] = context.recipe.model_copy(update={"head": head})
        found = linear_probe.fit(context)
        assert isinstance(found, Fitted)
        answers.append(found.predictions.probabilities)
    difference = np.abs(answers[0] - answers[1]).max()
    assert (difference < 0.02) if normalize else (difference > 0.2)


def test_another_encoder_is_refused(a_context: Made, run: RunDir) -> None:
    manifest = run.read_manifest()
    other = manifest["encoder"] | {"sha256": dict.fromkeys(manifest["encoder"]["sha256"], "ab" * 32)}
    run.update_manifest(encoder=other)
    try:
        with pytest.raises(BadInput, match="the weights that"):
            FrozenEncoder(a_context())
    finally:
        run.update_manifest(encoder=manifest["encoder"])


def test_one_class_or_an_interrupted_training_has_no_probe(a_context: Made, run: RunDir) -> None:
    context = a_context()
    corpus = context.corpus
    train = split_of("train", ["goal", "coach"], [1, 1])
    alike = RunContext(run, corpus=Corpus(train, corpus.validation, corpus.test, NAMES, {}))
    assert linear_probe.fit(alike) == "Linear probe: all training rows have the same class."
    context.manifest["training"] = {"interrupted": True}
    assert "when the interrupted training is complete" in str(linear_probe.fit(context))


def an_encoder(
    home: Path, folder: Path, cached: bool, execution: str = "auto"
) -> tuple[FrozenEncoder, np.ndarray]:
    """Return a run's frozen encoder whose adapters are in the top layer, and the features of TEXTS without it."""
    run = RunDir.create(home / f"run-{cached}")
    load_tokenizer(folder).save_pretrained(run.tokenizer)
    fields = {
        "encoder.source": str(folder),
        "data.max_length": 32,
        "lora.layers": "top-1",
        "train.precision": "float32",
        "train.execution": execution,
        "train.prefix_cache": str(cached).lower(),
    }
    run.write_text(
        run.recipe, Recipe.load("r8", [f"{name}={value}" for name, value in fields.items()]).to_yaml()
    )
    recorded = encoder_entry(str(folder), fetch_encoder(str(folder)).sha256)
    run.write_json(run.manifest, {"format": FORMAT, "labels": NAMES, "encoder": recorded, "seed": 1})
    return FrozenEncoder(RunContext(run)), alone(str(folder), TEXTS, 32)


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "distilbert", "mpnet"])
def test_families_with_their_own_attention_give_their_last_hidden_states_with_and_without_cached_states(
    tmp_path: Path, family: str
) -> None:
    for cached in (False, True):
        encoder, expected = an_encoder(tmp_path, shared_encoder(family), cached)
        features = encoder.features(TEXTS, np.arange(4))
        np.testing.assert_allclose(features, expected, atol=1e-5, err_msg=f"{cached=}")


def test_the_kernels_give_the_same_features_from_cached_states(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "encoder", hidden=64)
    for cached in (False, True):
        encoder, expected = an_encoder(tmp_path, folder, cached, execution="packed")
        features = encoder.features(TEXTS, np.array([3, 1]))
        np.testing.assert_allclose(features, expected[[3, 1]], atol=1e-4, err_msg=f"{cached=}")
