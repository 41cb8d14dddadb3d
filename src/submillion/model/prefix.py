"""The frozen prefix: hidden states entering the lowest adapted layer, computed once per text and cached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import transformers
import xxhash

from submillion import notices
from submillion.data.batches import sequential
from submillion.files import tensor_file
from submillion.limits import memory
from submillion.model.page_release import release_pages
from submillion.model.prefix_file import PrefixFile, Put, StoredStates, bytes_of
from submillion.model.stack import supports_prefix
from submillion.model.transfer import to_device
from submillion.terminal.progress import ProgressOption, progress_bar
from submillion.version import __version__

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.protocol import Execution, LowerLayers, States

MEMORY_SHARE = 0.5  # share of the available memory that states may take; the rest is for training
MIN_FILE_BYTES = 10**6  # fewer bytes of states are computed faster than a file is read and checked


class PrefixCache:
    """The hidden states of N texts at one depth, end to end without padding: [total tokens, D].

    They are in a file of the cache folder, which runs share; in memory if they are few or the disk has no room.
    """

    def __init__(self, stored: torch.Tensor | StoredStates, offsets: np.ndarray) -> None:
        """Take states that are already computed.

        Args:
            stored: [total tokens, D].
            offsets: int64 [N + 1]: text i has the rows offsets[i] to offsets[i + 1] of `stored`.
        """
        self._stored = stored
        self._offsets = offsets

    @classmethod
    def build(
        cls,
        execution: Execution,
        tokens: Tokens,
        batch_size: int,
        available: int | None = None,
        progress: ProgressOption = False,
        lower: LowerLayers | None = None,
    ) -> PrefixCache | None:
        """Run the layers below the lowest adapted one over all texts, without dropout, or read the cached result.

        Args:
            execution: runs the layers. The states have the number format of its precision, and are shared only
                among runs of the same execution.
            tokens: the texts; row i of the cache is text i.
            batch_size: texts per forward pass.
            available: free memory in bytes; None asks the operating system.
            progress: True shows a bar on stderr.
            lower: what runs the layers in place of `execution`, which will read the states.

        Returns:
            The cache, or None if the lowest layer has something to train. Also None, after a notice, if the encoder
            cannot start at a layer of its own, or if the states fit neither on the disk nor in half of the free
            memory.
        """
        classifier = execution.classifier
        depth = classifier.prefix_depth
        if depth == 0:
            return None
        if not supports_prefix(classifier.config):
            notices.emit(
                "prefix_cache",
                f"no prefix cache: this {classifier.family.name} encoder has a convolution around its lowest "
                f"layer; the lowest {depth} layers run in every step",
            )
            return None
        forward = _Forward(execution, tokens, batch_size, progress, lower)
        free = memory().available if available is None else available
        states = forward.states(fit_memory=forward.nbytes <= MEMORY_SHARE * free)
        if isinstance(states, str):
            reason = states and f", and not on disk: {states}"
            notices.emit(
                "prefix_cache",
                f"no prefix cache: it takes {forward.nbytes / 1e9:.2f} GB, more than half of the "
                f"{free / 1e9:.2f} GB of free memory{reason}; the lowest {depth} layers run in every step",
                bytes=forward.nbytes,
                available=free,
            )
            return None
        notices.emit(
            "prefix_cache",
            f"caching the output of the {depth} frozen lower layers (of {classifier.n_layers}) "
            f"{'on disk' if isinstance(states, StoredStates) else 'in memory'}; dropout is off in them"
            + ("" if lower is None else f"; they run on {lower.execution.name}"),
            depth=depth,
        )
        return cls(states, np.asarray(tokens.offsets, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Size of the states in bytes, in memory or on disk."""
        return self._stored.nbytes

    def flat_states(self, rows: np.ndarray) -> torch.Tensor:
        """Return the states of `rows` end to end without padding, [tokens of the rows, D] in the cache's format."""
        starts = self._offsets[rows]
        lengths = self._offsets[rows + 1] - starts
        if isinstance(self._stored, StoredStates):
            return self._stored.read(starts, lengths)
        return self._stored.index_select(0, _row_indices(starts, lengths))

    def states(
        self, rows: np.ndarray, width: int | None = None, device: torch.device | None = None
    ) -> torch.Tensor:
        """Return the states of `rows`, float32 [len(rows), S, D], zero after the end of each text.

        Args:
            rows: row indices, in the order of the result.
            width: S; None takes the length of the longest row.
            device: target device; None is the CPU. The states are copied in the cache's format and without padding,
                which under autocast is at most half the bytes.
        """
        device = device or torch.device("cpu")
        lengths = self._offsets[rows + 1] - self._offsets[rows]
        size = int(lengths.max(initial=0)) if width is None else width
        flat = self.flat_states(rows)
        padded = torch.zeros(len(rows) * size, flat.shape[1], device=device)
        indices = to_device(_row_indices(np.arange(len(rows), dtype=np.int64) * size, lengths), device)
        padded.index_copy_(0, indices, to_device(flat, device).float())
        return padded.view(len(rows), size, flat.shape[1])


