"""The frozen prefix: hidden states entering the lowest adapted layer, computed once per text and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch

from submillion import notices
from submillion.data.batches import collate, sequential
from submillion.model.execution.page_release import give_back
from submillion.model.execution.transfer import moved
from submillion.model.infer import Progress, advancing, evaluating
from submillion.model.prefix_file import PrefixFile, Put, bytes_of

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.precision import Precision

MEMORY_SHARE = 0.5  # of the memory available when the cache is made; the rest is for training
WORTH_A_FILE = 10**6  # bytes of states; fewer are computed sooner than found

Compute = Callable[[np.ndarray], torch.Tensor]
"""Takes rows, returns their states end to end without padding, [tokens of the rows, D]."""


@dataclass(frozen=True)
class Stack:
    """Where an encoder keeps its layers, and the modules whose output enters the first of them."""

    owner: torch.nn.Module
    """The module that loops over the layers."""
    name: str
    """The attribute of `owner` that holds them, a ModuleList."""
    feeders: tuple[torch.nn.Module, ...]
    """The embeddings and, where the family has one, the projection from embedding to hidden size."""

    @property
    def layers(self) -> torch.nn.ModuleList:
        """The encoder's layers, lowest first."""
        layers: torch.nn.ModuleList = getattr(self.owner, self.name)
        return layers

    @contextmanager
    def replaced_by(self, layers: Sequence[torch.nn.Module]) -> Iterator[None]:
        """Let other modules stand in for the encoder's layers; the encoder's own are put back after."""
        whole = self.layers
        setattr(self.owner, self.name, torch.nn.ModuleList(layers))
        try:
            yield
        finally:
            setattr(self.owner, self.name, whole)

    @contextmanager
    def starting_at(self, depth: int, states: torch.Tensor) -> Iterator[None]:
        """Make the encoder start at layer `depth` from `states` [B, S, D]; everything is put back after."""
        whole = self.layers
        setattr(self.owner, self.name, torch.nn.ModuleList(list(whole)[depth:]))
        for feeder in self.feeders:
            feeder.forward = lambda *_, **__: states
        try:
            yield
        finally:
            setattr(self.owner, self.name, whole)
            for feeder in self.feeders:
                del feeder.forward


class _Reached(Exception):
    """Ends a forward pass at the layer whose input was wanted."""


