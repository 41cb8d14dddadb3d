"""Token ids on disk, named after everything that decides them, checked when read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from submillion import notices
from submillion.errors import SubmillionError
from submillion.rundir import atomic_file

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FORMAT = "submillion tokens 1"
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def key(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int) -> str:
    """Return the sha256 over texts, tokenizer, version of the tokenizing library and length."""
    import tokenizers

    digest = hashlib.sha256()
    backend = tokenizer.backend_tokenizer.to_str()
    for part in (FORMAT, tokenizers.__version__, backend, tokenizer.truncation_side, str(max_length)):
        _add(digest, part)
    for text in texts:
        _add(digest, text)
    return digest.hexdigest()


def file_of(key: str, cache_dir: Path | None) -> Path:
    """Return the cache file of a key, in `cache_dir` or in the user's cache."""
    if cache_dir is None:
        from submillion.sources.store import cache_root

        cache_dir = cache_root() / "tokens"
    return cache_dir / f"{key[:32]}.npz"


def read(file: Path, rows: int, max_length: int) -> Arrays | None:
    """Return ids, offsets and full lengths; None where there is no file or, after a notice, a broken one."""
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = (stored["ids"], stored["offsets"], stored["full_lengths"])
            if str(stored["sha256"]) != _sha256(arrays):
                raise ValueError("its hash is not the one it was written with")
        _check(arrays, rows, max_length)
    except Exception as error:
        # zip, zlib and numpy each have their own errors for a damaged file; the answer to all is the same.
        notices.say(
            "token_cache", f"the cached tokens {file.name} are damaged ({error}); they are made again."
        )
        return None
    return arrays


def write(file: Path, ids: np.ndarray, offsets: np.ndarray, full_lengths: np.ndarray) -> None:
    """Keep the arrays, whole or not at all; a cache that cannot be written is said, and costs time only."""
    arrays = (ids, offsets, full_lengths)
    try:
        with atomic_file(file) as temporary, temporary.open("wb") as handle:
            np.savez(handle, ids=ids, offsets=offsets, full_lengths=full_lengths, sha256=_sha256(arrays))
    except SubmillionError as error:
        notices.say("token_cache", f"the tokens are not kept for the next run: {error.__cause__}.")


def _check(arrays: Arrays, rows: int, max_length: int) -> None:
    ids, offsets, full_lengths = arrays
    lengths = np.diff(offsets)
    if len(lengths) != rows or len(full_lengths) != rows or offsets[0] != 0 or offsets[-1] != len(ids):
        raise ValueError("its rows are not those of the texts")
    if rows and (lengths.min() < 0 or lengths.max() > max_length or (lengths > full_lengths).any()):
        raise ValueError("its lengths make no sense")


def _sha256(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, part: str) -> None:
    """Add one part with its length, so that no two lists of parts look alike."""
    data = part.encode()
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)
