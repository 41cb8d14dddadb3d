"""The classifier: a transformers encoder, peft adapters and a head; token ids in, logits out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from peft import set_peft_model_state_dict
from torch import Tensor, nn

from submillion.errors import BadInput, Problem
from submillion.model import adapter, head_file, variants
from submillion.model.heads import PooledHead, mean_over_tokens
from submillion.model.loading import Loaded
from submillion.model.stack import Stack, has_trainable_parameters

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.families.family import Family


class Classifier(nn.Module):
    """Token ids in, logits out. B texts, S tokens, D hidden size, C labels."""

    def __init__(
        self,
        module: Any,
        loaded: Loaded,
        label_names: Sequence[str],
        principals: Mapping[str, variants.Principal] | None = None,
        normalize: bool = False,
    ) -> None:
        """Take a model that peft has wrapped; the encoder alone is pooled by the mean, and gets a head of zeros.

        Args:
            module: the PeftModel; which of its parameters are trained does not change any more.
            loaded: the encoder before peft wrapped it.
            label_names: class names by index, C of them.
            principals: the principal parts that PiSSA took out of the encoder's matrices; None without PiSSA.
            normalize: whether a head that reads the mean scales it to length 1.
        """
        super().__init__()
        self.module = module
        self.family: Family = loaded.family
        self.config: dict[str, Any] = loaded.config
        self.label_names = list(label_names)
        self._randomly_initialised = loaded.randomly_initialised
        self._principals = principals or {}
        self._lock = threading.RLock()
        self.stack = Stack.of(module.get_base_model(), self.family, self.config)
        self.pooling: Literal["first", "mean"] = "mean" if self.family.headless else "first"
        """What the head reads: the last state of a text's first token, or the mean of those of all tokens."""
        averages = self.family.pooling_key is not None and self.config.get(self.family.pooling_key) == "mean"
        self.feature_pooling: Literal["first", "mean"] = "mean" if averages else self.pooling
        """What `features` gives: as `pooling`, or the mean if transformers' own head averages."""
        # Zeros are no saddle point in a single layer: its gradient does not vanish, and every class starts alike.
        self.output = None
        if self.pooling == "mean":
            self.output = PooledHead(self.hidden_size, len(label_names), normalize)
        self.vocabulary: int = module.get_base_model().get_input_embeddings().num_embeddings
        """Rows of the token embeddings."""
        self.longest = self.family.longest_input(self.config)
        """Tokens that the encoder has positions for."""
        self.prefix_depth = self._lowest_trained_layer()
        """The lowest layer with something to train; the layers below give a text the same states in every step."""

    def forward(self, batch: Mapping[str, Tensor], states: Tensor | None = None) -> Tensor:
        """Return logits, float32 [B, C].

        Args:
            batch: `input_ids` and `attention_mask`, int64 [B, S], 0 in the mask for padding. Without a mask there is
                no padding; a mask [B, 1, S, S] is passed to the encoder's attention unchanged.
            states: hidden states [B, S, D] entering layer `prefix_depth`; layers below it are skipped.
        """
        if self.output is not None:
            pooled: Tensor = self.output(self.features(batch, states))
            return pooled
        with self._start(batch, states):
            # The model inside peft's wrapper computes the same function, adapters included, with less overhead.
            logits: Tensor = self.module.get_base_model()(
                input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask")
            ).logits
        return logits.float()

    def features(self, batch: Mapping[str, Tensor], states: Tensor | None = None) -> Tensor:
        """Return what `head` reads, float32 [B, D]; arguments as in `forward`."""
        ids, mask = batch["input_ids"], batch.get("attention_mask")
        with self._start(batch, states):
            last = self._last_states(lambda: self.module.get_base_model()(input_ids=ids, attention_mask=mask))
        if self.feature_pooling == "first":
            return last[:, 0].float()
        real = torch.ones_like(ids) if mask is None else mask
        if real.dim() == 4:
            real = real[:, 0, 0]
        return mean_over_tokens(last.float(), real)

    def _last_states(self, run: Callable[[], Any]) -> Tensor:
        """Run the encoder; return the states that the head reads, [B, S, D].

        A norm after the last layer counts to the encoder where the mean is pooled, and to the head's own computation
        where the first token is.
        """
        if self.pooling == "mean":
            states: Tensor = run().last_hidden_state
            return states
        kept: list[Any] = []
        last_module = self.stack.layers[-1]
        if self.feature_pooling == "mean" and self.stack.final_norm is not None:
            last_module = self.stack.final_norm
        handle = last_module.register_forward_hook(lambda *arguments: kept.append(arguments[-1]))
        try:
            run()
        finally:
            handle.remove()
        last: Tensor = kept[0][0] if isinstance(kept[0], tuple) else kept[0]
        return last

    def _start(self, batch: Mapping[str, Tensor], states: Tensor | None) -> AbstractContextManager[None]:
        """Return the context in which the encoder starts at layer `prefix_depth` from these states, if any."""
        if states is None:
            return nullcontext()
        ids = batch["input_ids"]
        if states.shape[:2] != ids.shape:
            raise ValueError(f"{states.shape=} must begin with {ids.shape=}")
        return self.stack.starting_at(self.prefix_depth, states)

    def head(self, features: Tensor) -> Tensor:
        """Return the head's logits, float32 [B, C], for pooled last states [B, D]."""
        if self.output is not None:
            pooled: Tensor = self.output(features)
            return pooled
        # Not the padding id, which the pooling of some heads looks for.
        ids = torch.full((len(features), 1), self.pad_id + 1, device=features.device)
        normalized = self.feature_pooling == "mean"
        with self.stack.starting_at(self.n_layers, features[:, None], normalized):
            logits: Tensor = self.module.get_base_model()(input_ids=ids).logits
        return logits.float()

    def states_entering(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the hidden states [B, S, D] entering layer `prefix_depth`; the layers from there on do not run.

        Args:
            batch: as in `forward`, on any device.
        """
        on_device = {name: tensor.to(self.device) for name, tensor in batch.items()}
        return self.stack.input_of(self.prefix_depth, lambda: self(on_device))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Turn dropout off inside the block; the training mode is restored afterwards.

        One thread at a time: a forward pass changes the modules while it runs, and an execution holds the values of
        one batch.
        """
        with self._lock:
            was_training = self.training
            self.eval()
            try:
                yield
            finally:
                self.train(was_training)

    @property
    def n_layers(self) -> int:
        """Number of layers of the encoder."""
        return len(self.stack.layers)

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states, D."""
        return int(self.module.get_base_model().config.hidden_size)

    @property
    def pad_id(self) -> int:
        """The token id to pad with."""
        return int(self.module.get_base_model().config.pad_token_id)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def check_tokens(self, tokens: Tokens) -> None:
        """Refuse tokens that the encoder has no embeddings for; takes time in the first call for these tokens only.

        Raises:
            BadInput: an id or a length is beyond the encoder's embeddings.
        """
        tokens.check_fits(self.vocabulary, self.longest)

    def trainable_count(self) -> int:
        """Return the number of trained parameters, the head included, each counted once."""
        return sum(value.numel() for value in self.parameters() if value.requires_grad)

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter so that plain peft, on the same encoder, gives the same logits.

        Raises:
            SubmillionError: the disk refused the files; an adapter that was in the folder is unchanged.
        """
        config = self.module.peft_config["default"]
        if self._principals:
            config = variants.pissa_config_as_lora(config)
        adapter.write_adapter(folder, self.module, config, self._adapter_tensors(), self.label_names)
        if self.output is not None:
            head_file.write(folder, self.output, self.label_names)

    def load_adapter(self, folder: Path) -> None:
        """Replace the adapter's present values by those of a saved adapter.

        Raises:
            BadInput: it is not an adapter of this classifier; no value was changed.
        """
        if self._principals:  # the file is for the encoder before PiSSA changed its matrices
            raise BadInput(
                Problem(str(folder), "a classifier without PiSSA", "one with PiSSA", "Use open_adapter.")
            )
        tensors, labels = adapter.read_tensors(folder)
        adapter.check_labels(folder, labels, self.label_names)
        known = self.module.state_dict()
        adapter.check_tensors(folder, tensors, self._adapter_tensors(), known)
        head = None
        if self.output is not None:
            head = head_file.read(folder, self.hidden_size, self.label_names)
        set_peft_model_state_dict(self.module, tensors)
        if self.output is not None and head is not None:
            weights, self.output.normalize = head
            self.output.layer.load_state_dict(weights)

    def _adapter_tensors(self) -> dict[str, Tensor]:
        tensors = adapter.adapter_tensors(self.module, self._randomly_initialised)
        return variants.pissa_as_lora(tensors, self._principals)

    def _lowest_trained_layer(self) -> int:
        if any(map(has_trainable_parameters, self.stack.embedding_modules)):
            return 0
        return next(depth for depth, layer in enumerate(self.stack.layers) if has_trainable_parameters(layer))
