"""The cache of token ids: one file per set of texts, named after everything that decides the ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import tokenizers

from submillion import notices
from submillion.cache import cache_root, prune
from submillion.files import tensor_file
from submillion.files.tensor_file import Layout, TensorFile

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from submillion.data.truncation import Truncation

FORMAT = "submillion tokens 4"
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of N texts: ids end to end, int32; tokens per text, int64 [N]; before truncation, int32 [N]."""


def key(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], truncation: Truncation) -> str:
    """Return the sha256 over texts, tokenizer, version of the tokenizing library and truncation."""
    digest = hashlib.sha256()
    backend = tokenizer.backend_tokenizer.to_str()
    rule = tokenizer.truncation_side, str(truncation.max_length), truncation.windows
    for part in (FORMAT, tokenizers.__version__, backend, *rule):
        _add(digest, part)
    for text in texts:
        _add(digest, text)
    return digest.hexdigest()


def file_of(key: str, cache_dir: Path | None) -> TensorFile:
    """Return the file of a key, in `cache_dir` or in the user's cache."""
    folder = cache_dir or cache_root() / "tokens"
    return TensorFile(folder / f"{key[:32]}.safetensors", key, "tokens", "token_cache")


def read(file: TensorFile, rows: int, truncation: Truncation, special: int) -> Arrays | None:
    """Return the arrays that were written, ids mapped; None if absent or, after a notice, damaged.

    Args:
        file: see `file_of`.
        rows: number of texts.
        truncation: the rule that the texts were tokenized with.
        special: special tokens that the tokenizer adds.
    """

    def check(tensors: Mapping[str, np.ndarray]) -> None:
        ids, lengths, full_lengths = _arrays(tensors)
        kinds = [(values.dtype.str, values.ndim) for values in (ids, lengths, full_lengths)]
        if kinds != [("<i4", 1), ("<i8", 1), ("<i4", 1)]:
            raise ValueError("its arrays are of other kinds")
        if len(lengths) != rows or len(full_lengths) != rows or lengths.sum() != len(ids):
            raise ValueError("its rows are not those of the texts")
        if not _agree(lengths, full_lengths, truncation, special):
            raise ValueError("its lengths contradict each other")

    tensors = file.read(check)
    return None if tensors is None else _arrays(tensors)


def write(file: TensorFile, chunks: Iterable[Arrays]) -> Arrays | None:
    """Write tokens chunk by chunk; return them as `read` does.

    Returns:
        None, after a notice, if the cache cannot be written.
    """

    def fill(handle: BinaryIO) -> Layout:
        lengths, full_lengths = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int32)]
        for ids, kept, full in chunks:
            handle.write(ids.data)
            lengths.append(kept)
            full_lengths.append(full)
        ends = np.concatenate(lengths), np.concatenate(full_lengths)
        for values in ends:
            handle.write(values.data)
        count = len(ends[0])
        return {
            "ids": ("I32", (int(ends[0].sum()),)),
            "lengths": ("I64", (count,)),
            "full_lengths": ("I32", (count,)),
        }

    prune(file.path.parent, tensor_file.LIMIT)
    reason = file.write(fill)
    if reason is not None:
        notices.emit("token_cache", f"the tokens are not kept for the next run: {reason}.")
        return None
    return _arrays(file.load())


def _agree(lengths: np.ndarray, full_lengths: np.ndarray, truncation: Truncation, special: int) -> bool:
    """Return whether the lengths of texts after truncation can be those of their full lengths."""
    if not len(lengths):
        return True
    if truncation.windows != "all":
        return bool(
            lengths.min() >= 0 and lengths.max() <= truncation.max_length and (lengths <= full_lengths).all()
        )
    if full_lengths.min() < special:
        return False
    _, counts = truncation.windows_of(full_lengths, special)
    return bool((lengths == full_lengths + (counts - 1) * special).all())


def _arrays(tensors: Mapping[str, np.ndarray]) -> Arrays:
    # The lengths are copied into memory: after the ids they may begin at any address.
    return tensors["ids"], np.array(tensors["lengths"]), np.array(tensors["full_lengths"])


def _add(digest: hashlib._Hash, part: str) -> None:
    """Add one part with its length, so that no two lists of parts look alike."""
    data = part.encode()
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)
