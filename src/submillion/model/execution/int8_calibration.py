"""Measures how well int8 can hold the products of each matrix of a classifier, on texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from submillion.data.batches import collate, sequential
from submillion.model.execution.int8_reference import Int8Matrix
from submillion.model.execution.kernel_weights import GATED_PARTS, PARTS, layer_values
from submillion.terminal.progress import ProgressOption, progress_bar

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier

MatrixName = tuple[int, str]
"""Number of a layer from 0, and a target of the family, such as `ffn_down`."""
LARGEST_ERROR = 0.1
"""Relative error of its products above which a matrix stays in float; `benchmarks/int8_outliers.py` studies it."""
BATCH = 16
ROWS = 64
"""Tokens of a batch whose products are compared; the texts provide the variety, the products take the time."""
OF_ALL_TOKENS = frozenset(("key", "value", "qkv"))
"""Matrices that run for all tokens in the last layer too, where the head reads the first token only."""


def outliers(errors: Mapping[MatrixName, float], largest: float = LARGEST_ERROR) -> frozenset[MatrixName]:
    """Return the matrices whose error is above the largest one that int8 may cause."""
    return frozenset(name for name, error in errors.items() if error > largest)


def product_errors(
    classifier: Classifier, tokens: Tokens, progress: ProgressOption = False, layers: int | None = None
) -> dict[MatrixName, float]:
    """Return the relative error that int8 causes in the products of each matrix, adapters merged.

    It is the root of the mean squared error, divided by the standard deviation of the products over tokens: what all
    tokens have in common, such as a channel that is large in every token, says nothing about a text.

    Args:
        classifier: on the CPU.
        tokens: N texts, at least one.
        progress: show a bar on standard error.
        layers: how many layers to measure, from the lowest, either all (None) or those below the lowest adapter.

    Returns:
        By layer and target, with four digits.
    """
    measured: dict[MatrixName, _Products] = {}
    mask = torch.ones(0, 0, dtype=torch.bool)
    last = classifier.n_layers - 1

    def hook(name: MatrixName, weight: Tensor, bias: Tensor) -> Callable[..., None]:
        quantized = Int8Matrix(weight)
        first_only = (
            classifier.feature_pooling == "first" and name[0] == last and name[1] not in OF_ALL_TOKENS
        )

        def add(_module: Any, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            x, y = (values[:, 0] if first_only else values[mask] for values in (arguments[0], output))
            step = -(-len(x) // ROWS)
            exact = y[::step] - bias
            measured[name].add(exact, quantized.product(x[::step]))

        return add

    with (
        ExitStack() as hooks,
        classifier.evaluating(),
        torch.inference_mode(),
        progress_bar(progress, len(tokens), "measuring int8") as advance,
    ):
        for name, module, weight, bias in matrices(classifier, layers):
            measured[name] = _Products()
            hooks.callback(module.register_forward_hook(hook(name, weight, bias)).remove)
        for rows in sequential(tokens.lengths, BATCH):
            batch = collate(tokens, rows, classifier.pad_id)
            mask = batch["attention_mask"].bool()
            if layers is None:
                classifier(batch)
            else:
                classifier.states_entering(batch)
            advance(len(rows))
    return {name: float(f"{products.error:.4g}") for name, products in measured.items()}


class _Products:
    """Sums over the products of one matrix."""

    def __init__(self) -> None:
        self._rows = 0
        self._wrong = self._squares = 0.0
        self._sums: Tensor | float = 0.0

    def add(self, exact: Tensor, rounded: Tensor) -> None:
        """Add the products of some tokens, float32 [tokens, outputs]."""
        exact = exact.double()
        self._rows += len(exact)
        self._wrong += float((rounded.double() - exact).square().sum())
        self._squares += float(exact.square().sum())
        self._sums = self._sums + exact.sum(dim=0)

    @property
    def error(self) -> float:
        """The root of the mean squared error, as a share of the standard deviation over tokens."""
        common = float(torch.as_tensor(self._sums).square().sum()) / self._rows
        varying = max(self._squares - common, 1e-12 * max(self._squares, 1e-12))
        return float((self._wrong / varying) ** 0.5)


def matrices(
    classifier: Classifier, layers: int | None = None
) -> Iterator[tuple[MatrixName, Any, Tensor, Tensor]]:
    """Give the name of each matrix, its module, and its weight, the adapter merged, and bias.

    Args:
        classifier: of a family that the kernels support.
        layers: how many layers, from the lowest; None gives all.
    """
    family = classifier.family
    parts = GATED_PARTS if family.kernels.pre_norm else PARTS
    for number, layer in enumerate(list(classifier.stack.layers)[:layers]):
        values = layer_values(layer, family, merged=True)
        for target, path in family.suffixes.items():
            weight, bias = (
                torch.cat([values[f"{name}{of}"] for name in parts[target]]) for of in ("", "_bias")
            )
            yield (number, target), layer.get_submodule(path), weight, bias
