"""Features of texts from a run's encoder as it was before the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from submillion import notices
from submillion.assess.run_context import RunContext
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import tokenize
from submillion.data.truncation import Truncation
from submillion.model.build import build
from submillion.model.execution.int8_prefix import INT8, lower_layers
from submillion.model.execution.packed import try_packed
from submillion.model.execution.reference import Reference
from submillion.model.execution.windowed import Windowed
from submillion.model.infer import predict_features
from submillion.model.precision import choose_precision, training_device
from submillion.model.prefix import PrefixCache
from submillion.model.process_state import seeded
from submillion.model.trained import check_same_weights
from submillion.recipe import Recipe
from submillion.recipe_classifier import HeadRecipe, LoraRecipe
from submillion.sources.fetch import fetch_encoder

if TYPE_CHECKING:
    from submillion.model.protocol import Execution


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
            execution: Execution = try_packed(classifier, precision, requested, merged=True) or Reference(
                classifier, precision
            )
            self._execution = Windowed(execution) if recipe.data.windows == "all" else execution
        self._tokenizer = load_tokenizer(context.run.tokenizer)

    @property
    def hidden_size(self) -> int:
        """Number of features of a text, D."""
        return self._execution.classifier.hidden_size

    def features(self, texts: Sequence[str], rows: np.ndarray, *, scored: bool = True) -> np.ndarray:
        """Return the mean over tokens of the last hidden states of some texts, float32 [len(rows), D].

        They start from the states that the run cached for this split, if it did.

        Args:
            texts: all texts of a split.
            rows: those to read, int [N].
            scored: answers on these rows are judged, so states in int8 are not used for them.

        Raises:
            BadInput: the training cached states in int8, which cannot run here.
        """
        with notices.suppressed():
            truncation = Truncation.of(self._recipe.data)
            tokens = tokenize(self._tokenizer, texts, truncation, progress=self._progress)
            prefix, exact = None, self._recipe.train.prefix_precision != INT8
            if self._recipe.train.prefix_cache and (exact or not scored):
                size, execution = self._recipe.train.eval_batch_size, self._execution
                lower = lower_layers(self._recipe.train, execution, tokens)
                prefix = PrefixCache.build(execution, tokens, size, progress=self._progress, lower=lower)
        size = self._recipe.train.eval_batch_size
        return predict_features(self._execution, tokens, size, rows, prefix, self._progress)


def _untrained(recipe: Recipe) -> Recipe:
    """Return the recipe with the smallest adapters in the same layers and a head that reads the mean.

    Untrained adapters change no state. The layers below the lowest one are those whose states the training cached.
    """
    adapters = LoraRecipe(r=1, targets=recipe.lora.targets, layers=recipe.lora.layers)
    return recipe.model_copy(update={"lora": adapters, "head": HeadRecipe(kind="linear", pooling="mean")})
