"""The arithmetic of a training step, against torch's own count of the reference execution; and how it is told."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ceilings
from benchmarks.ceilings import Encoder, Text, parts, rows_of
from submillion.model.classifier import build
from submillion.recipe import Recipe
from support.tiny import LABELS, tiny_encoder

LENGTH, LAYERS, RANK = 24, 3, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("ceilings") / "encoder", layers=LAYERS, hidden=64)


def counted_by_torch(folder, targets, adapted):
    """Multiplications and additions of one text through the encoder, forward and backward, in eager attention."""
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
def test_it_counts_what_torch_counts(folder, monkeypatch, targets, adapted):
    """The reference runs every row of the last layer, and the layers below the lowest adapter at every step."""
    monkeypatch.setattr(ceilings, "rows_of", lambda encoder, text, layer: text.length)
    encoder = ceilings.encoder_of(folder)
    text = Text(LENGTH, RANK, targets, adapted)
    width, inner = encoder.hidden, encoder.inner
    below = (LAYERS - adapted) * LENGTH * (2 * (4 * width**2 + 2 * width * inner) + 4 * LENGTH * width)
    # Eager attention keeps its scores and does not compute them again.
    again = adapted * 2 * LENGTH**2 * width
    ours = sum(part.flops for part in parts(encoder, text, 4)) + below - again
    assert ours == counted_by_torch(folder, targets, adapted)


def test_of_the_last_layer_only_the_first_token_goes_on():
    encoder, text = Encoder(768, 3072, 12), Text(53, 8, ("query", "value"), 12)
    assert [rows_of(encoder, text, layer) for layer in (0, 10, 11)] == [53, 53, 1]
    found = {part.name: part for part in parts(encoder, text, 2)}
    full, last = 53 * 2 * 12 * 768**2, 2 * (2 * 53 + 10) * 768**2
    assert found["products forward"].flops == 11 * full + last
    wide = {part.name: part for part in parts(encoder, text, 4)}
    assert wide["waiting states"].bytes == 2 * found["waiting states"].bytes
    assert found["frozen weights"].bytes == pytest.approx(12 * 2 * 12 * 768**2 * 2 * 53 / 640)
    # Nine hidden sizes a token and layer, and the lowest one's input, written and read; of the last layer most are the
    # first token's alone.
    assert found["waiting states"].bytes == 2 * 2 * 768 * (11 * 53 * 9 + 53 + 53 * 2 + 7)


def test_the_table_sets_limits_and_speed_beside_the_count(folder, tmp_path, capsys):
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
    told = capsys.readouterr().out
    text = Text(53, 8, ("query", "value"), LAYERS)
    flops = sum(part.flops for part in parts(ceilings.encoder_of(folder), text, 2))
    assert f"amx, 2 threads: 5000 GFLOP/s on registers allow {5e12 / flops:.1f} texts/s" in told
    assert f"measured 100.0 texts/s: {100 * flops / 7e10:.0%} of the first" in told
    assert ceilings.main(["--encoder", str(folder), "--layers", "1"]) == 0
    assert "float32, a text of 53 tokens, 1 of 3 layers" in capsys.readouterr().out
    for wrong in (["--targets", "querry"], ["--layers", "4"]):
        with pytest.raises(SystemExit):
            ceilings.main(["--encoder", str(folder), *wrong])
