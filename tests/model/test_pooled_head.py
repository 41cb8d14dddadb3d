"""Tests of the mean-pooled head: every execution, its file and its count; `test_plain_peft` reads the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from submillion.data.tokens import from_rows
from submillion.errors import BadInput
from submillion.families.families import FAMILIES
from submillion.fit.head_start import output_layer
from submillion.model.build import build, open_adapter
from submillion.model.execution.jagged import PackedSdpa
from submillion.model.execution.packed import try_packed
from submillion.model.execution.reference import Reference
from submillion.model.precision import choose_precision
from submillion.sources.adapter_files import HEAD
from support.plain_peft import IDS, MASK, logits_of, trained
from support.tiny import LABELS, shared_encoder, tiny_recipe

MEAN = {"head": {"kind": "linear", "pooling": "mean"}}


@pytest.mark.parametrize("family", ["bert", "mpnet"])
@pytest.mark.parametrize(
    "head", [{"pooling": "first"}, {"pooling": "mean"}, {"pooling": "mean", "normalize": True}]
)
def test_features_and_head_are_the_logits_in_every_execution(family: str, head: dict[str, object]) -> None:
    classifier = trained(family, head={"kind": "linear"} | head, lora={"layers": "top-1"})
    tokens = from_rows([row[mask.bool()].numpy() for row, mask in zip(IDS, MASK, strict=True)])
    rows, precision = np.arange(3), choose_precision("float32")
    reference = Reference(classifier, precision)
    executions = [reference, try_packed(classifier, precision)]
    if family == "bert":
        executions.append(PackedSdpa(classifier, precision))
    expected = logits_of(classifier)
    with torch.no_grad():
        states = reference.features(tokens, rows)
        for execution in executions:
            if execution is None:  # tiny sizes that the kernels do not have
                continue
            features = execution.features(tokens, rows)
            torch.testing.assert_close(features, states, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(classifier.head(features), expected, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(execution.logits(tokens, rows), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", ["none", "lora_only", "all"])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_built_classifier_has_the_counted_parameters(family: str, bias: str) -> None:
    folder = shared_encoder(family)
    # `build` compares its own count with the closed form, and raises if they differ.
    classifier = build(folder, LABELS, tiny_recipe(folder, lora={"bias": bias}, **MEAN))
    assert classifier.output is not None and classifier.pooling == "mean"
    assert not classifier.output.layer.weight.any()


def test_a_head_of_another_classifier_is_refused(tmp_path: Path) -> None:
    classifier = trained("bert", **MEAN)
    classifier.save_adapter(tmp_path)
    file, good = tmp_path / HEAD, load_file(tmp_path / HEAD)
    wrong = {
        "no such file": None,
        "tensors of the shapes": good | {"bias": torch.zeros(3)},
        "finite float32": good | {"bias": torch.full((4,), torch.nan)},
        "4 labels|labels it was trained with": good,
    }
    for expected, tensors in wrong.items():
        file.unlink(missing_ok=True)
        if tensors is not None:
            labels = LABELS[::-1] if "labels" in expected else LABELS
            save_file(tensors, file, {"label_names": json.dumps(list(labels))})
        with pytest.raises(BadInput) as caught:
            open_adapter(shared_encoder("bert"), tmp_path, LABELS)
        if tensors is not None:
            assert any(part in str(caught.value) for part in expected.split("|")), caught.value


def test_the_length_of_the_mean_does_not_count_with_normalize(tmp_path: Path) -> None:
    head = {"kind": "linear", "pooling": "mean", "normalize": True}
    classifier = trained("bert", head=head)
    features = torch.randn(3, classifier.hidden_size, generator=torch.Generator().manual_seed(0))
    layer = output_layer(classifier)
    expected = features / features.norm(dim=1, keepdim=True) @ layer.weight.T + layer.bias
    torch.testing.assert_close(classifier.head(features), expected)
    torch.testing.assert_close(classifier.head(7 * features), expected)
    classifier.save_adapter(tmp_path)
    opened = open_adapter(shared_encoder("bert"), tmp_path, LABELS)
    torch.testing.assert_close(opened.head(7 * features), expected)
    plain = build(shared_encoder("bert"), LABELS, tiny_recipe(shared_encoder("bert"), **MEAN))
    plain.load_adapter(tmp_path)  # the head comes with what it does to the mean
    torch.testing.assert_close(plain.head(7 * features), expected)


def test_an_unknown_scale_of_the_mean_is_refused(tmp_path: Path) -> None:
    trained("bert", **MEAN).save_adapter(tmp_path)
    metadata = {"label_names": json.dumps(list(LABELS)), "normalize": "yes"}
    save_file(load_file(tmp_path / HEAD), tmp_path / HEAD, metadata)
    with pytest.raises(BadInput, match="normalize: expected true or false, found yes"):
        open_adapter(shared_encoder("bert"), tmp_path, LABELS)


def test_only_a_linear_head_reads_the_mean() -> None:
    folder = shared_encoder("bert")
    with pytest.raises(ValueError, match="head.kind=linear with head.pooling=mean"):
        tiny_recipe(folder, head={"kind": "stock", "pooling": "mean"})
    with pytest.raises(ValueError, match="head.pooling=mean with head.normalize"):
        tiny_recipe(folder, head={"kind": "linear", "normalize": True})
