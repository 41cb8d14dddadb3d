"""The packed execution: the classifier's own parameters, run by the native kernels without padding or waste."""

from __future__ import annotations

import ctypes
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from submillion import native, notices
from submillion.errors import BadInput, Problem
from submillion.model.execution.packed_texts import PackedTexts
from submillion.model.execution.page_release import give_back

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.precision import Precision
    from submillion.model.prefix import Compute, PrefixCache

# The norms of a layer: after attention, after the feed-forward part.
NORMS = {
    "bert": ("attention.output.LayerNorm", "output.LayerNorm"),
    "roberta": ("attention.output.LayerNorm", "output.LayerNorm"),
    "xlm-roberta": ("attention.output.LayerNorm", "output.LayerNorm"),
    "mpnet": ("attention.LayerNorm", "output.LayerNorm"),
}
MATRICES = ("q", "k", "v", "out", "up", "down")  # in the kernels' order
BLOCK = 32  # channels of a block; the kernels know no smaller piece
# Token rows that go through a layer together, at most: the more there are, the less often weights come from memory,
# and up to here their activations stay in the second cache.
GROUP_CHANNELS = 640 * 768
# Tokens x layers x channels of a forward and backward pass in training: 1,792 tokens of all layers of roberta-base.
# What is kept for the backward pass grows with them (some 14 kB per token and layer there, in bfloat16). A pass of
# 4,096 tokens is as fast as any.
STEP_VALUES = 1792 * 12 * 768
MOST_STEP_TOKENS = 4096
# Tokens of a pass that keeps nothing: more would fill groups no better, and on a slow machine it is to end soon.
PASS_TOKENS = 8192


