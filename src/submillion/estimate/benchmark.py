"""Measures for some seconds what layers of an encoder cost on this machine, so that a plan can tell hours.

An encoder of three layers of the real one's shapes, with random weights, is trained through the real step: with all
three layers adapted, with the upper two from cached states, with the last alone. What each layer costs follows by
subtraction, and `budget.speed` puts any depth together again. No weights are read.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from submillion.budget.plan_result import PlanResult
from submillion.budget.time_model import Adapted, Cost, Measured, Workload, speed_of
from submillion.data.tokens import from_rows
from submillion.errors import BadInput, Problem
from submillion.estimate.workload import workload_of
from submillion.families.families import family_of
from submillion.families.family import Family
from submillion.fit.batch_schedule import BatchSchedule
from submillion.fit.interrupt import Interrupt
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.step import Stepper
from submillion.fit.workers import Workers
from submillion.model.classifier import build
from submillion.model.execution.choose import choose_execution
from submillion.model.loading import quiet_libraries
from submillion.model.precision import choose_precision
from submillion.model.prefix import PrefixCache
from submillion.model.stack import supports_prefix
from submillion.recipe import LoraRecipe, Recipe

if TYPE_CHECKING:
    from submillion.model.classifier import Classifier
    from submillion.model.protocol import Execution

BUDGET_S = 2.0
VOCABULARY = 1000  # rows of the embeddings to draw; looking a token up takes as long in a large table
LAYERS = 3
SMALL = 2  # texts of the small batch, whose time is what a step costs however few texts it has
LEAST_ROWS = (
    256  # tokens for each thread in the large batch: with fewer, the kernels do not reach their speed
)
# What all that is timed takes, in forward passes through one layer: some 3 without gradient, and for each set of
# targets 5.5, 3.5 and 1 for the three trainings.
FORWARD_PASSES, PASSES = 3, 10


def with_speed(
    result: PlanResult,
    rows: int | None = None,
    tokens: float | None = None,
    epochs: int | None = None,
    budget_s: float = BUDGET_S,
) -> PlanResult:
    """Return the result with what each of its configurations takes on this machine.

    Args:
        result: what `submillion plan` found.
        rows: training texts; None takes the recipe's data where it is on this machine, else AG News' number.
        tokens: mean tokens per text; None likewise.
        epochs: None takes the recipe's, or 5.
        budget_s: about how long to measure; where the machine is slow or busy, it takes longer.

    Raises:
        BadInput: a configuration has no adapters, so that its cost does not grow with them.
    """
    if any(lora.variant == "bitfit" for lora in result.loras):
        raise BadInput(Problem("plan --speed", "a lora.variant with adapters", "bitfit"))
    recipe = result.recipe or Recipe.load("agnews")
    work = workload_of(result, rows, tokens, epochs)
    measured = measure(result.config, result.num_labels, recipe, result.loras, work, budget_s)
    speeds = [
        speed_of(
            measured,
            result.config,
            lora,
            work,
            cached=recipe.train.prefix_cache and supports_prefix(result.config),
        )
        for lora in result.loras
    ]
    return replace(result, speeds=speeds, measured=dict(measured.facts) | {"workload": work.to_json()})


def measure(
    config: Mapping[str, Any],
    num_labels: int,
    recipe: Recipe,
    loras: Sequence[LoraRecipe],
    work: Workload,
    budget_s: float = BUDGET_S,
) -> Measured:
    """Time layers of an encoder with the narrowest and the widest targets of some configurations.

    Args:
        config: the encoder's config.json.
        num_labels: number of classes.
        recipe: its precision, execution, threads, dropouts and head are used.
        loras: the configurations that are to be told; their median rank is run.
        work: its tokens and batch size are used.

    Raises:
        BadInput: the recipe asks for an execution or a precision that this machine does not have.
    """
    family = family_of(config)
    matrices = family.inventory(config, num_labels).matrices
    widths = {sum(matrices[name].per_rank for name in family.expand(lora.targets)): lora for lora in loras}
    ends = sorted({min(widths), max(widths)})
    rank = int(statistics.median(lora.r for lora in loras))
    length = min(max(4, round(work.tokens)), family.longest_input(config))
    began = time.perf_counter()
    with TemporaryDirectory(prefix="speed-") as folder:
        _draw_encoder(config, family, Path(folder))
        bench = _Bench(
            recipe,
            folder,
            num_labels,
            work.batch_size,
            length,
            budget_s / (FORWARD_PASSES + PASSES * len(ends)),
        )
        adapted = [bench.adapted(widths[width].targets, rank, width) for width in ends]
    return Measured(bench.frozen, bench.closing, adapted, bench.facts(time.perf_counter() - began))


class _Bench:
    """Times steps of small encoders on two batch sizes; the first one opened also gives the passes forward."""

    frozen: Cost
    closing: Cost

    def __init__(
        self, recipe: Recipe, folder: str, num_labels: int, batch_size: int, length: int, pass_s: float
    ) -> None:
        """Prepare.

        Args:
            recipe: how to run.
            folder: the encoder.
            num_labels: number of classes.
            batch_size: texts of the large batch at most.
            length: tokens of each text.
            pass_s: seconds that one layer's forward pass on the large batch may take.
        """
        self._recipe, self._folder, self._pass_s = recipe, folder, pass_s
        self._labels = [str(label) for label in range(num_labels)]
        self._workers = Workers.start()
        self._precision = choose_precision(recipe.train.precision)
        draw = np.random.default_rng(0)
        self._tokens = from_rows(list(draw.integers(5, VOCABULARY, (max(batch_size, SMALL + 1), length))))
        self._classes = draw.integers(0, num_labels, len(self._tokens))
        self._texts = 0  # of the large batch
        self._execution = ""

    def adapted(self, targets: list[str], rank: int, width: int) -> Adapted:
        """Time the steps with adapters on some targets."""
        last = self._step(targets, rank, depth=LAYERS - 1)
        upper = self._step(targets, rank, depth=LAYERS - 2)
        whole = self._step(targets, rank, depth=0)
        return Adapted(width, lowest=upper - last, between=whole - upper, last=last)

    def _step(self, targets: list[str], rank: int, depth: int) -> Cost:
        """Time a training step above `depth` frozen layers."""
        lora = self._recipe.lora.model_copy(
            update={"r": rank, "targets": targets, "layers": list(range(depth, LAYERS)), "bias": "none"}
        )
        encoder = self._recipe.encoder.model_copy(update={"source": self._folder})
        data = self._recipe.data.model_copy(update={"max_length": int(self._tokens.lengths[0])})
        recipe = self._recipe.model_copy(
            update={"lora": lora, "encoder": encoder, "data": data, "budget": 2**62}
        )
        with quiet_libraries():
            classifier = build(self._folder, self._labels, recipe).to(self._workers.device)
        execution = choose_execution(classifier, self._precision, self._recipe.train.execution)
        cached = depth and supports_prefix(classifier.config)
        prefix = self._states(classifier.hidden_size) if cached else None
        rows = LabelledTokens(self._tokens, self._classes, prefix)
        if not self._texts:
            self._forward(classifier, execution, rows)
        # With so many epochs the learning rate stays above zero.
        train = self._recipe.train.model_copy(update={"epochs": 1000})
        stepper = Stepper(execution, rows, train, seed=0, workers=self._workers)
        stepper.batches = batches = _FirstTexts(self._tokens.lengths, train, 0)
        classifier.train()
        interrupt, done = Interrupt(), iter(range(10**9))

        def step(texts: int) -> None:
            batches.texts = texts
            stepper.step(next(done), interrupt)

        cost = self._timed(step)
        stepper.optimizer.release()
        return cost if rows.prefix is not None or not depth else cost - self.frozen.times(depth)

    def _forward(self, classifier: Classifier, execution: Execution, rows: LabelledTokens) -> None:
        """Choose the large batch, and time the frozen layers and what closes an evaluation."""
        prefix_forward = execution.prefix_forward(self._tokens)

        def frozen(texts: int) -> None:
            with torch.no_grad():
                prefix_forward(np.arange(texts))

        def closing(texts: int) -> None:
            with torch.inference_mode():
                execution.logits(self._tokens, np.arange(texts), prefix=rows.prefix)

        length = int(self._tokens.lengths[0])
        least = -(-LEAST_ROWS * torch.get_num_threads() // length)
        with classifier.evaluating():
            frozen(SMALL)
            a_text = _seconds(lambda: frozen(SMALL)) / (LAYERS - 1) / SMALL
            most = len(self._tokens)
            self._texts = min(most, max(least, SMALL + 1, int(self._pass_s / a_text)))
            self.frozen = self._timed(frozen).times(1 / (LAYERS - 1))
            cost = self._timed(closing)
        self.closing = cost if rows.prefix is not None else cost - self.frozen.times(LAYERS - 1)
        self._execution = execution.name

    def _timed(self, do: Callable[[int], None]) -> Cost:
        """Time a small batch and the large one; what is done fast, three times, of which the fastest counts."""
        do(SMALL)  # lays out weights and memory
        small = min(_seconds(lambda: do(SMALL)) for _ in range(2))
        large = _seconds(lambda: do(self._texts))
        if large < 8 * self._pass_s:
            large = min(large, *(_seconds(lambda: do(self._texts)) for _ in range(2)))
        return Cost.through(SMALL, small, self._texts, large)

    def _states(self, hidden: int) -> PrefixCache:
        """Return states as a cache holds them; speed does not depend on their values."""
        dtype = getattr(torch, self._precision.dtype_name)
        return PrefixCache(torch.randn(len(self._tokens.ids), hidden).to(dtype), self._tokens.offsets)

    def facts(self, seconds: float) -> dict[str, Any]:
        """Return how it was measured."""
        return {
            "seconds": seconds,
            "texts": self._texts,
            "tokens_per_text": int(self._tokens.lengths[0]),
            "threads": torch.get_num_threads(),
            "device": self._workers.device.type,
            "execution": self._execution,
            "precision": self._precision.dtype_name,
        }


class _FirstTexts(BatchSchedule):
    """Returns the first `texts` texts at every step."""

    texts = SMALL

    def batches_at(self, step: int) -> list[np.ndarray]:
        """Return that batch."""
        return [np.arange(self.texts)]


def _seconds(do: Callable[[], None]) -> float:
    began = time.perf_counter()
    do()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter() - began


def _draw_encoder(config: Mapping[str, Any], family: Family, folder: Path) -> None:
    """Write an encoder of LAYERS layers of the config's shapes, with random weights and few embeddings."""
    from transformers import AutoConfig, AutoModel

    special = {
        key: 0 for key, value in config.items() if key.endswith("_token_id") and (value or 0) >= VOCABULARY
    }
    values = {**config, **special, "vocab_size": VOCABULARY}
    values[family.keys.get("num_hidden_layers", "num_hidden_layers")] = LAYERS
    # What names each layer would name too many; names of classes are not needed.
    for key in ("model_type", "layer_types", "architectures", "id2label", "label2id", "torch_dtype", "dtype"):
        values.pop(key, None)
    with quiet_libraries(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        AutoModel.from_config(AutoConfig.for_model(family.name, **values)).save_pretrained(folder)
