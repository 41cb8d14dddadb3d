"""The training loss: cross-entropy with label smoothing, class weights, logit adjustment and R-Drop."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from submillion.errors import BadInput, Problem
from submillion.recipe import TrainRecipe


def check_r_drop(recipe: TrainRecipe, module: torch.nn.Module) -> None:
    """Refuse R-Drop where nothing is dropped: the two passes would be equal, and a step would take twice as long.

    Raises:
        BadInput: the recipe has R-Drop, and every dropout of the classifier is 0.
    """
    dropouts = (part.p for part in module.modules() if isinstance(part, torch.nn.Dropout))
    if recipe.r_drop and not any(dropouts):
        found = "none, so that it would change nothing"
        remedy = "Set @{lora.dropout} or @{encoder.dropout}, such as 0.1."
        raise BadInput(Problem("@{train.r_drop}", "a dropout above 0 beside it", found, remedy))


class TrainingLoss:
    """The loss of a batch, from its logits.

    With the classes' shares pi of the training texts, P = softmax(z + tau log pi) for logits z. A text of class y has
    the loss w_y (H(P) + r_drop D), where w_y is its class's weight and H the cross-entropy with smoothed labels, each
    class having epsilon / C of the probability besides its own (Szegedy et al. 2016, arXiv:1512.00567, section 7).

    - tau log pi: logit adjustment, Menon et al. 2021, arXiv:2007.07314, equation 10. tau = 0 adds nothing. A class
      without a training text counts as if it had one.
    - w_y = N / (C n_y) with `balanced`, over the C classes that have training texts: the mean weight of the training
      texts is 1, so that learning rate and clipping have their usual meaning. Otherwise 1.
    - H and D with R-Drop, Wu et al. 2021, arXiv:2106.14448, equations 2 to 4: two passes with different dropout give P
      and Q. H is the mean of their cross-entropies and D = (KL(P || Q) + KL(Q || P)) / 2. The paper adds the
      cross-entropies; its code takes their mean, as here. Without it, D = 0.
    """

    def __init__(self, labels: np.ndarray, classes: int, recipe: TrainRecipe, device: torch.device) -> None:
        """Count the classes.

        Args:
            labels: class index per training text, int64 [N].
            classes: C.
            recipe: smoothing, weights, adjustment and R-Drop.
            device: where the logits will be.
        """
        self._smoothing, self._r_drop = recipe.label_smoothing, recipe.r_drop
        self._weights: torch.Tensor | None = None
        self._added: torch.Tensor | None = None
        if recipe.class_weights == "balanced":
            weights = balanced_weights(labels, classes)
            self._weights = torch.tensor(weights, dtype=torch.float32, device=device)
        if recipe.logit_adjustment:
            added = recipe.logit_adjustment * log_shares(labels, classes)
            self._added = torch.tensor(added, dtype=torch.float32, device=device)

    @property
    def passes(self) -> int:
        """Passes per text, which have different dropout."""
        return 2 if self._r_drop else 1

    def sum(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum of the losses of B texts, 0-dim.

        Args:
            logits: [B, C]; with R-Drop [2 B, C], the second passes after the first ones.
            labels: class index per text, int64 [B].
        """
        if self._added is not None:
            logits = logits + self._added
        targets = labels.repeat(self.passes)
        if self.passes == 1 and self._weights is None:
            return functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=self._smoothing)
        losses = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=self._smoothing)
        if self.passes == 2:
            losses = losses.view(2, -1).mean(dim=0) + self._r_drop * symmetric_divergence(*logits.chunk(2))
        return losses.sum() if self._weights is None else (self._weights[labels] * losses).sum()


def symmetric_divergence(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return (KL(P || Q) + KL(Q || P)) / 2 per row, [B], for P and Q the softmax of logits [B, C]."""
    log_p, log_q = one.log_softmax(dim=1), other.log_softmax(dim=1)
    # The two sums over P (log P - log Q) and Q (log Q - log P) in one.
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=1) / 2


def log_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the logarithm of each class's share of the texts, float64 [C]; a class without texts counts as one.

    Args:
        labels: class index per text, int64 [N].
        classes: C.
    """
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    shares: np.ndarray = np.log(counts / len(labels))
    return shares


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return N / (present classes * rows of the class) for each class, float64 [C]: all classes weigh the same.

    Args:
        labels: class index per row, [N].
        classes: C; those without a row weigh as if they had one.
    """
    counts = np.bincount(labels, minlength=classes)
    weights: np.ndarray = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return weights
