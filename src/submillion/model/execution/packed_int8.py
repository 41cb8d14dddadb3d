"""The packed execution in int8: native kernels for prediction, with the adapters merged into the weights."""

from __future__ import annotations

import ctypes
import weakref
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from submillion.errors import BadInput, Problem
from submillion.model.execution.int8_rule import quantize_weights
from submillion.model.execution.kernel_setup import set_embeddings_and_positions
from submillion.model.execution.kernel_support import unsupported
from submillion.model.execution.kernel_weights import (
    GATED_PARTS,
    PARTS,
    ffn_size,
    layer_values,
    norm_and_dropouts,
    release_layer,
)
from submillion.model.execution.packed_texts import PackedTexts
from submillion.model.execution.pass_sizes import PASS_TOKENS
from submillion.model.precision import Precision
from submillion.native import int8, interface

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.protocol import PrefixForward, States

# Upper bound on the bytes of a group's rows in integers. Larger groups reuse each weight more often; beyond this,
# activations no longer fit in L2.
GROUP_BYTES = 128 * 768


def unsupported_int8(classifier: Classifier, layers: int | None = None) -> str | None:
    """Return why the int8 kernels cannot run this classifier here, or None if they can.

    Args:
        classifier: any.
        layers: how many layers are to run, from the lowest; None runs all.
    """
    return _library(classifier, layers)[1]


def _library(classifier: Classifier, layers: int | None) -> tuple[int8.Library | None, str | None]:
    """Return the kernels for a classifier, or None and the reason."""
    reason = unsupported(classifier, layers)
    if reason is not None:
        return None, reason
    if classifier.family.kernels.relative_positions:
        return None, f"the int8 kernels do not know the attention of {classifier.family.name} encoders"
    library, reason = int8.load_best()
    return library, None if library is not None else reason


def open_int8(
    classifier: Classifier,
    float_matrices: frozenset[tuple[int, str]] = frozenset(),
    layers: int | None = None,
) -> PackedInt8:
    """Return the int8 execution of a classifier.

    Args:
        classifier: on the CPU.
        float_matrices: see `PackedInt8`.
        layers: how many layers are to run, from the lowest; None runs all.

    Raises:
        BadInput: the kernels cannot run this classifier here.
    """
    library, reason = _library(classifier, layers)
    if library is None:
        raise BadInput(
            Problem("int8", "a classifier and a processor that the int8 kernels support", str(reason))
        )
    return PackedInt8(classifier, library, float_matrices)


