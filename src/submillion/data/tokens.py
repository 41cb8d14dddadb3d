"""Token ids of texts: one flat array, made by the encoder's own fast tokenizer, cached by content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from submillion.data import token_cache
from submillion.data.tokenizer import load_tokenizer, rust_errors
from submillion.data.truncation import Truncation
from submillion.errors import BadInput, Problem
from submillion.terminal.progress import progress_bar

TOKENIZER_BATCH = (
    1024  # texts per call of the tokenizer: enough for its threads, few enough for a bar that moves
)


@dataclass(frozen=True)
class Windows:
    """The windows of N texts that are read in several: W of them, end to end within each text."""

    lengths: np.ndarray
    """Tokens of each window, int64 [W]."""
    counts: np.ndarray
    """Windows of each text, int64 [N], at least 1."""

    def take(self, rows: np.ndarray) -> Windows:
        """Return the windows of some texts, in the given order."""
        counts = self.counts[rows]
        firsts = np.cumsum(self.counts)[rows] - counts
        places = np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        return Windows(self.lengths[places], counts)


@dataclass(frozen=True)
class Tokens:
    """The token ids of N texts laid end to end, special tokens included; T is their total."""

    ids: np.ndarray
    """int32 [T]; those of `tokenize` are mapped from a file, so the system can reclaim their pages."""
    offsets: np.ndarray
    """int64 [N + 1]; text i is ids[offsets[i]:offsets[i + 1]]."""
    full_lengths: np.ndarray
    """int32 [N]: tokens of each text before truncation, special tokens included."""
    windows: Windows | None = None
    """The windows that the texts are read in; None if each text is read at once."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text after truncation, int64 [N]."""
        return np.diff(self.offsets)

    @cached_property
    def id_range(self) -> tuple[int, int]:
        """Smallest and largest id; (0, -1) without tokens."""
        return (int(self.ids.min()), int(self.ids.max())) if len(self.ids) else (0, -1)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest text after truncation."""
        return int(self.lengths.max(initial=0))

    def check_fits(self, vocabulary: int, longest: int) -> None:
        """Refuse ids and lengths that an encoder has no embeddings for; the arrays are read in the first call only.

        Args:
            vocabulary: rows of the encoder's token embeddings.
            longest: tokens that it has positions for.

        Raises:
            BadInput: an id or a length is beyond them.
        """
        low, high = self.id_range
        if low < 0 or high >= vocabulary:
            found = f"id {low if low < 0 else high}"
            remedy = "Use the tokenizer that belongs to the encoder."
            expected = f"token ids from 0 to {vocabulary - 1:,}, the rows of the encoder's embeddings"
            raise BadInput(Problem("the tokenizer", expected, found, remedy))
        if self.longest > longest:
            expected = f"texts of at most the {longest:,} tokens that the encoder has positions for"
            raise BadInput(Problem("@{data.max_length}", expected, f"one of {self.longest:,}"))

    @property
    def truncated(self) -> int:
        """Number of truncated texts."""
        return int((self.full_lengths > self.lengths).sum())

    def take(self, rows: Sequence[int] | np.ndarray) -> Tokens:
        """Return the tokens of some rows, in the given order."""
        numbers = np.asarray(rows, dtype=np.int64)
        taken = from_rows([self[row] for row in rows], self.full_lengths[numbers])
        return taken if self.windows is None else replace(taken, windows=self.windows.take(numbers))

    def as_windows(self) -> Tokens:
        """Return tokens whose rows are the windows of these; the tokens themselves if each text is read at once."""
        if self.windows is None:
            return self
        return Tokens(self.ids, _offsets(self.windows.lengths), self.windows.lengths.astype(np.int32))


def from_rows(rows: Sequence[Sequence[int] | np.ndarray], full_lengths: Any = None) -> Tokens:
    """Return the tokens of texts as one flat array.

    Args:
        rows: token ids of each text.
        full_lengths: tokens of each text before truncation, int [N]; None means that none is truncated.
    """
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ids = np.concatenate([np.empty(0, dtype=np.int32), *(np.asarray(row, dtype=np.int32) for row in rows)])
    return Tokens(
        ids, _offsets(lengths), np.asarray(lengths if full_lengths is None else full_lengths, dtype=np.int32)
    )


def tokenize(
    tokenizer: PreTrainedTokenizerFast | str | Path,
    texts: Sequence[str],
    truncation: Truncation,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> Tokens:
    """Tokenize texts, or read their tokens from the cache.

    Args:
        tokenizer: fast tokenizer, or its folder.
        texts: N texts; an empty text has only special tokens.
        truncation: the longest input, and which tokens of a longer text are read.
        cache_dir: folder of the results; None takes `tokens` in the cache folder.
        progress: show a bar on standard error if it takes long and standard error is a terminal.

    Raises:
        BadInput: the folder has no tokenizer.
    """
    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(tokenizer)
    _plain(tokenizer)
    file = token_cache.file_of(token_cache.key(tokenizer, texts, truncation), cache_dir)
    special = tokenizer.num_special_tokens_to_add(pair=False)
    arrays = token_cache.read(file, len(texts), truncation, special)
    if arrays is None:
        arrays = token_cache.write(file, _encoded(tokenizer, texts, truncation, progress))
    if arrays is None:
        return encode(tokenizer, texts, truncation, progress)
    ids, lengths, full_lengths = arrays
    return _tokens(ids, lengths, full_lengths, truncation, special)


def encode(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], truncation: Truncation, progress: bool = False
) -> Tokens:
    """Tokenize texts without the cache.

    With `windows` `first`, the ids are those of `tokenizer(text, truncation=True, max_length=max_length)`, but the
    tokenizer runs without truncation, so that the length before truncation is known.

    Args:
        tokenizer: fast tokenizer.
        texts: N texts.
        truncation: the longest input, and which tokens of a longer text are read.
        progress: show a bar on standard error if it takes long.
    """
    # One array per chunk, not per text: a million small arrays take more memory than their content.
    ids, lengths, full_lengths = [np.empty(0, np.int32)], [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for chunk_ids, kept, full in _encoded(tokenizer, texts, truncation, progress):
        ids.append(chunk_ids)
        lengths.append(kept)
        full_lengths.append(full)
    special = tokenizer.num_special_tokens_to_add(pair=False)
    arrays = np.concatenate(ids), np.concatenate(lengths), np.concatenate(full_lengths)
    return _tokens(*arrays, truncation, special)


def _encoded(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], truncation: Truncation, progress: bool
) -> Iterator[token_cache.Arrays]:
    """Yield, per TOKENIZER_BATCH texts, their ids end to end and their lengths after and before truncation."""
    _plain(tokenizer)
    backend = tokenizer.backend_tokenizer
    special = tokenizer.num_special_tokens_to_add(pair=False)
    if truncation.room(tokenizer) < 1:
        expected, found = "room for a token beside the special ones", str(truncation.max_length)
        raise BadInput(Problem("@{data.max_length}", expected, found))
    with progress_bar(progress, len(texts), "tokenizing") as advance:
        for chunk in _chunks(texts):
            with rust_errors("the tokenizer", "one that can tokenize these texts"):
                encodings = backend.encode_batch_fast(chunk, add_special_tokens=False)
                full_lengths = np.array([len(one) + special for one in encodings], dtype=np.int32)
                rows = [np.array(truncation.ids(tokenizer, one), dtype=np.int32) for one in encodings]
            yield np.concatenate(rows), np.array([len(row) for row in rows], dtype=np.int64), full_lengths
            advance(len(chunk))


def _tokens(
    ids: np.ndarray, lengths: np.ndarray, full_lengths: np.ndarray, truncation: Truncation, special: int
) -> Tokens:
    """Return the arrays that `_encoded` yields as tokens, with their windows."""
    windows = Windows(*truncation.windows_of(full_lengths, special)) if truncation.windows == "all" else None
    return Tokens(ids, _offsets(lengths), full_lengths, windows)


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])


def _plain(tokenizer: PreTrainedTokenizerFast) -> None:
    """Switch off truncation and padding, which the tokenizer.json of sentence encoders switches on."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), TOKENIZER_BATCH):
        yield list(texts[start : start + TOKENIZER_BATCH])
