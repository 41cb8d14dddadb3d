"""The weight of each token in one decision: integrated gradients from a text of masks to the text itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from submillion import notices
from submillion.data.tokens import from_rows, load_tokenizer
from submillion.errors import BadInput, Problem
from submillion.model.classifier import open_adapter
from submillion.model.execution.reference import Reference
from submillion.model.infer import predict_probabilities
from submillion.model.precision import Precision, training_device
from submillion.model.trained import check_same_weights
from submillion.sources.fetch import fetch_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from submillion.assess.run_context import RunContext

STEPS = (10, 30, 90)  # points on the path; more are taken until the error is small enough
TOLERANCE = 0.05  # of the sum of all weights, signs left out
AT_ONCE = 10  # points of a path that are run together
BATCH = 32
FLOAT32 = Precision("float32", False, "an explanation is of the reference execution")


@dataclass(frozen=True)
class Weights:
    """Why one class was answered."""

    tokens: np.ndarray
    """The weight of each token, float64 [S]."""
    score: float
    """The log-odds of the class, log p / (1 - p), for the text."""
    baseline_score: float
    """The same for the text of masks."""
    steps: int
    """Points on the path."""

    @property
    def error(self) -> float:
        """What the weights add up to, less what they should: the difference of the two scores."""
        return float(self.tokens.sum()) - (self.score - self.baseline_score)

    @property
    def error_share(self) -> float:
        """The size of the error as a share of all weight, signs left out; 0 where there is no weight."""
        weight = float(np.abs(self.tokens).sum())
        return abs(self.error) / weight if weight else 0.0


class Explainer:
    """A run's classifier on the modules of transformers in float32, and captum to look into it."""

    def __init__(self, context: RunContext) -> None:
        """Build a classifier of its own: that of the run's may have given its weights to the kernels.

        Raises:
            BadInput: captum is not installed, or the encoder is gone or is not the same any more.
        """
        check_captum()
        from captum.attr import LayerIntegratedGradients

        recorded = context.manifest["encoder"]
        self.tokenizer: PreTrainedTokenizerFast = load_tokenizer(context.run.tokenizer)
        fetched = fetch_encoder(recorded["source"], recorded.get("revision"))
        check_same_weights(context.run, recorded["sha256"], fetched)
        with notices.suppressed():  # what there is to say of the encoder was said when the run was trained
            classifier = open_adapter(fetched.path, context.run.adapter, context.labels)
        classifier.module.merge_adapter()  # the same function but for rounding, a quarter sooner
        self._classifier = classifier.to(training_device()).requires_grad_(False)
        self.baseline_token, self._baseline_id = _baseline(self.tokenizer)
        self._integrated = LayerIntegratedGradients(self._score, classifier.stack.embedding_modules[0])

    def weights(self, ids: Sequence[int], special: Sequence[bool], target: int) -> Weights:
        """Explain one answer by integrated gradients of its log-odds in the embeddings' output.

        M. Sundararajan, A. Taly and Q. Yan, "Axiomatic attribution for deep networks" (arXiv:1703.01365),
        equation 1: the gradient along the straight line from a baseline to the text, times the way gone. Their
        sum is the difference of the scores at both ends (proposition 1); what the finite sum misses of it is
        `error`. The baseline is the text with every token but the special ones masked. With a softmax over
        classes the log-odds of class t are z_t - log sum_(c != t) exp z_c.

        Args:
            ids: the tokens of a text [S].
            special: which are special tokens; they are the same in the baseline and weigh nothing.
            target: the class that is explained.
        """
        device = self._classifier.device
        text = torch.tensor([list(ids)], device=device)
        baseline = torch.where(torch.tensor([list(special)], device=device), text, self._baseline_id)
        mask = torch.ones_like(text)
        with torch.no_grad():
            score, baseline_score = self._score(
                torch.cat([text, baseline]), mask.expand(2, -1), target
            ).tolist()
        for steps in STEPS:
            found: Any = self._integrated.attribute(
                text,
                baseline,
                additional_forward_args=(mask, target),
                n_steps=steps,
                method="gausslegendre",
                internal_batch_size=AT_ONCE,
            )
            tokens = found[0].sum(dim=-1).cpu().double().numpy()
            weights = Weights(tokens, score, baseline_score, steps)
            if weights.error_share <= TOLERANCE:
                break
        return weights

    def probabilities(self, rows: Sequence[Sequence[int]], target: int) -> np.ndarray:
        """Return the probability of one class for texts given as token ids, float64 [N]."""
        found = predict_probabilities(Reference(self._classifier, FLOAT32), from_rows(rows), BATCH)
        return found[:, target].astype(np.float64)

    def _score(self, ids: torch.Tensor, mask: torch.Tensor, target: int) -> torch.Tensor:
        logits = self._classifier({"input_ids": ids, "attention_mask": mask})
        others = [index for index in range(logits.shape[1]) if index != target]
        return logits[:, target] - logits[:, others].logsumexp(dim=1)


def check_captum() -> None:
    """Refuse to go on without captum; raises BadInput with the command that installs it."""
    if find_spec("captum") is None:
        raise BadInput(
            Problem(
                "--with attribution",
                "captum, the library that computes it",
                "no package 'captum'",
                'Install it with: pip install "submillion[attribution]"',
            )
        )


def _baseline(tokenizer: PreTrainedTokenizerFast) -> tuple[str, int]:
    """Return the token that says least: the mask the encoder was trained with, else unknown, else padding."""
    token = str(tokenizer.mask_token or tokenizer.unk_token or tokenizer.pad_token)
    number: Any = tokenizer.convert_tokens_to_ids(token)
    return token, int(number)