class PackedInt8:
    """Predicts with one classifier on the int8 kernels; an `Execution` that cannot be trained.

    Matrix products run on integers, everything between them in float32. A text's result depends neither on the other
    texts of its batch nor on the number of threads, not even in its last bit.
    """

    def __init__(
        self,
        classifier: Classifier,
        library: int8.Library,
        float_matrices: frozenset[tuple[int, str]] = frozenset(),
    ) -> None:
        """Prepare to run a classifier; a layer's weights are quantized when it first runs.

        Args:
            classifier: on the CPU; `unsupported(classifier)` must return None. Its weights do not change.
            library: a build of the kernels.
            float_matrices: layer and target of the matrices that stay in float.

        Raises:
            ValueError: a member of `float_matrices` is no matrix of the classifier.
        """
        self.classifier, self.library, self.float_matrices = classifier, library, float_matrices
        self._layers = list(classifier.stack.layers)
        for layer, target in float_matrices:
            if target not in classifier.family.targets or not 0 <= layer < len(self._layers):
                raise ValueError(f"layer {layer} has no matrix {target!r}")
        self.precision = Precision("float32", False, "products in int8, the rest in float32")
        self.dtype = torch.float32
        self._kernels = classifier.family.kernels
        self._config = config = classifier.module.get_base_model().config
        shape = int8.Config(
            len(self._layers),
            config.hidden_size,
            ffn_size(classifier.family, classifier.config),
            config.num_attention_heads,
            self._kernels.pre_norm,
            norm_and_dropouts(self._layers[0], classifier.family)[0],
        )
        self._handle = library.create(shape)
        weakref.finalize(self, library.destroy, self._handle)
        self._packed_layers: set[int] = set()
        # tensors that the kernels hold pointers to
        self._referenced = set_embeddings_and_positions(library, self._handle, classifier)
        self._position_padding = classifier.family.position_padding(classifier.config)

    @property
    def name(self) -> str:
        """Its name in the manifest, e.g. `packed-int8-amx`."""
        return f"packed-{self.library.build.name.replace('_', '-', 1)}"

    @property
    def step_tokens(self) -> int | None:
        """See `Execution.step_tokens`."""
        return None

    @property
    def pass_tokens(self) -> int:
        """See `Execution.pass_tokens`."""
        return PASS_TOKENS

    def logits(self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: States | None = None) -> Tensor:
        """Return logits; see `Execution.logits`."""
        return self.classifier.head(self.features(tokens, rows, seed, prefix))

    def features(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: States | None = None
    ) -> Tensor:
        """Return the texts' pooled last states; see `Execution.features`."""
        del seed  # nothing is dropped
        texts = self._texts(tokens, rows)
        out = torch.empty(texts.texts, self._config.hidden_size)
        self._run(texts, rows, prefix, len(self._layers), features=out)
        return out

    def prefix_forward(self, tokens: Tokens) -> PrefixForward:
        """Return the function that computes the states entering the lowest adapted layer."""
        return lambda rows: self.states(tokens, rows, self.classifier.prefix_depth)

    def states(self, tokens: Tokens, rows: np.ndarray, depth: int, prefix: States | None = None) -> Tensor:
        """Return the states entering layer `depth`, texts end to end: float32 [T, D].

        Args:
            tokens: the texts.
            rows: indices of the texts to run.
            depth: the number of layers gives the output of the last one.
            prefix: as in `logits`.
        """
        texts = self._texts(tokens, rows)
        out = torch.empty(texts.tokens, self._config.hidden_size)
        self._run(texts, rows, prefix, depth, output_states=out)
        return out

    def _texts(self, tokens: Tokens, rows: np.ndarray) -> PackedTexts:
        if torch.is_grad_enabled():
            raise RuntimeError("the int8 kernels cannot train")
        self.classifier.check_tokens(tokens)
        return PackedTexts(tokens, rows, self._position_padding)

    def _run(
        self, texts: PackedTexts, rows: np.ndarray, prefix: States | None, end_layer: int, **outputs: Tensor
    ) -> None:
        first, states = 0, None
        if prefix is not None:
            first, states = self.classifier.prefix_depth, prefix.flat_states(rows).float().contiguous()
        for index in range(first, end_layer):
            if index not in self._packed_layers:
                self._pack(index)
        call = int8.Batch(
            texts=texts.texts,
            offsets=texts.offsets.ctypes.data,
            token_ids=texts.ids.ctypes.data,
            position_ids=texts.positions.ctypes.data,
            input_states=None if states is None else states.data_ptr(),
            first_layer=first,
            end_layer=end_layer,
            threads=torch.get_num_threads(),
            group_rows=max(32, GROUP_BYTES // (self.library.activation_bytes * self._config.hidden_size)),
            pooling=interface.POOLINGS.index(self.classifier.feature_pooling),
            **{name: value.data_ptr() for name, value in outputs.items()},
        )
        self.library.call("sm_forward", self._handle, ctypes.byref(call))

    def _pack(self, index: int) -> None:
        """Quantize a layer's weights and copy them into the kernels' layout."""
        layer, family = self._layers[index], self.classifier.family
        values = layer_values(layer, family, merged=True)
        referenced: list[Tensor] = list(values.values())
        weights = int8.Layer()
        for name, value in values.items():
            if name.startswith("norm"):
                setattr(weights, name, value.data_ptr())
        parts = GATED_PARTS if self._kernels.pre_norm else PARTS
        for target in family.targets:
            for name in parts[target]:
                matrix = getattr(weights, name)
                matrix.bias = values[f"{name}_bias"].data_ptr()
                if (index, target) in self.float_matrices:
                    matrix.floats = values[name].data_ptr()
                    continue
                integers, scales = quantize_weights(values[name])
                referenced += [integers, scales]
                matrix.values, matrix.scales = integers.data_ptr(), scales.data_ptr()
        threads = torch.get_num_threads()
        self.library.call("sm_load_layer", self._handle, index, ctypes.byref(weights), threads)
        del referenced
        self._packed_layers.add(index)
        release_layer(layer, family)
