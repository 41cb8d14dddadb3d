"""Integrated gradients: completeness for every family, special tokens without weight, and a linear model."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submillion.assess.attribution import integrated_gradients
from submillion.assess.attribution.integrated_gradients import Explainer, Weights, check_captum
from submillion.assess.run_context import RunContext
from submillion.errors import BadInput
from submillion.run_format.manifest import FORMAT
from support.tiny import FAMILY_NAMES, shared_encoder, tiny_recipe
from support.tiny_run import NAMES, encoder_entry, tiny_run

# Not importorskip: every process of the tests would import it.
pytestmark = pytest.mark.skipif(find_spec("captum") is None, reason="captum is not installed")

IDS = [0, 5, 9, 44, 47, 12, 2]
SPECIAL = [True, False, False, False, False, False, True]


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    run, _ = tiny_run(tmp_path_factory.mktemp("run"))
    return Explainer(RunContext(run))


def log_odds(explainer: Explainer, ids: list[int], target: int) -> float:
    (p,) = explainer.probabilities([ids], target)
    return float(np.log(p / (1 - p)))


def test_weights_add_up_to_the_difference_of_the_scores(explainer: Explainer) -> None:
    for target in range(len(NAMES)):
        found = explainer.weights(IDS, SPECIAL, target)
        assert found.tokens.shape == (7,)
        assert found.tokens[[0, -1]].tolist() == [0.0, 0.0]
        assert np.abs(found.tokens).sum() > 0.01
        assert found.error_share <= integrated_gradients.TOLERANCE
        assert found.tokens.sum() == pytest.approx(found.score - found.baseline_score + found.error)
        assert found.score == pytest.approx(log_odds(explainer, IDS, target), abs=1e-4)
        unknown = [
            token if flag else explainer._baseline_id for token, flag in zip(IDS, SPECIAL, strict=True)
        ]
        assert found.baseline_score == pytest.approx(log_odds(explainer, unknown, target), abs=1e-4)


def test_explanations_repeat_and_a_text_of_mask_tokens_has_zero_weights(
    explainer: Explainer,
) -> None:
    first, second = (explainer.weights(IDS, SPECIAL, 1) for _ in range(2))
    assert first.tokens.tolist() == second.tokens.tolist()
    empty = explainer.weights([0, *[explainer._baseline_id] * 3, 2], [True, *[False] * 3, True], 1)
    assert not empty.tokens.any()
    assert empty.error_share == 0


def test_the_classifier_answers_as_the_run_does(explainer: Explainer, tmp_path: Path) -> None:
    import torch

    _, trained = tiny_run(tmp_path)
    with torch.no_grad():
        batch = {
            "input_ids": torch.tensor([IDS]),
            "attention_mask": torch.ones(1, len(IDS), dtype=torch.int64),
        }
        expected = trained(batch).softmax(dim=1)[0].numpy()
    found = [float(explainer.probabilities([IDS, IDS[:3]], target)[0]) for target in range(len(NAMES))]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_points_are_added_until_the_error_is_small(
    explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrated_gradients, "STEPS", (2, 5, 400))
    monkeypatch.setattr(integrated_gradients, "TOLERANCE", 0.0)
    most = explainer.weights(IDS, SPECIAL, 0)
    assert most.steps == 400
    assert most.error_share < 1e-3
    monkeypatch.setattr(integrated_gradients, "TOLERANCE", 1.0)
    assert explainer.weights(IDS, SPECIAL, 0).steps == 2


def test_a_linear_model_gets_its_own_weights(explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from captum.attr import LayerIntegratedGradients

    table = torch.nn.Embedding(64, 3)
    slope = torch.tensor([0.5, -2.0, 1.0])

    def score(ids: Any, mask: Any, target: int) -> Any:
        return (table(ids) @ slope).sum(dim=1)

    monkeypatch.setattr(explainer, "_score", score)
    monkeypatch.setattr(explainer, "_integrated", LayerIntegratedGradients(score, table))
    found = explainer.weights(IDS, SPECIAL, 0)
    with torch.no_grad():
        by_token = (table.weight @ slope).numpy()
    expected = [by_token[token] - by_token[explainer._baseline_id] for token in IDS[1:-1]]
    np.testing.assert_allclose(found.tokens, [0, *expected, 0], atol=1e-5)
    assert found.steps == integrated_gradients.STEPS[0]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_can_be_explained(family: str, tmp_path: Path) -> None:
    from submillion.data.tokenizer import load_tokenizer
    from submillion.model.build import build
    from submillion.rundir import RunDir
    from submillion.sources.fetch import fetch_encoder

    encoder = shared_encoder(family)
    fetched = fetch_encoder(str(encoder))
    classifier = build(fetched, NAMES, tiny_recipe(encoder))
    run = RunDir.create(tmp_path / "run")
    run.adapter.mkdir()
    classifier.save_adapter(run.adapter)
    load_tokenizer(encoder).save_pretrained(run.tokenizer)
    recorded = encoder_entry(str(encoder), fetched.sha256)
    run.write_json(run.manifest, {"format": FORMAT, "labels": NAMES, "encoder": recorded})
    found = Explainer(RunContext(run)).weights(IDS, SPECIAL, 2)
    assert found.tokens[[0, -1]].tolist() == [0.0, 0.0]
    assert np.abs(found.tokens).sum() > 1e-4
    assert found.error_share <= integrated_gradients.TOLERANCE


def test_the_error_of_weights_by_hand() -> None:
    found = Weights(np.array([0.0, 2.0, -1.0]), score=0.5, baseline_score=-0.2, steps=10)
    assert found.error == pytest.approx(0.3)
    assert found.error_share == pytest.approx(0.1)


def test_without_captum_the_error_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrated_gradients, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r'no package .captum.*pip install "submillion\[attribution\]"'):
        check_captum()
