"""The packed execution: native kernels that run the classifier's own parameters on tokens without padding."""

from __future__ import annotations

import ctypes
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from submillion import native, notices
from submillion.errors import BadInput, Problem
from submillion.model.execution.kernel_setup import set_embeddings_and_positions
from submillion.model.execution.kernel_support import unsupported
from submillion.model.execution.kernel_weights import (
    adapters_of,
    ffn_size,
    layer_values,
    norm_and_dropouts,
    release_layer,
)
from submillion.model.execution.packed_texts import PackedTexts
from submillion.model.execution.pass_sizes import PASS_TOKENS, group_rows, step_tokens
from submillion.native import interface

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.precision import Precision
    from submillion.model.protocol import PrefixForward, States


def try_packed(
    classifier: Classifier, precision: Precision, requested: str = "auto", merged: bool = False
) -> Packed | None:
    """Return the packed execution of a classifier, or None if it needs the reference one; a notice gives the reason.

    Args:
        classifier: on its target device.
        precision: decides between bfloat16 and float32 kernels.
        requested: `auto`, `packed` or `reference`.
        merged: see `Packed`.

    Raises:
        BadInput: `packed` is requested and the kernels cannot run here.
    """
    reason = "requested" if requested == "reference" else unsupported(classifier)
    library = None
    if reason is None:
        library, reason = native.load_best_build(precision.dtype_name)
    if library is None:
        if requested == "packed":
            cause = f"a classifier that only the reference execution can run: {reason}"
            remedy = "Leave @{train.execution} at auto."
            raise BadInput(Problem("train.execution", "a classifier that the kernels can run", cause, remedy))
        notices.emit("execution", f"execution: reference ({reason})", execution="reference", reason=reason)
        return None
    notices.emit(
        "execution",
        f"execution: packed, {library.build.name} kernels ({reason})",
        execution="packed",
        kernels=library.build.name,
        reason=reason,
    )
    return Packed(classifier, precision, library, merged)


