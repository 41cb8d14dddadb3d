"""Trains adapters of peft in the upper layers of BERT and MPNet from cached states, for studies of a few labels."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from peft import get_peft_model
from transformers import AutoModel, AutoTokenizer

from benchmarks.accuracy.sets import Rows
from benchmarks.encoders import catalog_folder
from submillion.fit.head_start import STRENGTH, fit_probe
from submillion.fit.interpolation import interpolate
from submillion.fit.label_names import LabelNames
from submillion.fit.loss import TrainingLoss, log_shares
from submillion.recipe_training import TrainRecipe

BATCH = 32
WARMUP = 0.1
FEED_FORWARD = ("intermediate.dense", "output.dense")
MATRICES = {
    "bert": (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        *FEED_FORWARD,
    ),
    "mpnet": ("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o", *FEED_FORWARD),
}
"""Matrices of a layer by the encoder's type."""


@dataclass(frozen=True)
class Part:
    """Texts as they enter the lowest adapted layer."""

    states: list[torch.Tensor]
    """Per text float32 [tokens, D]."""
    labels: np.ndarray
    """int [N]."""

    def at(self, rows: Sequence[int] | np.ndarray) -> Part:
        """Return some of the texts."""
        return Part([self.states[row] for row in rows], self.labels[np.asarray(rows)])


@dataclass(frozen=True)
class Training:
    """How adapters and head are trained."""

    steps: int
    """Optimizer steps."""
    rate: float
    """Peak learning rate."""
    seed: int
    """Of the adapters' first values and the order of texts."""
    balanced: bool = False
    """Weight the classes of probe and loss by the inverse of their rows."""
    adjustment: float = 0.0
    """tau of the logit adjustment; see `submillion.fit.loss`."""
    strength: float = STRENGTH
    """Of the probe, the inverse of its penalty."""
    names: LabelNames | None = None
    """Further rows of the probe."""
    shares: tuple[float, ...] = ()
    """Shares of the change to answer with as well; see `submillion.fit.interpolation`."""


@dataclass(frozen=True)
class Answer:
    """Logits of the development texts, and what they cost."""

    logits: np.ndarray
    """float32 [N, C]."""
    parameters: int
    """Trained parameters, head included."""
    seconds: float
    """Processor seconds of the training."""
    interpolated: dict[float, np.ndarray] = field(default_factory=dict)
    """The logits with a share of the training's change, by share."""