def group_rows(hidden: int) -> int:
    """Return the token rows of a group, for an encoder of so many channels."""
    return max(128, GROUP_CHANNELS // hidden)


def open_packed(
    classifier: Classifier, precision: Precision, wanted: str = "auto", merged: bool = False
) -> Packed | None:
    """Return the packed execution of a classifier, None where it runs on the reference one; a notice says why.

    Args:
        precision: decides between bfloat16 and float32 kernels.
        wanted: `auto`, `packed` or `reference`.
        merged: as in `Packed`.

    Raises:
        BadInput: `packed` is wanted and cannot be had.
    """
    reason = "asked for" if wanted == "reference" else unsupported(classifier)
    library = None
    if reason is None:
        library, reason = native.choose(precision.dtype_name)
    if library is None:
        if wanted == "packed":
            found = f"what runs on the reference execution only: {reason}"
            raise BadInput(Problem("train.execution", "what the kernels can run", found, "Leave it at auto."))
        notices.emit("execution", f"execution reference: {reason}", execution="reference", reason=reason)
        return None
    notices.emit(
        "execution",
        f"execution packed ({library.path.name}): {reason}",
        execution="packed",
        kernels=library.path.name,
        reason=reason,
    )
    return Packed(classifier, library, merged)


def unsupported(classifier: Classifier) -> str | None:
    """Return why the kernels cannot run this classifier, or None where they can."""
    family, config = classifier.family.name, classifier.module.get_base_model().config
    if family not in NORMS:
        return f"there are no kernels for {family} encoders"
    if classifier.device.type != "cpu":
        return f"the kernels run on processors, the model is on {classifier.device.type}"
    if config.hidden_act != "gelu":
        return f"the kernels compute gelu, the encoder {config.hidden_act}"
    sizes = (config.hidden_size, config.intermediate_size, config.hidden_size // config.num_attention_heads)
    if any(size % BLOCK for size in sizes) or config.hidden_size % config.num_attention_heads:
        return f"hidden size, inner size and head size {sizes} are not multiples of {BLOCK}"
    if getattr(config, "is_decoder", False) or getattr(config, "position_embedding_type", "absolute") not in (
        "absolute",
        None,
    ):
        return "the encoder's attention is of another kind"
    if any(_trains(feeder) for feeder in classifier.stack.feeders):
        return "something in the embeddings is trained"
    for index, layer in enumerate(classifier.stack.layers):
        known: set[int] = set()
        for suffix in classifier.family.suffixes.values():
            module: Any = layer.get_submodule(suffix)
            if hasattr(module, "lora_E") or hasattr(module, "vera_lambda_b"):
                return "an adapter is of another kind than LoRA"
            if not hasattr(module, "lora_A"):
                continue
            if list(module.lora_A) != ["default"] or module.merged or module.use_dora.get("default"):
                return "an adapter is of another kind than one unmerged LoRA"
            a, b = module.lora_A["default"], module.lora_B["default"]
            if b.bias is not None:
                return "an adapter has a bias"
            known |= {id(a.weight), id(b.weight)}
        for name, value in layer.named_parameters():
            if value.requires_grad and id(value) not in known:
                return f"{name} of layer {index} is trained, the kernels train LoRA matrices only"
    return None


class Packed:
    """Runs one classifier; frozen weights are laid out for the kernels once, trained ones are read at every call.

    T texts' tokens are laid end to end, D is the hidden size. The head runs on torch, from the first token's
    state of each text.
    """

    def __init__(self, classifier: Classifier, library: native.Library, merged: bool = False) -> None:
        """Prepare; layers are packed when they are first run.

        Args:
            merged: add the adapters to the frozen weights when these are laid out: nothing can be trained then, and
                predicting has no adapters to compute. The classifier's own weights stay as they are.
        """
        model = classifier.module.get_base_model()
        self.library = library
        self._classifier = classifier
        self._config = model.config
        self._layers = list(classifier.stack.layers)
        self._loaded: dict[int, bool] = {}
        self._keep: list[Any] = []  # what the kernels hold pointers to
        self._turn = 0
        self.dtype = torch.bfloat16 if library.path.dtype_name == "bfloat16" else torch.float32
        config = self._config
        layer = self._layers[0]
        hidden = _dropouts(layer, classifier.family.name)
        shape = native.Shape(
            len(self._layers),
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.layer_norm_eps,
            *hidden,
        )
        self._handle = library.create(shape)
        self._finalizer = weakref.finalize(self, library.destroy, self._handle)
        self._set_embeddings(classifier.stack.feeders[0])
        if classifier.family.name == "mpnet":
            self._set_position_bias(classifier.stack.owner)
        self._merged = merged
        none = [None] * len(native.TARGETS)
        self._adapters = [none if merged else self._adapters_of(layer) for layer in self._layers]
        self.parameters = [
            value for adapters in self._adapters for found in adapters if found for value in found[:2]
        ]
        """A and B of every adapter, lowest layer first."""

    @property
    def name(self) -> str:
        """How the run is told about it, e.g. `packed-amx`."""
        return f"packed-{self.library.path.name}"

    @property
    def step_tokens(self) -> int:
        """See `Execution.step_tokens`."""
        kept = len(self._layers) - self._classifier.prefix_depth
        return min(MOST_STEP_TOKENS, STEP_VALUES // (max(kept, 1) * self._config.hidden_size))

    @property
    def pass_tokens(self) -> int:
        """See `Execution.pass_tokens`."""
        return PASS_TOKENS

    def logits(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: PrefixCache | None = None
    ) -> Tensor:
        """Return logits, float32 [len(rows), C]; dropout as the classifier's training mode says.

        Under autograd the adapters' gradients are those of this call alone: the next call overwrites what
        the backward pass needs.

        Args:
            tokens: the texts, of which `rows` are run.
            seed: what dropout is drawn from.
            prefix: the states entering the lowest adapted layer, where they are cached.
        """
        batch = PackedTexts(tokens, rows, self._padding_index)
        first, states = 0, None
        if prefix is not None:
            first, states = (
                self._classifier.prefix_depth,
                prefix.flat_states(rows).to(self.dtype).contiguous(),
            )
        if torch.is_grad_enabled():
            if self._merged:
                raise RuntimeError("merged adapters cannot be trained")
            features: Tensor = _Features.apply(self, batch, seed, first, states, *self.parameters)
        else:
            features = self._forward(batch, seed, first, states, save=False)
        return self._classifier.head(features)

    def states_of(self, tokens: Tokens) -> Compute:
        """Return what computes the states entering the lowest adapted layer, for `PrefixCache.build`."""
        return lambda rows: self.states(tokens, rows, self._classifier.prefix_depth)

    def states(self, tokens: Tokens, rows: np.ndarray, depth: int) -> Tensor:
        """Return the states entering layer `depth`, without dropout, texts end to end: [T, D] in `dtype`."""
        batch = PackedTexts(tokens, rows, self._padding_index)
        out = torch.empty(batch.tokens, self._config.hidden_size, dtype=self.dtype)
        call = self._call(batch, 0, 0, None, training=False, save=False)
        call.last, call.features, call.states_out = depth, None, out.data_ptr()
        self._run(call, 0, depth)
        return out

    def _forward(
        self, batch: PackedTexts, seed: int, first: int, states: Tensor | None, save: bool
    ) -> Tensor:
        features = torch.empty(batch.texts, self._config.hidden_size)
        call = self._call(batch, seed, first, states, self._classifier.training, save)
        call.features = features.data_ptr()
        self._run(call, first, len(self._layers))
        self._turn += 1
        return features

    def _backward(self, gradient: Tensor) -> list[Tensor]:
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
    ) -> native.Batch:
        self._gradients = [torch.empty_like(value) for value in self.parameters] if save else []
        self._held = (batch, states, [value.detach().contiguous() for value in self.parameters])
        adapters = (native.Adapter * (len(self._layers) * len(native.TARGETS)))()
        at = 0
        for layer, found_of in enumerate(self._adapters):
            for target, found in enumerate(found_of):
                if found is None:
                    continue
                a, _, scale, dropout = found
                to = adapters[layer * len(native.TARGETS) + target]
                to.a, to.b = (value.data_ptr() for value in self._held[2][at : at + 2])
                if save:
                    to.da, to.db = (value.data_ptr() for value in self._gradients[at : at + 2])
                to.r, to.scale, to.dropout = a.shape[0], scale, dropout
                at += 2
        self._adapter_array = adapters
        return native.Batch(
            texts=batch.texts,
            offsets=batch.offsets.ctypes.data,
            ids=batch.ids.ctypes.data,
            positions=batch.positions.ctypes.data,
            states=None if states is None else states.data_ptr(),
            first=first,
            last=len(self._layers),
            training=training,
            save=save,
            threads=torch.get_num_threads(),
            group_rows=group_rows(self._config.hidden_size),
            seed=seed,
            adapters=ctypes.addressof(adapters),
        )

    def _run(self, call: native.Batch, first: int, last: int) -> None:
        for index in range(first, last):
            # Backward layouts are for layers that a gradient goes through; an evaluation alone needs none.
            backward = bool(call.save) and index >= self._classifier.prefix_depth
            if index not in self._loaded or (backward and not self._loaded[index]):
                self._load(index, backward)
        self.library.call("sm_forward", self._handle, ctypes.byref(call))

    # -- laying out the frozen weights --------------------------------------------------------------------

    def _load(self, index: int, backward: bool) -> None:
        layer, family = self._layers[index], self._classifier.family
        tensors: dict[str, Tensor] = {}
        for name, suffix in zip(MATRICES, family.suffixes.values(), strict=True):
            module: Any = layer.get_submodule(suffix)
            linear = getattr(module, "base_layer", module)
            tensors[name], tensors[f"{name}_bias"] = linear.weight, linear.bias
        for number, suffix in enumerate(NORMS[family.name], 1):
            norm: Any = layer.get_submodule(suffix)
            tensors[f"norm{number}_g"], tensors[f"norm{number}_b"] = norm.weight, norm.bias
        held = {name: value.detach().float().contiguous() for name, value in tensors.items()}
        for name, delta in self._deltas(layer).items():
            held[name] = held[name] + delta
        weights = native.Layer(**{name: value.data_ptr() for name, value in held.items()})
        self.library.call(
            "sm_load", self._handle, index, ctypes.byref(weights), int(backward), torch.get_num_threads()
        )
        self._loaded[index] = backward
        give_back(value.detach() for value in tensors.values() if not value.requires_grad)

    def _deltas(self, layer: nn.Module) -> dict[str, Tensor]:
        """Return what merging adds to a layer's matrices, float32 [outputs, inputs] each."""
        deltas: dict[str, Tensor] = {}
        for name, suffix in zip(MATRICES, self._classifier.family.suffixes.values(), strict=True):
            module: Any = layer.get_submodule(suffix)
            if self._merged and hasattr(module, "lora_A"):
                deltas[name] = module.get_delta_weight("default").detach().float()
        return deltas

    def _set_embeddings(self, embeddings: Any) -> None:
        positions = embeddings.position_embeddings.weight.detach().float()
        if hasattr(embeddings, "token_type_embeddings"):
            positions = positions + embeddings.token_type_embeddings.weight.detach()[0]
        held = [
            value.detach().float().contiguous()
            for value in (
                embeddings.word_embeddings.weight,
                positions,
                embeddings.LayerNorm.weight,
                embeddings.LayerNorm.bias,
            )
        ]
        self._keep += held
        tables = native.Embeddings(*(value.data_ptr() for value in held), embeddings.dropout.p)
        self.library.embeddings(self._handle, tables)
        # BERT counts positions from 0; the others from the padding index + 1 and skip that token.
        self._padding_index = None if self._config.model_type == "bert" else int(embeddings.padding_idx)

    def _set_position_bias(self, encoder: Any) -> None:
        """MPNet adds a bias by relative position to the scores, the same in every layer (arXiv:2004.09297, 2.3)."""
        reach = self._config.max_position_embeddings
        with torch.no_grad():
            buckets = encoder.relative_position_bucket(torch.arange(-(reach - 1), reach))
            table = encoder.relative_attention_bias(buckets).float().t().contiguous()
        self.library.call("sm_position_bias", self._handle, ctypes.c_void_p(table.data_ptr()), reach)

    def _adapters_of(self, layer: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter, float, float] | None]:
        found: list[tuple[nn.Parameter, nn.Parameter, float, float] | None] = []
        for suffix in self._classifier.family.suffixes.values():
            module: Any = layer.get_submodule(suffix)
            if not hasattr(module, "lora_A"):
                found.append(None)
                continue
            dropout = getattr(module.lora_dropout["default"], "p", 0.0)
            a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
            found.append((a, b, float(module.scaling["default"]), float(dropout)))
        return found


class _Features(torch.autograd.Function):
    """First-token states of a batch, differentiable in the adapters."""

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
        features = packed._forward(batch, seed, first, states, save=True)
        ctx.packed, ctx.turn = packed, packed._turn
        return features

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        if ctx.turn != ctx.packed._turn:
            raise RuntimeError("a later batch has overwritten what this backward pass needs")
        return (None, None, None, None, None, *ctx.packed._backward(gradient))


def _dropouts(layer: Any, family: str) -> tuple[float, float]:
    """Return the shares dropped from a layer's two outputs and from its attention."""
    if family == "mpnet":
        return layer.attention.dropout.p, layer.attention.attn.dropout.p
    return layer.attention.output.dropout.p, layer.attention.self.dropout.p


def _trains(module: nn.Module) -> bool:
    return any(value.requires_grad for value in module.parameters())
