"""The execution of texts that are read in several windows: any execution on the windows, then a mean over them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from submillion.model.execution.pass_sizes import PASS_TOKENS
from submillion.model.prefix import PrefixCache
from submillion.model.transfer import to_device

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.precision import Precision
    from submillion.model.protocol import Execution, PrefixForward, States


class Windowed:
    """Runs an execution on the windows of texts, and the head on the mean of what it would read of each window.

    This is the "hierarchical mean" of Sun et al. 2019 (arXiv:1905.05583, section 5.3.1). The windows of a text have
    equal length, so for a head that reads the mean over tokens it is the mean over all tokens of the text; for a linear
    head it is the same as the mean of the windows' logits.
    """

    def __init__(self, execution: Execution) -> None:
        """Take the execution that runs the windows."""
        self._execution = execution

    @property
    def inner(self) -> Execution:
        """The execution of the windows."""
        return self._execution

    @property
    def name(self) -> str:
        """That of the execution of the windows."""
        return self._execution.name

    @property
    def classifier(self) -> Classifier:
        """The classifier that it runs."""
        return self._execution.classifier

    @property
    def precision(self) -> Precision:
        """The number format of its matrix products."""
        return self._execution.precision

    @property
    def step_tokens(self) -> int | None:
        """See `Execution.step_tokens`."""
        return self._execution.step_tokens

    @property
    def pass_tokens(self) -> int | None:
        """See `Execution.pass_tokens`."""
        return self._execution.pass_tokens

    def logits(self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: States | None = None) -> Tensor:
        """Return logits; see `Execution.logits`."""
        return self.classifier.head(self.features(tokens, rows, seed, prefix))

    def features(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: States | None = None
    ) -> Tensor:
        """Return the mean of the features of each text's windows; see `Execution.features`."""
        counts, windows = _windows(tokens, rows)
        flat = None if prefix is None else prefix.flat_states(rows)
        features = torch.cat(
            [
                self._execution.features(
                    part,
                    np.arange(len(part)),
                    seed,
                    None if flat is None else _states(flat, windows, part, start),
                )
                for start, part in _parts(windows, whole=torch.is_grad_enabled())
            ]
        )
        text_of = to_device(torch.from_numpy(np.repeat(np.arange(len(counts)), counts)), features.device)
        sums = features.new_zeros(len(counts), features.shape[1]).index_add(0, text_of, features)
        return sums / to_device(torch.from_numpy(counts), features.device)[:, None]

    def prefix_forward(self, tokens: Tokens) -> PrefixForward:
        """Return the function that computes the states entering the lowest adapted layer, window by window."""

        def forward(rows: np.ndarray) -> Tensor:
            _, windows = _windows(tokens, rows)
            return torch.cat(
                [
                    self._execution.prefix_forward(part)(np.arange(len(part)))
                    for _, part in _parts(windows, whole=False)
                ]
            )

        return forward


def _windows(tokens: Tokens, rows: np.ndarray) -> tuple[np.ndarray, Tokens]:
    """Return the number of windows of some texts, int64 [rows], and the tokens of these windows."""
    own = tokens.take(rows)
    counts = np.ones(len(own), dtype=np.int64) if own.windows is None else own.windows.counts
    return counts, own.as_windows()


def _parts(windows: Tokens, *, whole: bool) -> Iterator[tuple[int, Tokens]]:
    """Give consecutive windows of at most PASS_TOKENS tokens, with the number of the first; all at once if `whole`.

    A text of any length then takes no more memory than a pass, or than one window.
    """
    ends, start = np.cumsum(windows.lengths), 0
    while start < len(windows):
        done = int(windows.offsets[start])
        fitting = int(np.searchsorted(ends, done + PASS_TOKENS, side="right"))
        stop = len(windows) if whole else max(fitting, start + 1)
        yield start, windows if stop - start == len(windows) else windows.take(np.arange(start, stop))
        start = stop


def _states(flat: Tensor, windows: Tokens, part: Tokens, start: int) -> PrefixCache:
    """Return the cached states of a part of the windows, which begins at window `start`."""
    first, last = windows.offsets[start], windows.offsets[start + len(part)]
    return PrefixCache(flat[first:last], part.offsets)


def unwindowed(execution: Execution) -> Execution:
    """Return the execution that runs the windows, or the execution itself if it runs whole texts."""
    return execution.inner if isinstance(execution, Windowed) else execution