class UpperLayers:
    """The upper layers of a frozen encoder, and the states of texts below them."""

    def __init__(self, encoder: str, layers: int, max_tokens: int) -> None:
        """Load an encoder of the catalog.

        Args:
            encoder: its name; a BERT or MPNet encoder.
            layers: adapted layers, from the top.
            max_tokens: tokens at which texts are cut.
        """
        folder = catalog_folder(encoder)
        models: Any = AutoModel
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = models.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False)
        self._model.eval().requires_grad_(False)
        self._max_tokens = max_tokens
        depth = len(self._model.encoder.layer)
        self.numbers = range(depth - layers, depth)
        self.hidden: int = self._model.config.hidden_size

    def names(self) -> list[str]:
        """Return the names of the adapted matrices."""
        matrices = MATRICES[self._model.config.model_type]
        return [f"encoder.layer.{number}.{name}" for number in self.numbers for name in matrices]

    def copy(self) -> torch.nn.Module:
        """Return a copy of the encoder that adapters can be put into."""
        fresh: torch.nn.Module = copy.deepcopy(self._model)
        return fresh

    @torch.inference_mode()
    def states(self, rows: Rows) -> Part:
        """Run the layers below the adapters once for each text."""
        ids = self._tokenizer(rows.texts, truncation=True, max_length=self._max_tokens)["input_ids"]
        states: list[torch.Tensor] = [torch.empty(0)] * len(ids)
        for batch in by_length([len(tokens) for tokens in ids]):
            width = max(len(ids[row]) for row in batch)
            padded = torch.full((len(batch), width), self._tokenizer.pad_token_id)
            for place, row in enumerate(batch):
                padded[place, : len(ids[row])] = torch.tensor(ids[row])
            lengths = torch.tensor([len(ids[row]) for row in batch])
            hidden = self._model.embeddings(input_ids=padded)
            hidden = through(self._model, range(self.numbers.start), hidden, attention(lengths, width))
            for place, row in enumerate(batch):
                states[row] = hidden[place, : len(ids[row])].clone()
        return Part(states, np.array(rows.labels))

    @torch.inference_mode()
    def features(self, part: Part, model: torch.nn.Module | None = None) -> np.ndarray:
        """Return the mean of the last states of each text, float32 [N, D]."""
        model = self._model if model is None else model
        found = np.empty((len(part.states), self.hidden), dtype=np.float32)
        for batch in by_length([len(states) for states in part.states]):
            found[batch] = self.means(model, [part.states[row] for row in batch]).numpy()
        return found

    def means(self, model: torch.nn.Module, texts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the mean of the last states of B texts, [B, D]."""
        lengths = torch.tensor([len(states) for states in texts])
        hidden = torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True)
        width = hidden.shape[1]
        hidden = through(model, self.numbers, hidden, attention(lengths, width))
        real = (torch.arange(width) < lengths[:, None]).unsqueeze(2)
        return (hidden * real).sum(dim=1) / lengths[:, None]


def through(model: Any, numbers: range, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Run some layers of an encoder."""
    layers = [model.encoder.layer[number] for number in numbers]
    if model.config.model_type != "mpnet":
        for layer in layers:
            hidden = layer(hidden, mask)
        return hidden
    # MPNet adds positions and mask to the scores.
    bias = model.encoder.compute_position_bias(hidden)
    if mask is not None:
        bias = bias.masked_fill(~mask, torch.finfo(bias.dtype).min)
    for layer in layers:
        hidden = layer(hidden, None, bias)[0]
    return hidden


def attention(lengths: torch.Tensor, width: int) -> torch.Tensor | None:
    """Return which positions each text attends to, bool [B, 1, width, width]; None where there is no padding."""
    if int(lengths.min()) == width:
        return None
    real = torch.arange(width) < lengths[:, None]
    return real[:, None, None, :].expand(-1, 1, width, -1)


def by_length(lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the rows in batches of similar length."""
    order = np.argsort(np.array(lengths), kind="stable")
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def train_adapters(
    upper: UpperLayers,
    config: Any,
    train: Part,
    dev: Part,
    classes: int,
    training: Training,
) -> Answer:
    """Train adapters and a linear head on the mean, which begins as a probe, and return the logits of `dev`.

    AdamW, cross-entropy, batches of 32 texts, learning rate with 10 % warm-up and linear decay, gradients of norm 1 at
    most, float32, no dropout.

    Args:
        upper: the encoder.
        config: of peft's adapters.
        train: training texts.
        dev: texts to predict.
        classes: C.
        training: steps, rate, seed and weights.
    """
    torch.manual_seed(training.seed)
    began = time.process_time()
    head = _probe_head(upper, train, classes, training)
    adapted: Any = get_peft_model(upper.copy(), config)
    adapted.eval()
    module = adapted.get_base_model()
    trained = _trained(adapted, head)
    values = list(trained.values())
    first = {name: value.detach().clone() for name, value in trained.items()}
    _optimize(lambda texts: head(upper.means(module, texts)), values, train, classes, training)
    seconds = time.process_time() - began
    last = {name: value.detach().clone() for name, value in trained.items()}
    logits = {}
    for share in (1.0, *training.shares):
        for name, value in trained.items():
            value.data.copy_(last[name])
        interpolate(first, trained, share)
        with torch.inference_mode():
            logits[share] = head(torch.from_numpy(upper.features(dev, module))).numpy()
    return Answer(logits.pop(1.0), sum(value.numel() for value in values), seconds, logits)


def _probe_head(upper: UpperLayers, train: Part, classes: int, training: Training) -> torch.nn.Linear:
    """Return an output layer with the values of a probe on the frozen encoder."""
    probe = fit_probe(
        upper.features(train),
        train.labels,
        classes,
        training.seed,
        training.balanced,
        training.strength,
        training.names,
    )
    head = torch.nn.Linear(upper.hidden, classes)
    # What logit adjustment adds in training is taken off, so that training begins at the loss of the probe.
    shift = training.adjustment * log_shares(train.labels, classes).astype(np.float32)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(probe.weight))
        head.bias.copy_(torch.from_numpy(probe.bias - shift))
    return head


def _optimize(
    logits_of: Callable[[Sequence[torch.Tensor]], torch.Tensor],
    values: Sequence[torch.Tensor],
    train: Part,
    classes: int,
    training: Training,
) -> None:
    """Take the steps of a training.

    Args:
        logits_of: returns the logits [B, C] of B texts.
        values: the trained parameters, changed in place.
        train: training texts.
        classes: C.
        training: steps, rate, seed and weights.
    """
    optimizer = torch.optim.AdamW(values, lr=training.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_of(training.steps))
    labels = torch.from_numpy(train.labels)
    recipe = TrainRecipe(
        class_weights="balanced" if training.balanced else "none", logit_adjustment=training.adjustment
    )
    losses = TrainingLoss(train.labels, classes, recipe, torch.device("cpu"))
    for batch in batches(len(labels), training.steps, np.random.default_rng(training.seed)):
        truth = labels[torch.from_numpy(batch)]
        loss = losses.sum(logits_of([train.states[row] for row in batch]), truth) / len(batch)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(values, 1.0)
        optimizer.step()
        schedule.step()


def _trained(adapted: torch.nn.Module, head: torch.nn.Linear) -> dict[str, torch.Tensor]:
    """Return the trained parameters by name."""
    named = dict(adapted.named_parameters()) | {
        f"head.{name}": value for name, value in head.named_parameters()
    }
    return {name: value for name, value in named.items() if value.requires_grad}


def rate_of(steps: int) -> Callable[[int], float]:
    """Return the share of the peak learning rate of each step."""
    warmup = max(1, round(WARMUP * steps))
    return lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))


def batches(rows: int, steps: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the rows of each step; all rows come up before any does again."""
    queue = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(queue) < min(BATCH, rows):
            queue = np.concatenate([queue, generator.permutation(rows)])
        batch, queue = queue[:BATCH], queue[BATCH:]
        yield np.unique(batch)