class Packed:
    """Runs one classifier on the kernels; frozen weights are packed once, trained ones are read in every call.

    A batch is its T tokens laid end to end; D is the hidden size. The kernels pool the last states of each text, and
    the head runs on torch.
    """

    def __init__(
        self, classifier: Classifier, precision: Precision, library: native.Library, merged: bool = False
    ) -> None:
        """Prepare to run a classifier; a layer's weights are packed when it first runs.

        Args:
            classifier: on the CPU; `unsupported(classifier)` must return None.
            precision: the number format that the library was chosen for.
            library: a build of the kernels.
            merged: merge the adapters into the frozen weights as they are packed. Inference is then faster and
                training impossible. The classifier's own weights do not change.
        """
        self.classifier, self.precision, self.library = classifier, precision, library
        self._config = classifier.module.get_base_model().config
        self._layers = list(classifier.stack.layers)
        self._packed_layers: dict[int, int] = {}  # by layer: the layouts that there are of its weights
        self.steps_in_int8 = False
        """Whether training steps multiply the frozen matrices in int8; see `int8_training`."""
        self.batches_run = 0
        self.dtype = torch.bfloat16 if library.build.dtype_name == "bfloat16" else torch.float32
        self._open()
        self._position_padding = classifier.family.position_padding(classifier.config)
        self._merged = merged
        none = [None] * len(interface.TARGETS)
        self._in_flight: Any = None
        self._gradients: list[Tensor] = []
        self._adapters = [none if merged else adapters_of(layer, classifier.family) for layer in self._layers]
        self.parameters = [
            value
            for adapters in self._adapters
            for adapter in adapters
            if adapter is not None
            for value in adapter.trained
        ]
        """A, B and DoRA's magnitude of every adapter, lowest layer first."""

    def _open(self) -> None:
        """Make the kernels' encoder, whose layers have no weights yet."""
        classifier, config = self.classifier, self._config
        shape = interface.EncoderConfig(
            len(self._layers),
            config.hidden_size,
            ffn_size(classifier.family, classifier.config),
            config.num_attention_heads,
            *norm_and_dropouts(self._layers[0], classifier.family),
            classifier.family.kernels.pre_norm,
        )
        self._handle = self.library.create(shape)
        self._finalizer = weakref.finalize(self, self.library.destroy, self._handle)
        # tensors that the kernels hold pointers to
        self._referenced = set_embeddings_and_positions(self.library, self._handle, classifier)
        self._packed_layers.clear()

    def end_training(self) -> None:
        """Give back the memory that training took: weights for the backward pass, and the values saved for it.

        Layers are packed anew when they next run. Not for an execution whose weights another one uses.
        """
        self._finalizer()
        self._in_flight, self._gradients = None, []
        self.steps_in_int8 = False
        self._open()

    def use_weights_of(self, other: Packed) -> bool:
        """Run on another execution's packed weights, in place of weights of its own, which must be equal.

        The adapters stay its own. Both must be used by one thread: the kernels hold one batch.

        Returns:
            False, with nothing changed, if one of the two has merged its adapters or runs on other kernels.
        """
        if self._merged or other._merged or self.library.build.name != other.library.build.name:
            return False
        self._finalizer()
        self._shared_with = other  # whose end destroys the kernels' weights
        self._handle, self._packed_layers, self._referenced = other._handle, other._packed_layers, []
        return True

    @property
    def name(self) -> str:
        """Its name in the manifest, e.g. `packed-amx`."""
        return f"packed-{self.library.build.name}"

    @property
    def has_dora(self) -> bool:
        """Whether an adapter is DoRA's, with a trained magnitude."""
        return any(
            adapter is not None and adapter.weight_squares is not None
            for layer in self._adapters
            for adapter in layer
        )

    @property
    def step_tokens(self) -> int:
        """See `Execution.step_tokens`."""
        trained = len(self._layers) - self.classifier.prefix_depth
        return step_tokens(trained, self.classifier.hidden_size, self.dtype.itemsize)

    @property
    def pass_tokens(self) -> int:
        """See `Execution.pass_tokens`."""
        return PASS_TOKENS

    def logits(self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: States | None = None) -> Tensor:
        """Return logits; see `Execution.logits`.

        One batch at a time: the next call overwrites the values that the backward pass of this one needs.
        """
        return self.classifier.head(self.features(tokens, rows, seed, prefix))

    def features(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: States | None = None
    ) -> Tensor:
        """Return the texts' pooled last states; see `Execution.features`. One batch at a time, as in `logits`."""
        self.classifier.check_tokens(tokens)
        batch = PackedTexts(tokens, rows, self._position_padding)
        first, states = self._start(rows, prefix)
        if torch.is_grad_enabled():
            if self._merged:
                raise RuntimeError("merged adapters cannot be trained")
            features: Tensor = _PackedFeatures.apply(  # type: ignore[no-untyped-call]
                self, batch, seed, first, states, *self.parameters
            )
            return features
        return self.run_forward(batch, seed, first, states, save=False)

    def prefix_forward(self, tokens: Tokens) -> PrefixForward:
        """Return the function that computes the states entering the lowest adapted layer."""
        return lambda rows: self.states(tokens, rows, self.classifier.prefix_depth)

    def states(self, tokens: Tokens, rows: np.ndarray, depth: int, prefix: States | None = None) -> Tensor:
        """Return the states entering layer `depth`, without dropout, texts end to end: [T, D] in `dtype`.

        Args:
            tokens: the texts.
            rows: indices of the texts to run.
            depth: the number of layers gives the output of the last one.
            prefix: as in `logits`.
        """
        self.classifier.check_tokens(tokens)
        batch = PackedTexts(tokens, rows, self._position_padding)
        first, states = self._start(rows, prefix)
        out = torch.empty(batch.tokens, self._config.hidden_size, dtype=self.dtype)
        call = self._call(batch, 0, first, states, training=False, save=False)
        call.end_layer, call.features, call.output_states = depth, None, out.data_ptr()
        self._run(call, first, depth)
        return out

    def _start(self, rows: np.ndarray, prefix: States | None) -> tuple[int, Tensor | None]:
        """Return the first layer to run, and the states [T, D] that enter it unless it is the lowest one."""
        if prefix is None:
            return 0, None
        return self.classifier.prefix_depth, prefix.flat_states(rows).to(self.dtype).contiguous()

    def run_forward(
        self, batch: PackedTexts, seed: int, first: int, states: Tensor | None, save: bool
    ) -> Tensor:
        """Return the texts' pooled last states, float32 [B, D]; `save` prepares for `run_backward`."""
        features = torch.empty(batch.texts, self._config.hidden_size)
        call = self._call(batch, seed, first, states, self.classifier.training, save)
        call.features = features.data_ptr()
        call.pooling = interface.POOLINGS.index(self.classifier.feature_pooling)
        self._run(call, first, len(self._layers))
        self.batches_run += 1
        return features

    def run_backward(self, gradient: Tensor) -> list[Tensor]:
        """Return the gradients of `parameters`, given that of the last `run_forward` [B, D]."""
        gradient = gradient.float().contiguous()
        self.library.call("sm_backward", self._handle, ctypes.c_void_p(gradient.data_ptr()))
        return self._gradients

    def _call(
        self,
        batch: PackedTexts,
        seed: int,
        first: int,
        states: Tensor | None,
        training: bool,
        save: bool,
    ) -> interface.Batch:
        self._gradients = [torch.empty_like(value) for value in self.parameters] if save else []
        values = [value.detach().contiguous() for value in self.parameters]
        adapters = self._adapter_array(values, save)
        # The kernels read this memory until the next batch.
        self._in_flight = (batch, states, values, adapters)
        return interface.Batch(
            texts=batch.texts,
            offsets=batch.offsets.ctypes.data,
            token_ids=batch.ids.ctypes.data,
            position_ids=batch.positions.ctypes.data,
            input_states=None if states is None else states.data_ptr(),
            first_layer=first,
            end_layer=len(self._layers),
            training=training,
            save_activations=save,
            threads=torch.get_num_threads(),
            group_rows=group_rows(self._config.hidden_size),
            seed=seed,
            adapters=ctypes.addressof(adapters),
        )

    def _adapter_array(self, values: list[Tensor], save: bool) -> Any:
        """Return the kernels' array of adapters, one for each layer and target."""
        adapters = (interface.Adapter * (len(self._layers) * len(interface.TARGETS)))()
        at, names = 0, ("a", "b", "magnitude")
        for layer, of_layer in enumerate(self._adapters):
            for target, adapter in enumerate(of_layer):
                if adapter is None:
                    continue
                entry = adapters[layer * len(interface.TARGETS) + target]
                for name, value in zip(names, values[at : at + len(adapter.trained)], strict=False):
                    setattr(entry, name, value.data_ptr())
                    if save:
                        setattr(entry, f"d{name}", self._gradients[at].data_ptr())
                    at += 1
                if adapter.weight_squares is not None:
                    entry.weight_squares = adapter.weight_squares.data_ptr()
                entry.r, entry.scale, entry.dropout = adapter.a.shape[0], adapter.scale, adapter.dropout
        return adapters

    def _run(self, call: interface.Batch, first: int, last: int) -> None:
        for index in range(first, last):
            # Only layers with a gradient need the layout for the backward pass; inference needs none.
            layout = interface.FORWARD
            if call.save_activations and index >= self.classifier.prefix_depth:
                layout |= interface.BACKWARD
            if call.save_activations and self.steps_in_int8:
                layout |= interface.INT8
            packed = self._packed_layers.get(index, 0)
            if layout & ~packed:
                self._pack(index, layout | packed)
        self.library.call("sm_forward", self._handle, ctypes.byref(call))

    # -- packing the frozen weights -----------------------------------------------------------------------

    def _pack(self, index: int, layout: int) -> None:
        """Copy a layer's weights into the kernels' layouts; those that there are stay."""
        layer, family = self._layers[index], self.classifier.family
        values = layer_values(layer, family, self._merged)
        weights = interface.LayerWeights(**{name: value.data_ptr() for name, value in values.items()})
        self.library.call(
            "sm_load_layer",
            self._handle,
            index,
            ctypes.byref(weights),
            layout,
            torch.get_num_threads(),
        )
        self._packed_layers[index] = layout
        release_layer(layer, family)


class _PackedFeatures(torch.autograd.Function):
    """Pooled last states of the texts [B, D], differentiable in the adapters."""

    @staticmethod
    def forward(
        ctx: Any,
        packed: Packed,
        batch: PackedTexts,
        seed: int,
        first: int,
        states: Tensor | None,
        *_: Tensor,
    ) -> Tensor:
        features = packed.run_forward(batch, seed, first, states, save=True)
        ctx.packed, ctx.batch_number = packed, packed.batches_run
        return features

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        if ctx.batch_number != ctx.packed.batches_run:
            raise RuntimeError("a later batch has overwritten the values that this backward pass needs")
        return (None, None, None, None, None, *ctx.packed.run_backward(gradient))
