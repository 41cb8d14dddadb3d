"""The classifier: an encoder of transformers, adapters of peft and a head, built alike every time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import get_peft_model, set_peft_model_state_dict
from torch import Tensor, nn

from submillion.budget.count import count
from submillion.errors import BadInput, Problem
from submillion.model import adapter, heads, variants
from submillion.model.loading import Loaded, check_length, load_encoder, quiet_libraries
from submillion.model.prefix import Stack

if TYPE_CHECKING:
    from submillion.families.families import Family
    from submillion.model.variants import Principal
    from submillion.recipe import Recipe
    from submillion.sources.fetch import FetchedEncoder


class Classifier(nn.Module):
    """Texts' token ids in, logits out. B texts, S tokens, D hidden size, C labels."""

    def __init__(
        self,
        module: Any,
        loaded: Loaded,
        label_names: Sequence[str],
        principals: Mapping[str, Principal] | None = None,
    ) -> None:
        """Take a model that peft has wrapped.

        Args:
            module: the PeftModel; what it trains is final.
            loaded: the encoder as it was before.
            label_names: class names by index, C of them.
            principals: what PiSSA took out of the encoder's matrices, where it did.
        """
        super().__init__()
        self.module = module
        self.family: Family = loaded.family
        self.config: dict[str, Any] = loaded.config
        self.label_names = list(label_names)
        self._drawn = loaded.drawn
        self._principals = principals or {}
        self.stack = _stack(module.get_base_model(), self.family, self.config)
        self.prefix_depth = self._lowest_trained_layer()
        """The lowest layer with something to train; layers below it are the same for a text in every step."""

    def forward(self, batch: Mapping[str, Tensor], states: Tensor | None = None) -> Tensor:
        """Return logits, float32 [B, C].

        Args:
            batch: `input_ids` and `attention_mask`, int64 [B, S], padding with mask 0. Without a mask nothing is
                padded; a mask [B, 1, S, S] is the encoder's attention's own.
            states: hidden states [B, S, D] entering layer `prefix_depth`; layers below it are then skipped.
        """
        ids, mask = batch["input_ids"], batch.get("attention_mask")
        if states is None:
            start: Any = nullcontext()
        else:
            if states.shape[:2] != ids.shape:
                raise ValueError(f"{states.shape=} must begin with {ids.shape=}")
            start = self.stack.starting_at(self.prefix_depth, states)
        with start:
            # The model inside peft's wrapper is the same function, adapters included, without its detours.
            logits: Tensor = self.module.get_base_model()(input_ids=ids, attention_mask=mask).logits
        return logits.float()

    def head(self, features: Tensor) -> Tensor:
        """Return the head's logits, float32 [B, C], for the last states of the texts' first tokens [B, D]."""
        # Not the padding index, which some heads' pooling would look for.
        ids = torch.full((len(features), 1), self.pad_id + 1, device=features.device)
        with self.stack.starting_at(self.n_layers, features[:, None]):
            logits: Tensor = self.module.get_base_model()(input_ids=ids).logits
        return logits.float()

    @property
    def n_layers(self) -> int:
        """Number of layers of the encoder."""
        return len(self.stack.layers)

    @property
    def hidden_size(self) -> int:
        """D."""
        return int(self.module.get_base_model().config.hidden_size)

    @property
    def pad_id(self) -> int:
        """The token id to pad with."""
        return int(self.module.get_base_model().config.pad_token_id)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def trainable_count(self) -> int:
        """Return the number of trained parameters, the head included, each once."""
        return sum(value.numel() for value in self.parameters() if value.requires_grad)

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter so that plain peft, on the same encoder, gives the same logits.

        Raises:
            SubmillionError: the disk refused; what stood there before still stands.
        """
        config = self.module.peft_config["default"]
        if self._principals:
            config = variants.pissa_config_as_lora(config)
        adapter.write_adapter(folder, self.module, config, self._adapter_tensors(), self.label_names)

    def load_adapter(self, folder: Path) -> None:
        """Put an adapter's values in place of the present ones.

        Raises:
            BadInput: it is not the adapter of such a classifier; no value was changed.
        """
        if self._principals:  # a file is for the encoder as it was
            raise BadInput(
                Problem(str(folder), "a classifier without PiSSA", "one with", "Use open_adapter.")
            )
        tensors, labels = adapter.read_tensors(folder)
        adapter.check_labels(folder, labels, self.label_names)
        known = self.module.state_dict()
        adapter.check_tensors(folder, tensors, self._adapter_tensors(), known)
        set_peft_model_state_dict(self.module, tensors)

    def _adapter_tensors(self) -> dict[str, Tensor]:
        tensors = adapter.adapter_tensors(self.module, self._drawn)
        return variants.pissa_as_lora(tensors, self._principals)

    def _lowest_trained_layer(self) -> int:
        if any(_trains(feeder) for feeder in self.stack.feeders):
            return 0
        return next(depth for depth, layer in enumerate(self.stack.layers) if _trains(layer))


def build(encoder: FetchedEncoder | Path | str, label_names: Sequence[str], recipe: Recipe) -> Classifier:
    """Build the classifier that a recipe describes; encoder, labels and recipe decide every value in it.

    Args:
        encoder: a fetched encoder, or a folder that holds one.
        label_names: class names by index.
        recipe: its sections encoder (dropouts), lora, head and its seed and data.max_length are used.

    Raises:
        BadInput: the encoder cannot be used as the recipe asks.
    """
    folder = Path(encoder) if isinstance(encoder, str | Path) else encoder.path
    origin = str(encoder) if isinstance(encoder, str | Path) else encoder.origin
    with seeded(recipe.seed):
        loaded = load_encoder(folder, label_names, origin, recipe.encoder)
        check_length(loaded.config, recipe.data.max_length)
        counted = count(loaded.config, len(label_names), recipe.lora, recipe.head, recipe.budget)
        heads.settle_projection(loaded.model, loaded.family, recipe.head, loaded.drawn)
        module = _wrapped(loaded, variants.peft_config(loaded, recipe.lora, recipe.head, recipe.seed))
        in_head = heads.adapted_modules(loaded.family, recipe.head)
        principals = variants.start_pissa(module, in_head) if recipe.lora.variant == "pissa" else {}
    classifier = Classifier(module, loaded, label_names, principals)
    if classifier.trainable_count() != counted.trainable:
        raise RuntimeError(
            f"the built classifier trains {classifier.trainable_count():,} parameters, "
            f"counted were {counted.trainable:,}: {counted.parts}"
        )
    return classifier


def open_adapter(encoder: Path | str, folder: Path | str, label_names: Sequence[str]) -> Classifier:
    """Put a saved adapter on its encoder, in evaluation mode.

    Args:
        encoder: folder of the encoder that the adapter was trained on.
        folder: the adapter, in peft's format.
        label_names: class names by index, as it was trained with.

    Raises:
        BadInput: encoder, adapter or labels do not belong together; a tensor that is missing is never drawn.
    """
    encoder, folder = Path(encoder), Path(folder)
    config = adapter.read_config(folder)
    with seeded(0):
        loaded = load_encoder(encoder, label_names, config.base_model_name_or_path or str(encoder))
        module = _wrapped(loaded, config)
    classifier = Classifier(module, loaded, label_names)
    classifier.load_adapter(folder)
    return classifier.eval()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` inside; the generator goes on afterwards as if nothing had been drawn."""
    # Not torch.manual_seed: it would also set the generators of accelerators, which are not put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _wrapped(loaded: Loaded, config: Any) -> Any:
    with quiet_libraries():
        module = get_peft_model(loaded.model, config)
    mark_trained(module, loaded.family.output, config.bias)
    return module


def mark_trained(module: Any, output: str, bias: str) -> None:
    """Set which parameters are trained: adapters, the head's trained modules, and the biases asked for.

    As peft does, but for the copy it keeps of a trained module as it was: its bias takes part in nothing.

    Args:
        output: the head's output layer, trained in every head.
        bias: `none`, `lora_only` or `vera_only` (those of the adapted matrices), or `all`.
    """
    in_output = f"{adapter.PREFIX}{output}."
    ending = {"none": None, "all": ".bias"}.get(bias, ".base_layer.bias")
    for name, value in module.named_parameters():
        added = any(part in name for part in adapter.ADDED)
        own = name.startswith(in_output) or (ending is not None and name.endswith(ending))
        value.requires_grad_(added or (own and ".original_module." not in name))


def _trains(module: nn.Module) -> bool:
    return any(value.requires_grad for value in module.parameters())


def _stack(model: nn.Module, family: Family, config: Mapping[str, Any]) -> Stack:
    owner, _, name = family.layers.rpartition(".")
    feeders = tuple(model.get_submodule(feeder) for feeder in family.feeders(config))
    return Stack(model.get_submodule(owner), name, feeders)
