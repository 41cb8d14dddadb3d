"""Tests of model/execution/compiled.py: the same gradients, few graphs, plain tensor names, clear errors."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import notices
from submillion.errors import BadInput
from submillion.fit import checkpoint
from submillion.fit.fit import fit
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.options import FitOptions
from submillion.fit.plan import TrainingPlan
from submillion.fit.result import FitResult
from submillion.fit.workers import Workers
from submillion.model.build import build
from submillion.model.classifier import Classifier
from submillion.model.execution.choose import choose_execution
from submillion.model.execution.compiled import Compiled
from submillion.model.execution.reference import Reference
from submillion.model.infer import predict_logits
from submillion.model.prefix import PrefixCache
from submillion.rundir import RunDir
from support.fit_stub import FLOAT32, train_recipe, without_timings
from support.tiny import LABELS, shared_encoder, tiny_recipe, tiny_texts, tiny_tokens

BATCHES = [np.array(rows) for rows in ([3, 1, 7, 2], [1], [5, 6, 8], [0, 2])]


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def made(
    family: str = "roberta", layers: Any = "top-1", dropout: float = 0.0, targets: str = "all-linear"
) -> tuple[Classifier, Any]:
    """Return a classifier of two layers in training mode, with nonzero adapters, and tokens."""
    encoder = shared_encoder(family, 2, dropout)
    recipe = tiny_recipe(encoder, lora={"layers": layers, "dropout": dropout, "targets": targets})
    classifier = build(encoder, LABELS, recipe).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, value in classifier.named_parameters():
            if ".lora_B." in name:
                value.data.normal_(0, 0.1)
    return classifier, tiny_tokens(encoder, tiny_texts(64, 1)[0])


def compiled(classifier: Classifier, backend: Any) -> Compiled:
    return Compiled(Reference(classifier, FLOAT32, compiled=True), backend)


def gradients(execution: Any, classifier: Classifier, tokens: Any, rows: Any, prefix: Any) -> list[Any]:
    """Return the logits, then the gradient of their sum of squares for every trained tensor."""
    trained = [value for value in classifier.parameters() if value.requires_grad]
    logits = execution.logits(tokens, rows, prefix=prefix)
    return [logits.detach(), *torch.autograd.grad(logits.square().sum(), trained)]


@pytest.fixture
def one_compiler() -> Iterator[None]:
    """Start neither processes that compile in parallel, nor a compilation that tests the vector instructions."""
    from torch._inductor import config

    with config.patch({"compile_threads": 1, "cpp.vec_isa_ok": True}):
        yield


@pytest.mark.usefixtures("one_compiler")
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler")
def test_gradients_of_compiled_code_are_those_of_the_reference() -> None:
    classifier, tokens = made(targets="query")
    prefix = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 8)
    execution = choose_execution(classifier, FLOAT32, compiled=True)
    assert execution.name == "compiled"
    assert notices.collected()[-1]["execution"] == "compiled"
    reference = Reference(classifier, FLOAT32)
    for rows in BATCHES:
        found = gradients(execution, classifier, tokens, rows, prefix)
        for one, other in zip(found, gradients(reference, classifier, tokens, rows, prefix), strict=True):
            assert one.shape == other.shape
            assert (one - other).norm() <= 1e-5 * other.norm() + 1e-6


def test_batches_of_other_sizes_compile_nothing_new() -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    classifier, tokens = made()
    counted = CompileCounterWithBackend("eager")
    execution = compiled(classifier, counted)
    prefix = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 8)
    assert counted.frame_count == 1  # for the one layer above the cached states
    for rows in BATCHES:
        gradients(execution, classifier, tokens, rows, prefix)
    assert counted.frame_count == 1
    classifier.eval()
    for rows in BATCHES:
        with torch.inference_mode():
            execution.logits(tokens, rows, prefix=prefix)
    assert counted.frame_count == 2


@pytest.mark.parametrize("family", ["mpnet", "deberta-v2", "modernbert", "distilbert"])
def test_other_families_compile_too(family: str) -> None:
    classifier, tokens = made(family)
    execution, reference = compiled(classifier, "eager"), Reference(classifier, FLOAT32)
    prefix = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 8)
    found, expected = (
        gradients(run, classifier, tokens, BATCHES[0], prefix) for run in (execution, reference)
    )
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm() + 1e-6


def train(folder: Path, stop_at: int = 0, resume: bool = False) -> tuple[Classifier, FitResult, RunDir]:
    """Train two epochs with dropout through compiled layers; `stop_at` sends Ctrl-C in that training step."""
    classifier, tokens = made(dropout=0.1)
    execution = compiled(classifier, "eager")
    left = stop_at

    def stop(module: Classifier, *_: Any) -> None:
        nonlocal left
        left -= module.training
        if left == 0 and module.training:
            signal.raise_signal(signal.SIGINT)

    if stop_at:
        classifier.register_forward_pre_hook(stop)
    folder.mkdir(exist_ok=True)
    run = RunDir(folder)
    labelled = LabelledTokens.of(tokens, tiny_texts(64, 1)[1])
    recipe = train_recipe(epochs=2, batch_size=16, log_every=1, compile=True)
    result = fit(
        execution,
        labelled,
        labelled,
        plan=TrainingPlan(recipe, seed=3),
        run=run,
        workers=Workers.start(),
        options=FitOptions(resume, progress=False),
    )
    return classifier, result, run


def test_a_resumed_run_has_the_same_bits_and_plain_peft_reads_its_adapter(tmp_path: Path) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification

    whole, result, run = train(tmp_path / "whole")
    assert (result.execution, result.steps) == ("compiled", 8)
    _, stopped, _ = train(tmp_path / "parts", stop_at=6)
    assert (stopped.interrupted, stopped.steps) == (True, 6)
    resumed, _, parts = train(tmp_path / "parts", resume=True)
    theirs = dict(resumed.named_parameters())
    assert all(torch.equal(value, theirs[name]) for name, value in whole.named_parameters())
    assert without_timings(parts.read_history()) == without_timings(run.read_history())

    adapter = checkpoint.best(run)
    assert not [name for name in load_file(adapter / "adapter_model.safetensors") if "_orig_mod" in name]
    base = AutoModelForSequenceClassification.from_pretrained(
        shared_encoder("roberta", 2, 0.1), num_labels=len(LABELS)
    )
    model = PeftModel.from_pretrained(base, adapter).eval()
    tokens = tiny_tokens(shared_encoder("roberta", 2, 0.1), tiny_texts(64, 1)[0])
    expected = predict_logits(Reference(whole, FLOAT32), tokens, 32)
    with torch.no_grad():
        ids = torch.from_numpy(tokens[5].astype(np.int64))[None]
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    np.testing.assert_allclose(logits.numpy(), expected[5], atol=1e-5)


def test_a_failure_to_compile_is_a_clear_error() -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no C++ compiler was found")

    classifier, _ = made()
    before = classifier.stack.layers
    with pytest.raises(
        BadInput, match=r"train\.compile.*no C\+\+ compiler was found.*Use `train\.compile=false`"
    ):
        compiled(classifier, broken)
    assert classifier.stack.layers is before and classifier.training
    assert all(value.grad is None for value in classifier.parameters())


@pytest.mark.usefixtures("one_compiler")
def test_a_missing_compiler_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch._inductor import config

    monkeypatch.setenv(
        "TORCHINDUCTOR_CACHE_DIR", str(tmp_path)
    )  # an earlier test may have filled the usual cache
    without = config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True})
    with (
        without,
        pytest.raises(BadInput, match=r"train\.compile.*C\+\+ compiler.*Use `train\.compile=false`"),
    ):
        compiled(made(targets="query")[0], "inductor")