@dataclass(frozen=True)
class PrefixRows:
    """Some rows of cached states: row i is row `rows[i]` of the whole."""

    whole: States
    rows: np.ndarray

    def flat_states(self, rows: np.ndarray) -> torch.Tensor:
        """Return the states of `rows` end to end; see `States.flat_states`."""
        return self.whole.flat_states(self.rows[rows])

    def states(
        self, rows: np.ndarray, width: int | None = None, device: torch.device | None = None
    ) -> torch.Tensor:
        """Return the states of `rows`, padded; see `States.states`."""
        return self.whole.states(self.rows[rows], width, device)


@dataclass(frozen=True)
class _Forward:
    """One pass of the frozen layers over all texts; its states are computed, or read from a file of an earlier run."""

    execution: Execution
    tokens: Tokens
    batch_size: int
    progress: ProgressOption
    lower: LowerLayers | None

    @property
    def runner(self) -> Execution:
        """The execution that computes the states."""
        return self.execution if self.lower is None else self.lower.execution

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the states."""
        dtype: torch.dtype = getattr(torch, self.execution.precision.dtype_name)
        return dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Total tokens, D."""
        return int(self.tokens.offsets[-1]), self.execution.classifier.hidden_size

    @property
    def nbytes(self) -> int:
        """Size of the states in bytes."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def states(self, *, fit_memory: bool) -> torch.Tensor | StoredStates | str:
        """Return the states, or the reason why no file can hold them ("" if they are too few for a file).

        Args:
            fit_memory: whether they may be in memory if there is no file.
        """
        if self.nbytes < MIN_FILE_BYTES:
            return self._computed() if fit_memory else ""
        file = PrefixFile(_key(self), self.shape, self.dtype)
        states: StoredStates | str | None = file.open()
        if states is None:
            with file.alone():
                # Another process may have computed them while this one waited for the lock.
                states = file.open() or file.make(self.run)
        if isinstance(states, str) and fit_memory:
            notices.emit("prefix_cache", f"the frozen layers' output is not kept for the next run: {states}")
            return self._computed()
        return states

    def run(self, put: Put) -> None:
        """Compute the states of all texts and pass them to `put`, batch by batch."""
        classifier, tokens = self.execution.classifier, self.tokens
        lengths = np.diff(tokens.offsets)
        forward = self.runner.prefix_forward(tokens)
        with (
            classifier.evaluating(),
            torch.no_grad(),
            progress_bar(self.progress, len(lengths), "running the frozen layers") as advance,
        ):
            for rows in sequential(lengths, self.batch_size, self.runner.pass_tokens):
                put(tokens.offsets[rows], lengths[rows], forward(rows).to("cpu", self.dtype))
                advance(len(rows))

    def _computed(self) -> torch.Tensor:
        """Compute the states in memory."""
        flat = torch.empty(self.shape, dtype=self.dtype)

        def put(starts: np.ndarray, lengths: np.ndarray, states: torch.Tensor) -> None:
            flat.index_copy_(0, _row_indices(starts, lengths), states)

        self.run(put)
        return flat


def _key(forward: _Forward) -> str:
    """Return the hash of everything that decides the states, to the last bit for a given number of threads."""
    tokens, classifier = forward.tokens, forward.execution.classifier
    precision = forward.execution.precision
    # Batch size and libraries only change the last bits, but a run must not depend on the runs before it.
    values = {
        "submillion": [__version__, tensor_file.FORMAT],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "config": classifier.config,
        "depth": classifier.prefix_depth,
        "precision": [precision.dtype_name, precision.autocast],
        "execution": [forward.runner.name, classifier.device.type, forward.batch_size],
        "weights": [[name, str(value.dtype), list(value.shape)] for name, value in _weights(classifier)],
    }
    if forward.lower is not None:
        values["lower"] = forward.lower.identity
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    digest.update(_digest_of(tokens.ids, tokens.offsets))
    if tokens.windows is not None:
        digest.update(_digest_of(tokens.windows.lengths, tokens.windows.counts))
    digest.update(_digest_of(*(bytes_of(value.detach().cpu()) for _, value in _weights(classifier))))
    release_pages(value.detach() for _, value in _weights(classifier))
    return digest.hexdigest()


def _weights(classifier: Classifier) -> Iterator[tuple[str, torch.Tensor]]:
    """Give each tensor that the states depend on: embeddings, the layers below, and tensors that layers share."""
    stack, seen = classifier.stack, set()
    for number, module in enumerate((*stack.embedding_modules, stack.owner)):
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            path = name.split(".")
            above = (
                module is stack.owner and path[0] == stack.name and int(path[1]) >= classifier.prefix_depth
            )
            # No state depends on a trained tensor beside the layers, such as a head's own norm.
            if not above and not value.requires_grad and id(value) not in seen:
                seen.add(id(value))
                yield f"{number}.{name}", value


def _digest_of(*arrays: np.ndarray) -> bytes:
    digest = xxhash.xxh3_128()  # of gigabytes of ids and weights, against accidents alone
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _row_indices(starts: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
    """Return starts[0], starts[0] + 1, ... (lengths[0] indices), then those of starts[1], and so on.

    starts [5, 0], lengths [2, 3] -> 5 6 0 1 2: the count 0 1 2 3 4, shifted by +5 in the first row and by -2 in the
    second.
    """
    ends = np.cumsum(lengths)
    shifts = np.repeat(starts - (ends - lengths), lengths)
    return torch.from_numpy(np.arange(len(shifts), dtype=np.int64) + shifts)
