"""Tests of the estimates of memory and disk: near measured peaks, refused only where a training clearly cannot run."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from submillion import notices
from submillion.budget.count import count
from submillion.errors import BadInput
from submillion.estimate import resources
from submillion.estimate.resources import check_disk, check_memory, memory_of
from submillion.limits import Memory
from submillion.model.precision import Precision
from submillion.recipe import Recipe

FLOAT32 = Precision("float32", False, "test")
Usage = namedtuple("Usage", "total used free")


def settings(hidden: int = 384, layers: int = 6, **overrides: Any) -> tuple[Recipe, dict[str, Any], Any]:
    """Return recipe, config and count of a BERT encoder with all linear matrices adapted."""
    fields = {"lora.r": 2, "budget": 2_000_000, "lora.layers": "all"} | overrides
    recipe = Recipe.load("r8", [f"{name}={value}" for name, value in fields.items()])
    config = {
        "model_type": "bert",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "intermediate_size": 4 * hidden,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
    }
    return recipe, config, count(config, 2, recipe.lora, recipe.head, recipe.budget)


class Rows:
    """A split of some rows."""

    def __init__(self, name: str, rows: int) -> None:
        self.name, self.rows = name, rows

    def __len__(self) -> int:
        return self.rows


def corpus(classes: int = 2, rows: int = 100) -> Any:
    splits = [Rows(name, rows) for name in ("train", "validation", "test")]
    return SimpleNamespace(label_names=[str(number) for number in range(classes)], splits=splits)


@pytest.mark.parametrize(
    ("hidden", "layers", "adapted", "execution", "batch", "length", "measured_mb"),
    [
        # Peak of the resident memory above that before the encoder was built, float32, one thread, torch 2.13: texts of
        # 100 to 500 words, all linear matrices with rank 2.
        (384, 6, "top-3", "reference", 32, 256, 1681),
        (384, 6, "all", "reference", 32, 256, 2738),
        (384, 6, "all", "reference, bfloat16", 32, 256, 1778),
        (384, 6, "all", "reference", 32, 512, 5184),
        (384, 6, "top-3", "auto", 32, 256, 582),
        (768, 12, "all", "auto", 32, 256, 1176),
        (384, 6, "all", "reference, query and value", 32, 256, 1637),
        (384, 6, "all", "reference, dropout", 32, 256, 5253),
        (384, 6, "all", "reference, value and dropout", 32, 256, 3379),
    ],
)
def test_the_estimate_of_memory_is_near_measured_peaks(
    monkeypatch: pytest.MonkeyPatch,
    hidden: int,
    layers: int,
    adapted: str,
    execution: str,
    batch: int,
    length: int,
    measured_mb: int,
) -> None:
    kernels = None if execution.startswith("reference") else "float32"
    precision = Precision("bfloat16", True, "test") if execution.endswith("bfloat16") else FLOAT32
    monkeypatch.setattr(resources, "_kernels", lambda *_: kernels)
    dropout = 0.1 if execution.endswith("dropout") else 0.0
    overrides = dict.fromkeys(("lora.dropout", "encoder.dropout", "encoder.attention_dropout"), dropout)
    if "value" in execution:
        overrides["lora.targets"] = "[query, value]"
    overrides |= {"lora.layers": adapted, "train.batch_size": batch, "data.max_length": length}
    recipe, config, counted = settings(hidden, layers, **overrides)
    lengths = {"train": np.full(270, length), "validation": np.full(30, length)}
    estimate = memory_of(recipe, config, counted, lengths, precision)
    assert estimate.total / 1e6 == pytest.approx(measured_mb, rel=0.15)


@pytest.mark.parametrize(
    ("targets", "measured_mb"),
    [
        ("all-linear", 82),
        ("[query, value]", 39),
    ],  # peak of steps of 4,096 tokens, less that of the first token
)
def test_the_mean_over_all_tokens_saves_a_whole_last_layer(
    monkeypatch: pytest.MonkeyPatch, targets: str, measured_mb: int
) -> None:
    monkeypatch.setattr(resources, "_kernels", lambda *_: "float32")
    lengths = {"train": np.full(270, 256), "validation": np.full(30, 256)}
    overrides = {"lora.targets": targets, "lora.layers": "top-3", "head.kind": "linear"}
    total = {}
    for pooling in ("first", "mean"):
        recipe, config, counted = settings(**overrides, **{"head.pooling": pooling})
        total[pooling] = memory_of(recipe, config, counted, lengths, FLOAT32).total
    assert (total["mean"] - total["first"]) / 1e6 == pytest.approx(measured_mb, rel=0.15)


@pytest.mark.parametrize(
    ("kernels", "precision", "layout"),
    [("float32", "float", 0), ("float32", "int8", 2), ("bfloat16", "float", 2), ("bfloat16", "int8", 2)],
)
def test_a_trained_layers_weights_take_further_memory_where_a_step_has_a_layout_of_its_own(
    monkeypatch: pytest.MonkeyPatch, kernels: str, precision: str, layout: int
) -> None:
    monkeypatch.setattr(resources, "_kernels", lambda *_: kernels)
    recipe, config, counted = settings(**{"lora.layers": "top-2", "train.frozen_precision": precision})
    estimate = memory_of(recipe, config, counted, {"train": np.full(500, 128)}, FLOAT32)
    layer = 12 * 384**2 + 9 * 384 + 4 * 384  # of matrices, biases and norms
    outside = (30522 + 512 + 2) * 384 + 2 * 384
    of_value = 4 if kernels == "float32" else 2
    assert estimate.parts["weights"] == of_value * 6 * layer + layout * 2 * layer + 4 * outside


def test_shorter_batches_fewer_layers_and_token_limits_take_less_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources, "_kernels", lambda *_: None)
    lengths = {"train": np.full(500, 128), "validation": np.full(50, 128)}

    def total(**overrides: Any) -> int:
        recipe, config, counted = settings(**overrides)
        return memory_of(recipe, config, counted, lengths, FLOAT32).total

    usual = total()
    assert total(**{"train.batch_size": 8}) < usual
    assert total(**{"lora.layers": "top-2"}) < usual
    assert total(**{"train.batch_tokens": 512}) < usual
    assert total(**{"train.eval_batch_size": 512}) > usual


def test_a_training_beyond_the_memory_is_refused_and_a_tight_one_is_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, config, counted = settings()
    monkeypatch.setattr(resources, "encoder_config", lambda *_: config)
    monkeypatch.setattr(resources, "_kernels", lambda *_: None)
    tokens: Any = {"train": SimpleNamespace(lengths=np.full(64, 256))}
    need = memory_of(recipe, config, counted, {"train": np.full(64, 256)}, FLOAT32).total

    def check(available: float, device: str = "cpu") -> list[dict[str, Any]]:
        monkeypatch.setattr(resources.limits, "memory", lambda: Memory(10**11, int(available), None))
        with notices.collecting(quiet=True):
            check_memory(recipe, counted, tokens, FLOAT32, device)
            return notices.collected()

    assert check(1.01 * need) == []
    tight = check(0.9 * need)
    assert [notice["code"] for notice in tight] == ["memory"]
    assert "memory may not suffice: this training takes an estimated 2." in tight[0]["text"]
    with pytest.raises(BadInput, match=r"(?s)saved activations .*found 1\.0 GB.*Lower .train\.batch_size."):
        check(1e9)
    assert check(0, "cuda") == []


def test_a_run_or_a_download_beyond_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, _, counted = settings()
    monkeypatch.setenv("SUBMILLION_CACHE", str(tmp_path / "cache"))

    def check(
        free: float, classes: int = 2, rows: int = 100, place: str = "runs/new"
    ) -> list[dict[str, Any]]:
        monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: Usage(10**12, 0, int(free)))
        with notices.collecting(quiet=True):
            check_disk(recipe, counted, corpus(classes, rows), tmp_path / place)
            return notices.collected()

    # minilm: 87 MB of packages and 92 MB of weights, on the same disk as the run.
    assert check(1e9) == []
    assert [notice["code"] for notice in check(2e8)] == ["disk_space"]
    with pytest.raises(BadInput, match=r"the disk of .*download .*found 50\.0 MB.*cache prune"):
        check(5e7)
    (tmp_path / "cache" / "encoders" / "minilm").mkdir(parents=True)
    assert check(2e8) == []
    with pytest.raises(BadInput, match=r"predictions 41\.2 GB"):
        check(1e10, classes=1000, rows=10**6)
    assert not (tmp_path / "runs").exists()


def test_the_kernels_are_assumed_where_they_will_run(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, config, _ = settings()
    library = SimpleNamespace(build=SimpleNamespace(dtype_name="float32"))
    monkeypatch.setattr(resources.native, "load_best_build", lambda _: (library, ""))
    assert resources._kernels(recipe, config, FLOAT32) == "float32"
    assert resources._kernels(recipe, config | {"hidden_act": "relu"}, FLOAT32) is None
    slow, _, _ = settings(**{"train.execution": "reference"})
    assert resources._kernels(slow, config, FLOAT32) is None
    monkeypatch.setattr(resources.native, "load_best_build", lambda _: (None, "not built"))
    assert resources._kernels(recipe, config, FLOAT32) is None
