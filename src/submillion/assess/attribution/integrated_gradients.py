"""Integrated gradients: the weight of each token in one answer, from a text of mask tokens to the text itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from submillion import notices
from submillion.assess.run_context import RunContext
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import from_rows
from submillion.errors import BadInput, Problem
from submillion.model.build import open_adapter
from submillion.model.execution.reference import Reference
from submillion.model.infer import predict_probabilities
from submillion.model.precision import Precision, training_device
from submillion.model.trained import check_same_weights
from submillion.sources.fetch import fetch_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

STEPS = (10, 30, 90)
"""Points on the path; the next number is tried until the error is small enough."""
TOLERANCE = 0.05
"""Of the sum of absolute weights."""
POINTS_PER_BATCH = 10
BATCH = 32
FLOAT32 = Precision("float32", False, "attribution uses the reference execution")


@dataclass(frozen=True)
class Weights:
    """The attribution of one class's log-odds to the tokens of a text."""

    tokens: np.ndarray
    """Weight of each token, float64 [S]."""
    score: float
    """Log-odds of the class, log p / (1 - p), for the text."""
    baseline_score: float
    """The same for the text of mask tokens."""
    steps: int
    """Points on the path."""

    @property
    def error(self) -> float:
        """Sum of the weights minus the difference of the two scores, which it should equal."""
        return float(self.tokens.sum()) - (self.score - self.baseline_score)

    @property
    def error_share(self) -> float:
        """Absolute error as a share of the sum of absolute weights; 0 if all weights are 0."""
        weight = float(np.abs(self.tokens).sum())
        return abs(self.error) / weight if weight else 0.0


class Explainer:
    """A run's classifier on the modules of transformers in float32, with captum."""

    def __init__(self, context: RunContext) -> None:
        """Build a separate classifier: that of the run may have released its weights to the kernels.

        Args:
            context: the run.

        Raises:
            BadInput: captum is not installed, or the encoder is missing or has changed.
        """
        check_captum()
        from captum.attr import LayerIntegratedGradients  # noqa: PLC0415

        recorded = context.manifest["encoder"]
        self.tokenizer: PreTrainedTokenizerFast = load_tokenizer(context.run.tokenizer)
        fetched = fetch_encoder(context.run.located(recorded["source"]), recorded.get("revision"))
        check_same_weights(context.run, recorded["sha256"], fetched)
        with notices.suppressed():  # the notices about the encoder were given when the run was trained
            classifier = open_adapter(fetched.path, context.run.adapter, context.labels)
        classifier.module.merge_adapter()  # the same function up to rounding, 25% faster
        self._classifier = classifier.to(training_device()).requires_grad_(False)
        self.baseline_token, self._baseline_id = _baseline(self.tokenizer)
        self._integrated = LayerIntegratedGradients(self._score, classifier.stack.embedding_modules[0])

    def weights(self, ids: Sequence[int], special: Sequence[bool], target: int) -> Weights:
        """Explain one answer by integrated gradients of its log-odds with respect to the embeddings' output.

        M. Sundararajan, A. Taly and Q. Yan, "Axiomatic attribution for deep networks" (arXiv:1703.01365),
        equation 1: the gradient along the straight line from a baseline to the text, times their difference. The
        weights sum to the difference of the scores at both ends (proposition 1); `error` is the deviation of the
        finite sum. The baseline is the text with all tokens but the special ones masked. With a softmax over
        classes, the log-odds of class t are z_t - log sum_(c != t) exp z_c.

        Args:
            ids: tokens of a text [S].
            special: which of them are special tokens; they are the same in the baseline, so their weight is 0.
            target: index of the explained class.
        """
        device = self._classifier.device
        self._classifier.check_tokens(from_rows([ids, [self._baseline_id]]))
        text = torch.tensor([list(ids)], device=device)
        baseline = torch.where(torch.tensor([list(special)], device=device), text, self._baseline_id)
        mask = torch.ones_like(text)
        with torch.no_grad():
            score, baseline_score = self._score(
                torch.cat([text, baseline]), mask.expand(2, -1), target
            ).tolist()
        for steps in STEPS:
            attributions: Any = self._integrated.attribute(
                text,
                baseline,
                additional_forward_args=(mask, target),
                n_steps=steps,
                method="gausslegendre",
                internal_batch_size=POINTS_PER_BATCH,
            )
            tokens = attributions[0].sum(dim=-1).cpu().double().numpy()
            weights = Weights(tokens, score, baseline_score, steps)
            if weights.error_share <= TOLERANCE:
                break
        return weights

    def probabilities(self, rows: Sequence[Sequence[int]], target: int) -> np.ndarray:
        """Return the probability of one class of texts, each a sequence of token ids, float64 [N]."""
        probabilities = predict_probabilities(Reference(self._classifier, FLOAT32), from_rows(rows), BATCH)
        return probabilities[:, target].astype(np.float64)

    def _score(self, ids: torch.Tensor, mask: torch.Tensor, target: int) -> torch.Tensor:
        logits = self._classifier({"input_ids": ids, "attention_mask": mask})
        others = [index for index in range(logits.shape[1]) if index != target]
        log_odds: torch.Tensor = logits[:, target] - logits[:, others].logsumexp(dim=1)
        return log_odds


def check_captum() -> None:
    """Refuse to continue without captum; raises BadInput with the command that installs it."""
    if find_spec("captum") is None:
        raise BadInput(
            Problem(
                "the part 'attribution'",
                "the library captum",
                "no package 'captum'",
                'Install it with: pip install "submillion[attribution]"',
            )
        )


def _baseline(tokenizer: PreTrainedTokenizerFast) -> tuple[str, int]:
    """Return the least informative token: the mask token, else the unknown token, else padding."""
    token = str(tokenizer.mask_token or tokenizer.unk_token or tokenizer.pad_token)
    number: Any = tokenizer.convert_tokens_to_ids(token)
    return token, int(number)
