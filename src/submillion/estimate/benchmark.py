"""Times the layers of an encoder on this machine, so that a plan can predict texts/s and hours.

Trains an encoder of three layers with the shapes of the real one and random weights, through the real training step:
with all three layers adapted, with the upper two on cached states, and with the last one alone. The cost of each layer
follows by subtraction, and `budget.time_model` adds layers up to any depth. No weights are read.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel

from submillion.budget.plan_result import PlanResult
from submillion.budget.time_model import AdaptedCost, Cost, Measurement, Workload, speed_of
from submillion.data.tokens import from_rows
from submillion.errors import BadInput, Problem
from submillion.estimate.workload import workload_of
from submillion.families.families import family_of
from submillion.families.family import Family
from submillion.fit.interrupt import Interrupt
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.step import Stepper
from submillion.fit.workers import Workers
from submillion.model.build import build
from submillion.model.execution.choose import choose_execution
from submillion.model.execution.int8_training import set_step_precision
from submillion.model.loading import quiet_libraries
from submillion.model.precision import choose_precision
from submillion.model.prefix import PrefixCache
from submillion.model.process_state import training_settings
from submillion.model.stack import supports_prefix
from submillion.recipe import LoraRecipe, Recipe

if TYPE_CHECKING:
    from submillion.model.protocol import Execution

BUDGET_S = 2.0
VOCABULARY = 1000
"""Rows of the random embeddings; a lookup takes as long in a large table."""
LAYERS = 3
SMALL = 2
"""Texts of the small batch, whose time shows the fixed cost of a step."""
MIN_ROWS = 256
"""Tokens per thread in the large batch; with fewer, the kernels do not reach their full speed."""
FORWARD_PASSES, PASSES = 3, 10
"""Measured work in forward passes through one layer: 3 in inference, and 5.5 + 3.5 + 1 per set of targets."""
ONE_BATCH = {
    "epochs": 1000,  # keeps the learning rate above zero
    "steps": None,
    "r_drop": 0.0,  # the second pass is counted by the time model
    "average_from": None,
    "batch_tokens": None,
    "gradient_accumulation_steps": 1,
    "max_tokens": None,
    "max_seconds": None,
}
"""Training fields with which every step takes all texts."""


def with_speed(
    result: PlanResult,
    rows: int | None = None,
    tokens: float | None = None,
    epochs: int | None = None,
    budget_s: float = BUDGET_S,
) -> PlanResult:
    """Return the result with the predicted speed of each of its configurations on this machine.

    Args:
        result: the result of `submillion plan`.
        rows: training texts; None uses the recipe's data if they are on this machine, else the number of AG News.
        tokens: mean tokens per text; None likewise.
        epochs: None uses the recipe's, or 5.
        budget_s: approximate seconds to measure; a slow or busy machine takes longer.

    Raises:
        BadInput: a configuration has no adapters, so its cost cannot be interpolated.
    """
    if any(lora.variant == "bitfit" for lora in result.loras):
        raise BadInput(Problem("plan --speed", "a lora.variant with adapters", "bitfit"))
    recipe = result.recipe or Recipe.load("agnews")
    work = workload_of(result, rows, tokens, epochs)
    measurement = measure(result.config, result.num_labels, recipe, result.loras, work, budget_s)
    cached = recipe.train.prefix_cache and supports_prefix(result.config)
    speeds = [speed_of(measurement, result.config, lora, work, cached) for lora in result.loras]
    return replace(result, speeds=speeds, measured=dict(measurement.facts) | {"workload": work.to_json()})


def measure(
    config: Mapping[str, Any],
    num_labels: int,
    recipe: Recipe,
    loras: Sequence[LoraRecipe],
    work: Workload,
    budget_s: float = BUDGET_S,
) -> Measurement:
    """Time the layers of an encoder with the narrowest and the widest targets of some configurations.

    Args:
        config: the encoder's config.json.
        num_labels: number of classes.
        recipe: its precision, execution, threads, dropouts and head are used.
        loras: the configurations to predict; their median rank is timed.
        work: its tokens and batch size are used.
        budget_s: approximate seconds to measure.

    Raises:
        BadInput: this machine does not support the recipe's execution or precision.
    """
    family = family_of(config)
    matrices = family.inventory(config, num_labels).matrices
    widths = {sum(matrices[name].per_rank for name in family.expand(lora.targets)): lora for lora in loras}
    ends = sorted({min(widths), max(widths)})
    rank = int(statistics.median(lora.r for lora in loras))
    length = min(max(4, round(work.tokens / work.windows)), family.longest_input(config))
    pass_s = budget_s / (FORWARD_PASSES + PASSES * len(ends))
    started_at = time.perf_counter()
    workers = Workers.start()
    with (
        training_settings(recipe.train.threads, workers.device.type),
        TemporaryDirectory(prefix="speed-") as folder,
    ):
        _save_random_encoder(config, family, Path(folder))
        encoder = recipe.encoder.model_copy(update={"source": folder})
        data = recipe.data.model_copy(update={"max_length": length})
        small = recipe.model_copy(update={"encoder": encoder, "data": data, "budget": 2**62})
        bench = _Bench(small, num_labels, max(work.batch_size, SMALL + 1), pass_s, workers)
        adapted = [bench.adapted(widths[width].targets, rank, width) for width in ends]
        facts = {"seconds": time.perf_counter() - started_at} | bench.facts()
    return Measurement(bench.frozen, bench.closing, adapted, facts)


class _Bench:
    """Times steps of small encoders at two batch sizes; the first encoder also gives the inference costs."""

    frozen: Cost
    closing: Cost

    def __init__(
        self, recipe: Recipe, num_labels: int, max_texts: int, pass_s: float, workers: Workers
    ) -> None:
        """Draw random texts.

        Args:
            recipe: how to train; its encoder is the small one, its `data.max_length` the length of every text.
            num_labels: number of classes.
            max_texts: maximum texts of the large batch.
            pass_s: seconds for one layer's forward pass on the large batch.
            workers: this process.
        """
        self._recipe, self._pass_s, self._workers = recipe, pass_s, workers
        self._labels = [str(label) for label in range(num_labels)]
        self._precision = choose_precision(recipe.train.precision)
        self._length = recipe.data.max_length
        generator = np.random.default_rng(0)
        self._tokens = from_rows(list(generator.integers(5, VOCABULARY, (max_texts, self._length))))
        self._classes = generator.integers(0, num_labels, max_texts)
        self._texts = 0  # of the large batch; chosen by the first measurement
        self._execution = ""

    def adapted(self, targets: list[str], rank: int, width: int) -> AdaptedCost:
        """Time the training steps with adapters on some targets."""
        last = self._step_cost(targets, rank, depth=LAYERS - 1)
        upper = self._step_cost(targets, rank, depth=LAYERS - 2)
        all_layers = self._step_cost(targets, rank, depth=0)
        return AdaptedCost(width, lowest=upper - last, between=all_layers - upper, last=last)

    def facts(self) -> dict[str, Any]:
        """Return how it was measured."""
        return {
            "texts": self._texts,
            "tokens_per_text": self._length,
            "threads": torch.get_num_threads(),
            "device": self._workers.device.type,
            "execution": self._execution,
            "precision": self._precision.dtype_name,
        }

    def _step_cost(self, targets: list[str], rank: int, depth: int) -> Cost:
        """Return the cost of a training step above `depth` frozen layers whose output is cached, if possible."""
        lora = self._recipe.lora.model_copy(
            update={"r": rank, "targets": targets, "layers": list(range(depth, LAYERS)), "bias": "none"}
        )
        recipe = self._recipe.model_copy(update={"lora": lora})
        with quiet_libraries():
            classifier = build(recipe.encoder.source, self._labels, recipe).to(self._workers.device)
        execution = choose_execution(classifier, self._precision, recipe.train.execution)
        set_step_precision(recipe.train, execution)
        states = None
        if depth and supports_prefix(classifier.config):
            # As a prefix cache holds them; speed does not depend on their values.
            states = torch.randn(len(self._tokens.ids), classifier.hidden_size).to(
                getattr(torch, self._precision.dtype_name)
            )
        if not self._texts:
            self._time_inference(execution, states)
        classifier.train()
        cost = self._cost(lambda texts: self._training(execution, states, texts))
        return cost if states is not None or not depth else cost - self.frozen.times(depth)

    def _time_inference(self, execution: Execution, states: torch.Tensor | None) -> None:
        """Choose the large batch; time the frozen layers, and the last layer with the head."""
        prefix_forward = execution.prefix_forward(self._tokens)
        prefix = None if states is None else PrefixCache(states, self._tokens.offsets)

        @contextmanager
        def frozen(texts: int) -> Iterator[Callable[[], object]]:
            with torch.no_grad():
                yield lambda: prefix_forward(np.arange(texts))

        @contextmanager
        def closing(texts: int) -> Iterator[Callable[[], object]]:
            with torch.inference_mode():
                yield lambda: execution.logits(self._tokens, np.arange(texts), prefix=prefix)

        min_texts = max(-(-MIN_ROWS * torch.get_num_threads() // self._length), SMALL + 1)
        with execution.classifier.evaluating():
            with frozen(SMALL) as run:
                run()
                per_text = _seconds(run) / (LAYERS - 1) / SMALL
            self._texts = min(len(self._tokens), max(min_texts, int(self._pass_s / per_text)))
            self.frozen = self._cost(frozen).times(1 / (LAYERS - 1))
            cost = self._cost(closing)
        self.closing = cost if prefix is not None else cost - self.frozen.times(LAYERS - 1)
        self._execution = execution.name

    @contextmanager
    def _training(
        self, execution: Execution, states: torch.Tensor | None, texts: int
    ) -> Iterator[Callable[[], object]]:
        """Yield a function that runs a training step on the first `texts` texts."""
        tokens = self._tokens.take(np.arange(texts))
        prefix = None if states is None else PrefixCache(states[: len(tokens.ids)], tokens.offsets)
        rows = LabelledTokens(tokens, self._classes[:texts], prefix)
        train = self._recipe.train.model_copy(update=ONE_BATCH | {"batch_size": texts})
        stepper = Stepper(execution, rows, train, seed=0, workers=self._workers)
        interrupt, numbers = Interrupt(), itertools.count()
        try:
            yield lambda: stepper.step(next(numbers), interrupt)
        finally:
            stepper.optimizer.release()

    def _cost(self, prepare: Callable[[int], Any]) -> Cost:
        """Return the line through the times of the small batch and of the large one.

        Args:
            prepare: takes a number of texts and returns a context manager that yields the function to time. Fast
                functions are timed three times, and the shortest time counts.
        """
        with prepare(SMALL) as run:
            run()  # packs weights and allocates memory
            small = min(_seconds(run) for _ in range(2))
        with prepare(self._texts) as run:
            large = _seconds(run)
            if large < 8 * self._pass_s:
                large = min(large, *(_seconds(run) for _ in range(2)))
        return Cost.through(SMALL, small, self._texts, large)


def _seconds(run: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    run()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter() - started_at


def _save_random_encoder(config: Mapping[str, Any], family: Family, folder: Path) -> None:
    """Save an encoder of LAYERS layers with the shapes of `config`, random weights and few embeddings."""
    special = {
        key: 0 for key, value in config.items() if key.endswith("_token_id") and (value or 0) >= VOCABULARY
    }
    values = {**config, **special, "vocab_size": VOCABULARY}
    values[family.keys.get("num_hidden_layers", "num_hidden_layers")] = LAYERS
    # `layer_types` has one entry per layer; the class names are not needed.
    for key in ("model_type", "layer_types", "architectures", "id2label", "label2id", "torch_dtype", "dtype"):
        values.pop(key, None)
    models: Any = AutoModel  # its functions have no types
    with quiet_libraries(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        models.from_config(AutoConfig.for_model(family.name, **values)).save_pretrained(folder)
