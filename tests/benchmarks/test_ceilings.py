"""Tests of benchmarks/ceilings.py: the arithmetic of a training step against torch's count, and the table."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ceilings
from benchmarks.ceilings import Encoder, Text, parts, rows_of
from submillion.model.build import build
from submillion.recipe import Recipe
from support.tiny import LABELS, tiny_encoder

LENGTH, LAYERS, RANK = 24, 3, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("ceilings") / "encoder", layers=LAYERS, hidden=64)


def counted_by_torch(folder, targets, adapted):
    """Return the multiplications and additions of one text, forward and backward, with eager attention."""
    recipe = Recipe.model_validate(
        {
            "name": "counted",
            "encoder": {"source": str(folder)},
            "data": {"train": str(folder), "max_length": 32},
            "lora": {"targets": list(targets), "r": RANK, "alpha": RANK, "layers": f"top-{adapted}"},
        }
    )
    classifier = build(folder, LABELS, recipe)
    classifier.module.config._attn_implementation = "eager"
    encoder = classifier.module.base_model.model.roberta
    encoder.config._attn_implementation = "eager"
    with FlopCounterMode(display=False) as counter:
        encoder(torch.arange(3, 3 + LENGTH)[None] % 40).last_hidden_state.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("adapted", [LAYERS, 2])
@pytest.mark.parametrize(
    "targets", [("query", "value"), ("query", "key", "attention_output"), ceilings.TARGETS]
)
def test_the_count_equals_that_of_torch(folder, monkeypatch, targets, adapted):
    """The reference runs every row of the last layer, and in every step the layers below the lowest adapter."""
    monkeypatch.setattr(ceilings, "rows_of", lambda encoder, text, layer: text.length)
    encoder = ceilings.encoder_of(folder)
    text = Text(LENGTH, RANK, targets, adapted)
    width, inner = encoder.hidden, encoder.inner
    below = (LAYERS - adapted) * LENGTH * (2 * (4 * width**2 + 2 * width * inner) + 4 * LENGTH * width)
    # Eager attention saves its scores and does not recompute them.
    recomputed = adapted * 2 * LENGTH**2 * width
    ours = sum(part.flops for part in parts(encoder, text, 4)) + below - recomputed
    assert ours == counted_by_torch(folder, targets, adapted)


def test_only_the_first_token_continues_after_the_attention_of_the_last_layer():
    encoder, text = Encoder(768, 3072, 12), Text(53, 8, ("query", "value"), 12)
    assert [rows_of(encoder, text, layer) for layer in (0, 10, 11)] == [53, 53, 1]
    bfloat16 = {part.name: part for part in parts(encoder, text, 2)}
    full, last = 53 * 2 * 12 * 768**2, 2 * (2 * 53 + 10) * 768**2
    assert bfloat16["products forward"].flops == 11 * full + last
    float32 = {part.name: part for part in parts(encoder, text, 4)}
    assert float32["saved activations"].bytes == 2 * bfloat16["saved activations"].bytes
    assert bfloat16["frozen weights"].bytes == pytest.approx(12 * 2 * 12 * 768**2 * 2 * 53 / 640)
    # Nine hidden sizes per token and layer, and the input of the lowest one, written and read; in the last layer most
    # are of the first token only.
    assert bfloat16["saved activations"].bytes == 2 * 2 * 768 * (11 * 53 * 9 + 53 + 53 * 2 + 7)


def test_the_table_compares_the_count_with_limits_and_speed(folder, tmp_path, capsys):
    limits = tmp_path / "limits.jsonl"
    kinds = [
        {
            "kernels": "amx",
            "bytes": 2,
            "threads": 2,
            "multiply_adds_flops": 5e12,
            "read_256mb_bytes_per_s": 2e10,
        },
        {
            "kernels": "avx2",
            "bytes": 4,
            "threads": 2,
            "multiply_adds_flops": 7e10,
            "read_256mb_bytes_per_s": 2e10,
        },
    ]
    limits.write_text("[100%] Built target ceilings\n" + "\n".join(map(json.dumps, kinds)), encoding="utf-8")
    assert ceilings.main(["--encoder", str(folder), "--limits", str(limits), "--measured", "100"]) == 0
    output = capsys.readouterr().out
    text = Text(53, 8, ("query", "value"), LAYERS)
    flops = sum(part.flops for part in parts(ceilings.encoder_of(folder), text, 2))
    assert f"amx, 2 threads: 5000 GFLOP/s on registers allow {5e12 / flops:.1f} texts/s" in output
    assert f"measured 100.0 texts/s: {100 * flops / 7e10:.0%} of the compute ceiling" in output
    assert ceilings.main(["--encoder", str(folder), "--layers", "1"]) == 0
    assert "float32, a text of 53 tokens, 1 of 3 layers" in capsys.readouterr().out
    for wrong in (["--targets", "querry"], ["--layers", "4"]):
        with pytest.raises(SystemExit):
            ceilings.main(["--encoder", str(folder), *wrong])
