"""The stack of an encoder's layers: where the encoder stores them, and how a forward pass starts above the lowest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from submillion.families.family import Family


@dataclass(frozen=True)
class Stack:
    """Where an encoder stores its layers, and the modules whose output enters the first of them."""

    owner: nn.Module
    """The module that loops over the layers."""
    name: str
    """The attribute of `owner` that holds them, a ModuleList."""
    embedding_modules: tuple[nn.Module, ...]
    """The embeddings and, if the family has one, the projection from embedding size to hidden size."""
    final_norm: nn.Module | None
    """The norm after the last layer, if the family has one."""
    needs_layers: bool
    """See `Family.needs_layers`."""

    @classmethod
    def of(cls, model: nn.Module, family: Family, config: Mapping[str, Any]) -> Stack:
        """Return the stack of a transformers model with this config.json."""
        owner, _, name = family.layers.rpartition(".")
        modules = tuple(model.get_submodule(module) for module in family.embedding_modules(config))
        norm = None if family.final_norm is None else model.get_submodule(family.below(family.final_norm))
        return cls(model.get_submodule(owner), name, modules, norm, family.needs_layers)

    @property
    def layers(self) -> nn.ModuleList:
        """The encoder's layers, lowest first."""
        layers: nn.ModuleList = getattr(self.owner, self.name)
        return layers

    @contextmanager
    def replaced_by(self, layers: Sequence[nn.Module]) -> Iterator[None]:
        """Run other modules in place of the encoder's layers inside the block."""
        own_layers = self.layers
        setattr(self.owner, self.name, nn.ModuleList(layers))
        try:
            yield
        finally:
            setattr(self.owner, self.name, own_layers)

    @contextmanager
    def starting_at(self, depth: int, states: Tensor, normalized: bool = False) -> Iterator[None]:
        """Make the encoder start at layer `depth` from `states` [B, S, D] inside the block.

        Args:
            depth: the number of layers runs none.
            states: what enters the layer.
            normalized: skip the norm after the last layer too.
        """
        skipped = [*self.embedding_modules, *([self.final_norm] if normalized and self.final_norm else [])]
        layers = list(self.layers)[depth:]
        if not layers and self.needs_layers:
            layers = [_PassingLayer()]
        with self.replaced_by(layers), self._without_convolution(above=depth):
            for module in skipped:
                module.forward = lambda *_, **__: states
            try:
                yield
            finally:
                for module in skipped:
                    del module.forward

    @contextmanager
    def _without_convolution(self, above: int) -> Iterator[None]:
        """Leave out DeBERTa-v2's convolution, which follows the lowest layer, where the encoder starts above it."""
        owner: Any = self.owner
        convolution = getattr(owner, "conv", None)
        if not above or convolution is None:
            yield
            return
        owner.conv = None
        try:
            yield
        finally:
            owner.conv = convolution

    def input_of(self, depth: int, run: Callable[[], object]) -> Tensor:
        """Call `run`, which runs the encoder, and return the hidden states [B, S, D] that enter layer `depth`.

        Nothing above that layer runs.

        Raises:
            RuntimeError: the encoder finished without entering the layer.
        """
        captured: list[Tensor] = []

        def capture(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            captured.append(args[0] if args else kwargs["hidden_states"])
            raise _LayerReached

        handle = self.layers[depth].register_forward_pre_hook(capture, with_kwargs=True)
        try:
            run()
        except _LayerReached:
            return captured[0]
        finally:
            handle.remove()
        raise RuntimeError(f"the encoder finished without entering layer {depth}")


def supports_prefix(config: Mapping[str, Any]) -> bool:
    """Return whether an encoder with this config.json can start at any layer.

    DeBERTa-v2 with a convolution cannot: its output is added after the first layer that runs.
    """
    return not config.get("conv_kernel_size")


def has_trainable_parameters(module: nn.Module) -> bool:
    """Return whether any parameter of a module is trained."""
    return any(value.requires_grad for value in module.parameters())


class _PassingLayer(nn.Module):
    """Returns its input, as a layer of DeBERTa-v2 returns its output."""

    def forward(self, hidden_states: Tensor, *_: object, **__: object) -> tuple[Tensor, None]:
        return hidden_states, None


class _LayerReached(Exception):
    """Ends a forward pass at the layer whose input is wanted."""
