"""Tests of model/execution/packed.py: the kernels against transformers and peft, with every build this CPU can run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from submillion import native, notices
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.environment import cpu_features
from submillion.errors import BadInput, SubmillionError
from submillion.fit.interrupt import Interrupt
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.step import Stepper
from submillion.fit.workers import Workers
from submillion.model.execution.kernel_support import unsupported
from submillion.model.execution.packed import Packed, try_packed
from submillion.model.execution.reference import Reference
from submillion.model.precision import Precision
from submillion.model.prefix import PrefixCache
from submillion.native import interface
from submillion.recipe import TrainRecipe
from support.packed import (
    BFLOAT,
    FLOAT,
    LENGTHS,
    PATHS,
    apart,
    check_bits_by_threads,
    check_replayed_masks,
    made,
    opened,
    packed_outcome,
    reference,
    rounding,
    texts_of,
    worst,
)
from support.tiny import shared_encoder, tiny_encoder, tiny_texts

FAMILIES = ("roberta", "xlm-roberta", "bert", "mpnet", "distilbert", "electra")
FLOAT32 = Precision("float32", False, "test")
TARGETS = (
    ["query", "value"],
    ["key"],
    ["attention_output"],
    ["ffn_up"],
    ["ffn_down"],
    "all-linear",
)
# Of the mean over all tokens, only what differs from the first token: the last layer, and what enters it.
CASES = [
    pytest.param(
        family,
        targets,
        pooling,
        id=f"{family}-{targets if isinstance(targets, str) else '+'.join(targets)}-{pooling}",
    )
    for pooling in interface.POOLINGS
    for family in FAMILIES
    for targets in TARGETS
    if pooling == "first" or family == "bert" or targets == "all-linear"
]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[Any, Path] = {}

    def get(family: str, hidden: int = 64, dropout: float = 0.0, heads: int = 2) -> Path:
        key = family, hidden, dropout, heads
        if key not in made:
            folder = tmp_path_factory.mktemp("encoder") / family
            made[key] = tiny_encoder(folder, family, layers=3, hidden=hidden, dropout=dropout, heads=heads)
        return made[key]

    return get


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(("family", "targets", "pooling"), CASES)
def test_float32_kernels_agree_with_the_reference(
    encoders: Any, path: str, family: str, targets: Any, pooling: str
) -> None:
    classifier = made(encoders(family), {"targets": targets}, pooling=pooling)
    tokens = texts_of(LENGTHS, classifier)
    logits, gradients = reference(classifier, tokens)
    packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
    assert apart(packed_logits, logits) < 1e-5
    assert worst(own, gradients) < 1e-4


@pytest.mark.parametrize("path", BFLOAT)
@pytest.mark.parametrize(("family", "targets", "pooling"), CASES)
def test_bfloat16_kernels_are_no_worse_than_autocast(
    encoders: Any, path: str, family: str, targets: Any, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # DistilBERT's head has a ReLU: one sign that rounding flips changes the gradient more than all other rounding.
    monkeypatch.setattr(torch.nn, "ReLU", torch.nn.Tanh)
    classifier = made(encoders(family), {"targets": targets}, pooling=pooling)
    own, cast = rounding(classifier, opened(classifier, path), texts_of(LENGTHS, classifier))
    assert (own <= 1.25 * cast).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("family", "pooling"), [*((family, "first") for family in FAMILIES), ("mpnet", "mean")]
)
def test_texts_of_the_encoders_maximum_length(path: str, family: str, pooling: str, tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / family, family, layers=2, hidden=64, dropout=0.0, longest=512)
    classifier = made(folder, {"targets": "all-linear"}, pooling=pooling)
    tokens = texts_of([512, 1, 511, 300], classifier)
    logits, gradients = reference(classifier, tokens)
    packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
    if native.BUILDS[path].dtype_name == "float32":
        assert apart(packed_logits, logits) < 1e-5
        assert worst(own, gradients) < 1e-4
    else:
        cast, _ = reference(classifier, tokens, autocast=True)
        assert apart(packed_logits, logits) <= 1.25 * apart(cast, logits)


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize("family", FAMILIES)
def test_empty_and_tiny_texts_are_run(encoders: Any, path: str, family: str) -> None:
    folder = encoders(family)
    classifier = made(folder)
    tokens = encode(load_tokenizer(folder), ["", " ", "word1", "word1 " * 200], Truncation(64))
    assert tokens.lengths.tolist()[:2] == [2, 2]  # the special tokens at both ends of a text
    logits, gradients = reference(classifier, tokens)
    packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
    assert apart(packed_logits, logits) < 1e-5
    assert worst(own, gradients) < 1e-4


@pytest.mark.parametrize("path", FLOAT)
def test_electras_embeddings_may_be_wider_than_its_layers(path: str, tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "electra", hidden=64, dropout=0.0, embedding_size=160)
    classifier = made(folder)
    tokens = texts_of(LENGTHS, classifier)
    logits, gradients = reference(classifier, tokens)
    packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
    assert apart(packed_logits, logits) < 1e-5
    assert worst(own, gradients) < 1e-4


# -- dropout ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FLOAT)
@pytest.mark.parametrize(
    ("family", "heads", "pooling"),
    (
        ("roberta", 2, "first"),
        ("bert", 2, "first"),
        ("mpnet", 2, "first"),
        ("mpnet", 5, "first"),  # the kernels take four heads of 32 at a time
        ("mpnet", 2, "mean"),
        ("distilbert", 2, "first"),
        ("electra", 2, "first"),
    ),
)
def test_the_reference_with_the_kernels_dropout_masks_gives_the_same_gradients(
    encoders: Any, path: str, family: str, heads: int, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = {"targets": "all-linear", "dropout": 0.2}
    folder = encoders(family, hidden=32 * heads, dropout=0.1, heads=heads)
    classifier = made(folder, lora, pooling=pooling)
    head = classifier.module.get_base_model()
    for name, module in head.named_modules():
        if isinstance(module, torch.nn.Dropout) and ("classifier" in name or name == "dropout"):
            module.p = 0.0
    check_replayed_masks(classifier, path, monkeypatch)


@pytest.mark.parametrize("path", PATHS)
def test_masks_have_the_right_share_and_look_random(path: str) -> None:
    library, ids = native.load(path), np.arange(4096, dtype=np.uint64)
    kept = np.empty((len(ids), 768), dtype=np.uint8)
    scale = library.dropout_mask(
        interface.Dropout(0.1, 5, 3, 2), ids.ctypes.data, len(ids), 24, kept.ctypes.data
    )
    values = kept.astype(np.float64)
    assert abs(1 / scale - 0.9) < 1e-5
    # Means of rows, columns and all values are within 5 standard deviations of independent draws.
    for mean, count in ((values.mean(), kept.size), (values.mean(0), len(ids)), (values.mean(1), 768)):
        assert np.abs(mean - 0.9).max() < 5 * np.sqrt(0.09 / count)
    centred = values - 0.9
    for shifted in (
        centred[1:] * centred[:-1],
        centred[:, 1:] * centred[:, :-1],
        centred[:, 16:] * centred[:, :-16],
    ):
        assert abs(shifted.mean()) < 5 * 0.09 / np.sqrt(shifted.size)
    for other in ((6, 3, 2), (5, 4, 2), (5, 3, 3)):
        again = np.empty_like(kept)
        library.dropout_mask(interface.Dropout(0.1, *other), ids.ctypes.data, len(ids), 24, again.ctypes.data)
        together = centred * (again - 0.9)
        assert abs(together.mean()) < 5 * 0.09 / np.sqrt(kept.size)


@pytest.mark.skipif(len(PATHS) < 2, reason="one path only")
def test_masks_are_the_same_on_every_path() -> None:
    ids, masks = np.arange(64, dtype=np.uint64), []
    for name, path in native.BUILDS.items():
        if path.needs <= cpu_features() and path.file.is_file():
            kept = np.empty((64, 96), dtype=np.uint8)
            native.load(name).dropout_mask(
                interface.Dropout(0.3, 1, 0, 4), ids.ctypes.data, 64, 3, kept.ctypes.data
            )
            masks.append(kept)
    assert all(np.array_equal(kept, masks[0]) for kept in masks)


# -- independence of threads and batches, and errors -----------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "pooling"),
    [
        ("roberta", "first"),
        ("roberta", "mean"),
        ("electra", "first"),
        ("mpnet", "mean"),
        ("distilbert", "first"),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_bits_do_not_depend_on_threads_or_earlier_batches(
    encoders: Any, path: str, family: str, pooling: str
) -> None:
    lora = {"targets": "all-linear", "dropout": 0.1}
    classifier = made(encoders(family, dropout=0.1), lora, pooling=pooling)
    tokens = texts_of(LENGTHS * 4, classifier)
    earlier = texts_of([64] * 30, classifier, seed=1)
    check_bits_by_threads(classifier, lambda: opened(classifier, path), tokens, earlier)


@pytest.mark.parametrize("pooling", interface.POOLINGS)
@pytest.mark.parametrize("path", FLOAT)
def test_a_text_does_not_depend_on_the_others(encoders: Any, path: str, pooling: str) -> None:
    classifier = made(encoders("bert"), pooling=pooling).eval()
    tokens = texts_of(LENGTHS, classifier)
    packed = opened(classifier, path)
    with torch.inference_mode():
        together = packed.logits(tokens, np.arange(len(LENGTHS)))
        alone = torch.cat([packed.logits(tokens, np.array([row])) for row in range(len(LENGTHS))])
    assert torch.allclose(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_per_layer_ranks_rslora_and_other_heads(encoders: Any, path: str) -> None:
    for lora, head, pooling in (
        ({"targets": "all-linear", "r": 33, "rslora": True, "layers": [1]}, "linear", "first"),
        ({"targets": "all-linear", "r": 21, "layers": [0]}, "linear", "mean"),
        ({"targets": ["value", "ffn_down"], "r": 64, "layers": "top-2"}, "lora", "first"),
        ({"targets": ["query", "attention_output", "ffn_up"], "r": 97, "layers": "top-2"}, "linear", "first"),
        ({"targets": ["query", "ffn_down"], "r": 33, "layers": [2]}, "linear", "mean"),
    ):
        classifier = made(encoders("mpnet", hidden=128 if lora["r"] > 64 else 64), lora, head, pooling)
        tokens = texts_of(LENGTHS, classifier)
        logits, gradients = reference(classifier, tokens)
        packed_logits, own = packed_outcome(classifier, opened(classifier, path), tokens)
        if native.BUILDS[path].dtype_name == "float32":
            assert apart(packed_logits, logits) < 1e-5
            assert worst(own, gradients) < 1e-4
        else:
            # The distance varies between encoders: from 0.55 to 1.28 times that of autocast.
            cast, cast_gradients = reference(classifier, tokens, autocast=True)
            assert apart(packed_logits, logits) <= 1.5 * apart(cast, logits)
            assert worst(own, gradients) <= 1.25 * worst(cast_gradients, gradients)


@pytest.mark.parametrize(
    ("family", "pooling"),
    [("mpnet", "first"), ("mpnet", "mean"), ("distilbert", "first"), ("electra", "first")],
)
@pytest.mark.parametrize("path", PATHS)
def test_merged_adapters_give_the_same_logits_and_cannot_be_trained(
    encoders: Any, path: str, family: str, pooling: str
) -> None:
    lora = {"targets": "all-linear", "layers": "top-2"}
    classifier = made(encoders(family), lora, pooling=pooling).eval()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    tokens, rows = texts_of(LENGTHS, classifier), np.arange(len(LENGTHS))
    logits, _ = reference(classifier, tokens)
    packed = opened(classifier, path)
    merged = Packed(classifier, packed.precision, packed.library, merged=True)
    with torch.inference_mode():
        exact = native.BUILDS[path].dtype_name == "float32"
        assert apart(merged.logits(tokens, rows), logits) < (1e-5 if exact else 0.03)
    with pytest.raises(RuntimeError, match="cannot be trained"):
        merged.logits(tokens, rows)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


@pytest.mark.parametrize("path", PATHS)
def test_a_step_takes_more_tokens_if_fewer_layers_are_trained_or_values_are_shorter(
    encoders: Any, path: str
) -> None:
    most = {"float32": 300, "bfloat16": 600}[native.BUILDS[path].dtype_name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("submillion.model.execution.pass_sizes.STEP_BYTES", 64 * 4 * 300)
        for layers, kept in (("all", 3), ("top-1", 1)):
            assert opened(made(encoders("roberta"), {"layers": layers}), path).step_tokens == most // kept


@pytest.mark.parametrize(
    ("family", "pooling"),
    [
        ("roberta", "first"),
        ("roberta", "mean"),
        ("distilbert", "first"),
        ("electra", "first"),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_a_start_from_cached_states_gives_the_same_logits(
    encoders: Any, path: str, family: str, pooling: str
) -> None:
    classifier = made(encoders(family), {"layers": "top-1"}, pooling=pooling).eval()
    tokens = texts_of(LENGTHS, classifier)
    packed = opened(classifier, path)
    prefix = PrefixCache.build(packed, tokens, 4)
    assert prefix is not None and classifier.prefix_depth == 2
    rows = np.arange(len(LENGTHS))
    with torch.inference_mode():
        assert torch.equal(packed.logits(tokens, rows), packed.logits(tokens, rows, prefix=prefix))


@pytest.mark.parametrize("path", PATHS)
def test_a_nan_in_the_weights_reaches_the_logits(encoders: Any, path: str) -> None:
    classifier = made(encoders("bert")).eval()
    with torch.no_grad():
        classifier.stack.layers[0].output.dense.weight[3, 5] = float("nan")
    with torch.inference_mode():
        logits = opened(classifier, path).logits(texts_of([5, 40], classifier), np.arange(2))
    assert torch.isnan(logits).all()


def test_a_text_without_tokens_is_rejected(encoders: Any) -> None:
    if not PATHS or native.load_best_build("float32")[0] is None:
        pytest.skip("no kernels here")
    classifier = made(encoders("bert"))
    library = native.load_best_build("float32")[0]
    assert library is not None
    with pytest.raises(SubmillionError, match="found an empty one"):
        Packed(classifier, FLOAT32, library).logits(texts_of([3, 0], classifier), np.arange(2))


def resident_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


@pytest.mark.parametrize("path", PATHS)
def test_the_end_of_a_training_gives_back_its_memory_and_changes_no_bit(encoders: Any, path: str) -> None:
    classifier = made(encoders("roberta"), {"targets": "all-linear"})
    packed, tokens = opened(classifier, path), texts_of([64] * 120, classifier)
    logits, gradients = packed_outcome(classifier, packed, tokens, seed=1)
    held = resident_mb()
    packed.end_training()
    assert resident_mb() < held - 10
    again, same = packed_outcome(classifier, packed, tokens, seed=1)
    assert torch.equal(again, logits) and all(torch.equal(same[name], gradients[name]) for name in gradients)


def test_a_late_backward_pass_is_rejected(encoders: Any) -> None:
    library = native.load_best_build("float32")[0]
    if library is None:
        pytest.skip("no kernels here")
    classifier = made(encoders("bert"))
    packed, tokens = Packed(classifier, FLOAT32, library), texts_of([3, 4], classifier)
    first = packed.logits(tokens, np.arange(2))
    packed.logits(tokens, np.arange(2))
    with pytest.raises(RuntimeError, match="later batch"):
        first.sum().backward()


def test_an_unsupported_classifier_runs_on_the_reference(encoders: Any) -> None:
    for folder, lora, reason in (
        (shared_encoder("roberta"), {}, "not all multiples of 32"),
        (encoders("bert"), {"bias": "all"}, "the embeddings have trained parameters"),
    ):
        classifier = made(folder, lora)
        assert reason in (unsupported(classifier) or "")
        notices.restore([])
        assert try_packed(classifier, FLOAT32) is None
        assert reason in notices.collected()[-1]["text"]
        with pytest.raises(BadInput, match=r"train\.execution"):
            try_packed(classifier, FLOAT32, "packed")
    assert try_packed(made(encoders("bert")), FLOAT32, "reference") is None


def test_the_environment_selects_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.VARIABLE, "off")
    assert native.load_best_build("float32") == (None, "SUBMILLION_NATIVE is off")
    monkeypatch.setenv(native.VARIABLE, "avx3")
    with pytest.raises(BadInput, match="did you mean|Did you mean"):
        native.load_best_build("float32")
    monkeypatch.setenv(native.VARIABLE, "amx")
    with pytest.raises(BadInput, match="a processor with amx_bf16"):
        native.load_best_build("bfloat16", features={"avx2", "fma"})
    monkeypatch.setenv(native.VARIABLE, "avx2")
    with pytest.raises(BadInput, match=r"kernels in bfloat16, found avx2, in float32.*train\.precision"):
        native.load_best_build("bfloat16", features=native.BUILDS["avx2"].needs)
    monkeypatch.delenv(native.VARIABLE)
    assert native.load_best_build("bfloat16", features={"avx2", "fma", "bmi2"})[0] is None


# -- a training ---------------------------------------------------------------------------------------------


def losses(folder: Path, path: str | None, autocast: bool = False, steps: int = 200) -> np.ndarray:
    """Return the loss of each step of one training, without dropout; `path` None is the reference."""
    classifier = made(folder, {"targets": "all-linear"})
    texts, labels = tiny_texts(200, 3)
    tokens = encode(load_tokenizer(folder), texts, Truncation(64))
    recipe = TrainRecipe(batch_size=16, epochs=20, learning_rate=2e-3)
    precision = Precision("bfloat16" if autocast else "float32", autocast, "")
    execution = Reference(classifier, precision) if path is None else opened(classifier, path)
    stepper = Stepper(execution, LabelledTokens.of(tokens, labels), recipe, 3, Workers.start())
    results = []
    for step in range(steps):
        done = stepper.step(step, Interrupt())
        results.append(done.loss.item() / done.texts)
    return np.array(results)


@pytest.fixture(scope="module")
def expected_losses(encoders: Any) -> np.ndarray:
    return losses(encoders("roberta"), None)


@pytest.mark.parametrize("path", PATHS)
def test_two_hundred_steps_follow_the_reference(
    encoders: Any, expected_losses: np.ndarray, path: str
) -> None:
    folder, expected = encoders("roberta"), expected_losses
    assert expected[-20:].mean() < 0.5 * expected[:20].mean()  # the training does learn
    apart_by = np.abs(losses(folder, path) - expected)
    if native.BUILDS[path].dtype_name == "float32":
        assert apart_by.max() < 1e-3
    else:
        cast = np.abs(losses(folder, None, autocast=True) - expected)
        assert apart_by.mean() <= 1.25 * cast.mean()
