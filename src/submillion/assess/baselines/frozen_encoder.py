"""Features of texts from a run's encoder as it was before the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from submillion import notices
from submillion.assess.run_context import RunContext
from submillion.data.batches import collate, sequential
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import Tokens, tokenize
from submillion.data.truncation import Truncation
from submillion.model.classifier import build
from submillion.model.execution.packed import Packed, try_packed
from submillion.model.execution.reference import Reference
from submillion.model.precision import choose_precision, training_device
from submillion.model.prefix import PrefixCache
from submillion.model.process_state import seeded
from submillion.model.trained import check_same_weights
from submillion.recipe import Recipe
from submillion.recipe_classifier import LoraRecipe
from submillion.sources.fetch import fetch_encoder
from submillion.terminal.progress import progress_bar

if TYPE_CHECKING:
    from submillion.model.protocol import States


class FrozenEncoder:
    """A run's encoder without what the run trained; D is its hidden size."""

    def __init__(self, context: RunContext) -> None:
        """Open the encoder.

        Raises:
            BadInput: it is missing, or is not the one that the run was trained on.
        """
        recorded, recipe = context.manifest["encoder"], context.recipe
        self._recipe, self._progress = recipe, context.progress
        # The notices about encoder and machine were given when the run was trained.
        with notices.suppressed(), seeded(recipe.seed):
            source = context.run.located(recorded["source"])
            fetched = fetch_encoder(source, recorded.get("revision"), context.progress)
            check_same_weights(context.run, recorded["sha256"], fetched)
            # Not the run's classifier with its adapters switched off: trained biases would stay changed.
            classifier = build(fetched, context.labels, _untrained(recipe)).to(training_device()).eval()
            precision = choose_precision(recipe.train.precision)
            requested = recipe.train.execution if classifier.device.type == "cpu" else "reference"
            self._execution = try_packed(classifier, precision, requested, merged=True) or Reference(
                classifier, precision
            )
        self._tokenizer = load_tokenizer(context.run.tokenizer)

    @property
    def hidden_size(self) -> int:
        """Number of features of a text, D."""
        return self._execution.classifier.hidden_size

    def features(self, texts: Sequence[str], rows: np.ndarray, *, cached: bool) -> np.ndarray:
        """Return the mean over tokens of the last hidden states of some texts, float32 [len(rows), D].

        Args:
            texts: all texts of a split.
            rows: those to read, int [N].
            cached: start from the states that the training cached for this split, if it did.
        """
        with notices.suppressed():
            truncation = Truncation.of(self._recipe.data)
            tokens = tokenize(self._tokenizer, texts, truncation, progress=self._progress)
            prefix = None
            if cached and self._recipe.train.prefix_cache:
                size = self._recipe.train.eval_batch_size
                prefix = PrefixCache.build(self._execution, tokens, size, progress=self._progress)
        read = self._packed if isinstance(self._execution, Packed) else self._padded
        forward = read(tokens, prefix)
        features = np.empty((len(rows), self.hidden_size), dtype=np.float32)
        batch_size = self._recipe.train.eval_batch_size
        with (
            self._execution.classifier.evaluating(),
            torch.inference_mode(),
            progress_bar(self._progress, len(rows), "reading with the frozen encoder") as advance,
        ):
            for places in sequential(tokens.lengths[rows], batch_size, self._execution.pass_tokens):
                features[places] = forward(rows[places]).float().cpu().numpy()
                advance(len(places))
        return features

    def _packed(self, tokens: Tokens, prefix: States | None) -> Callable[[np.ndarray], torch.Tensor]:
        """Return the function from rows to their features, on the kernels."""
        execution: Any = self._execution
        depth = execution.classifier.n_layers

        def forward(rows: np.ndarray) -> torch.Tensor:
            states = execution.states(tokens, rows, depth, prefix).float()
            lengths = torch.from_numpy(tokens.lengths[rows])
            sums = torch.segment_reduce(states, "mean", lengths=lengths)
            return sums

        return forward

    def _padded(self, tokens: Tokens, prefix: States | None) -> Callable[[np.ndarray], torch.Tensor]:
        """Return the function from rows to their features, on the modules of transformers."""
        classifier, precision = self._execution.classifier, self._execution.precision
        encoder, device = classifier.module.get_base_model().base_model, classifier.device
        classifier.check_tokens(tokens)

        def forward(rows: np.ndarray) -> torch.Tensor:
            batch = {
                name: value.to(device) for name, value in collate(tokens, rows, classifier.pad_id).items()
            }
            start: Any = nullcontext()
            if prefix is not None:
                states = prefix.states(rows, batch["input_ids"].shape[1], device)
                start = classifier.stack.starting_at(classifier.prefix_depth, states)
            with precision.context(device.type), start:
                hidden = encoder(**batch).last_hidden_state.float()
            mask = batch["attention_mask"][:, :, None]
            means: torch.Tensor = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
            return means

        return forward


def _untrained(recipe: Recipe) -> Recipe:
    """Return the recipe with the smallest adapters in the same layers; untrained, they change no state.

    The layers below the lowest one are those whose states the training cached.
    """
    adapters = LoraRecipe(r=1, targets=recipe.lora.targets, layers=recipe.lora.layers)
    return recipe.model_copy(update={"lora": adapters})