class PrefixCache:
    """The hidden states of N texts at one depth, laid end to end without padding: [total tokens, D].

    They are in memory where they fit, else in a mapped file; a file in the cache folder shares them between
    runs.
    """

    def __init__(self, flat: torch.Tensor, offsets: np.ndarray) -> None:
        self._flat = flat
        self._offsets = offsets

    @classmethod
    def build(
        cls,
        classifier: Classifier,
        tokens: Tokens,
        batch_size: int,
        precision: Precision,
        progress: Progress = False,
        available: int | None = None,
        compute: Compute | None = None,
        execution: str = "reference",
        pass_tokens: int | None = None,
    ) -> PrefixCache | None:
        """Run the layers below the lowest adapted one over all texts, without dropout, or find what did.

        Args:
            tokens: the texts whose states are wanted; row i of the cache is text i.
            batch_size: texts per forward pass.
            precision: under autocast the states are kept in its format, which halves the memory.
            available: free memory in bytes; None asks the machine.
            compute: runs the layers on a batch; None takes the modules of transformers.
            execution: what `compute` is called; states are shared among runs of the same one only.
            pass_tokens: tokens up to which batches are joined.

        Returns:
            The cache, or None where there is nothing to cache, the encoder cannot start at a layer of its
            own, or the states fit neither in half of the free memory nor on the disk; the last two are said
            in a notice.
        """
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
        dtype = getattr(torch, precision.dtype_name)
        shape = (int(tokens.offsets[-1]), classifier.hidden_size)
        needed = shape[0] * shape[1] * dtype.itemsize
        free = psutil.virtual_memory().available if available is None else available
        fits = needed <= MEMORY_SHARE * free
        file = None
        if needed >= WORTH_A_FILE:
            file = PrefixFile(_key(classifier, tokens, batch_size, precision, execution), shape, dtype)

        def put_all(put: Put) -> None:
            run = compute or _reference(classifier, tokens, precision)
            lengths = np.diff(tokens.offsets)
            with (
                evaluating(classifier),
                torch.no_grad(),
                advancing(progress, len(lengths), "running the frozen layers") as advance,
            ):
                for rows in sequential(lengths, batch_size, pass_tokens):
                    put(tokens.offsets[rows], lengths[rows], run(rows).to("cpu", dtype))
                    advance(len(rows))

        flat: torch.Tensor | str | None = None if file is None else file.read(fits)
        if flat is None:
            with nullcontext() if file is None else file.alone():
                # Whoever held the lock before may have been computing just these.
                flat = None if file is None else file.read(fits)
                if flat is None and fits:
                    flat = _in_memory(put_all, shape, dtype)
                    if file is not None:
                        file.write(flat)
                elif flat is None:
                    flat = "" if file is None else file.make(put_all)
        if isinstance(flat, str):
            notices.emit(
                "prefix_cache",
                f"no prefix cache: it takes {needed / 1e9:.2f} GB, more than half of the {free / 1e9:.2f} GB "
                f"that are free{flat and f', and not on disk: {flat}'}; the lowest {depth} layers run in "
                "every step",
                bytes=needed,
                available=free,
            )
            return None
        notices.emit(
            "prefix_cache",
            f"the lowest {depth} of {classifier.n_layers} layers have nothing to train: they run once per "
            f"text, without dropout, and their output is kept {'in memory' if fits else 'on disk'}",
            depth=depth,
        )
        return cls(flat, np.asarray(tokens.offsets, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Memory, or disk where they are mapped, that the states take, in bytes."""
        return self._flat.nbytes

    def flat_states(self, rows: np.ndarray) -> torch.Tensor:
        """Return the states of `rows` end to end without padding, [tokens of the rows, D] in the cache's format."""
        starts = self._offsets[rows]
        return self._flat.index_select(0, _places(starts, self._offsets[rows + 1] - starts))

    def states(
        self, rows: np.ndarray, width: int | None = None, device: torch.device | None = None
    ) -> torch.Tensor:
        """Return the states of `rows`, float32 [len(rows), S, D], zero after the end of each text.

        Args:
            rows: row indices, in the order wanted.
            width: S; None takes the longest of the rows.
            device: where they are wanted; None is the cpu. They go there in the cache's format and without
                padding, which under autocast is half the bytes or less.
        """
        device = device or torch.device("cpu")
        lengths = self._offsets[rows + 1] - self._offsets[rows]
        size = int(lengths.max(initial=0)) if width is None else width
        hidden = self._flat.shape[1]
        padded = torch.zeros(len(rows) * size, hidden, device=device)
        places = moved(_places(_steps(len(rows), size), lengths), device)
        padded.index_copy_(0, places, moved(self.flat_states(rows), device).float())
        return padded.view(len(rows), size, hidden)


def supports_prefix(config: Mapping[str, Any]) -> bool:
    """Whether an encoder with this config.json can start at any layer.

    DeBERTa-v2 with a convolution cannot: its output is added after the first layer that runs.
    """
    return not config.get("conv_kernel_size")


def states_entering(classifier: Classifier, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the hidden states [B, S, D] entering layer `classifier.prefix_depth`; nothing above it runs."""
    found: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(args[0] if args else kwargs["hidden_states"])
        raise _Reached

    layer = classifier.stack.layers[classifier.prefix_depth]
    handle = layer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        classifier({name: tensor.to(classifier.device) for name, tensor in batch.items()})
    except _Reached:
        return found[0]
    finally:
        handle.remove()
    raise RuntimeError(f"the encoder finished without entering layer {classifier.prefix_depth}")


def _reference(classifier: Classifier, tokens: Tokens, precision: Precision) -> Compute:
    """Return what runs the modules of transformers on padded batches."""

    def compute(rows: np.ndarray) -> torch.Tensor:
        batch = collate(tokens, rows, classifier.pad_id)
        with precision.context(classifier.device.type):
            states = states_entering(classifier, batch)
        return states[batch["attention_mask"].bool().to(states.device)]

    return compute


def _in_memory(put_all: Callable[[Put], None], shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
    flat = torch.empty(shape, dtype=dtype)

    def put(starts: np.ndarray, lengths: np.ndarray, states: torch.Tensor) -> None:
        flat.index_copy_(0, _places(starts, lengths), states)

    put_all(put)
    return flat


def _key(
    classifier: Classifier, tokens: Tokens, batch_size: int, precision: Precision, execution: str
) -> str:
    """Return the hash of all that decides the states, to the last bit where the number of threads is the same."""
    import transformers

    from submillion import __version__

    # The batch size and the libraries only move last bits, but a run must not depend on the runs before it.
    values = {
        "submillion": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "config": classifier.config,
        "depth": classifier.prefix_depth,
        "precision": [precision.dtype_name, precision.autocast],
        "execution": [execution, classifier.device.type, batch_size],
        "weights": [[name, str(value.dtype), list(value.shape)] for name, value in _weights(classifier)],
    }
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    digest.update(_digest_of(tokens.ids, tokens.offsets))
    digest.update(_digest_of(*(bytes_of(value.detach().cpu()) for _, value in _weights(classifier))))
    give_back(value.detach() for _, value in _weights(classifier))
    return digest.hexdigest()


def _weights(classifier: Classifier) -> Iterator[tuple[str, torch.Tensor]]:
    """Give each tensor that the states depend on: of the embeddings, the layers below, and what layers share."""
    stack, seen = classifier.stack, set()
    for number, module in enumerate((*stack.feeders, stack.owner)):
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            path = name.split(".")
            above = (
                module is stack.owner and path[0] == stack.name and int(path[1]) >= classifier.prefix_depth
            )
            # What is trained beside the layers, as a head's own norm, no state below depends on.
            if not above and not value.requires_grad and id(value) not in seen:
                seen.add(id(value))
                yield f"{number}.{name}", value


def _digest_of(*arrays: np.ndarray) -> bytes:
    digest = hashlib.blake2b()  # faster than sha256 without an instruction for it
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _steps(count: int, size: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64) * size


def _places(starts: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
    """Return starts[0], starts[0]+1, ... lengths[0] of them, then those of row 1, and so on.

    starts [5, 0], lengths [2, 3] -> 5 6 0 1 2: a running count 0 1 2 3 4, shifted row by row by +5 and -2.
    """
    ends = np.cumsum(lengths)
    shifts = np.repeat(starts - (ends - lengths), lengths)
    return torch.from_numpy(np.arange(len(shifts), dtype=np.int64) + shifts)
