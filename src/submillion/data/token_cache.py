"""Token ids on disk, named after everything that decides them, checked when read, and mapped, not loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from submillion import notices
from submillion.atomic import atomic_dir, forget_abandoned
from submillion.errors import SubmillionError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FORMAT = "submillion tokens 2"
IDS, LENGTHS = "ids.int32", "lengths.npz"
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of N texts or of some of them: ids end to end, int32; tokens per text, int64; before it was cut, int32."""


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


def folder_of(key: str, cache_dir: Path | None) -> Path:
    """Return the folder of a key, in `cache_dir` or in the user's cache."""
    if cache_dir is None:
        from submillion.sources.store import cache_root

        cache_dir = cache_root() / "tokens"
    return cache_dir / key[:32]


def read(folder: Path, rows: int, max_length: int) -> Arrays | None:
    """Return what `write` was given, ids as a mapped file; None if absent or, after a notice, broken."""
    if not folder.is_dir():
        return None
    try:
        with (folder / IDS).open("rb") as file:
            digest = hashlib.file_digest(
                file, "sha256"
            )  # not of the map, all of which would be in memory then
        ids = _mapped(folder / IDS)
        with np.load(folder / LENGTHS, allow_pickle=False) as stored:
            lengths, full_lengths = stored["lengths"], stored["full_lengths"]
            if str(stored["sha256"]) != _sha256(digest.digest(), lengths, full_lengths):
                raise ValueError("its hash is not the one it was written with")
        _check(ids, lengths, full_lengths, rows, max_length)
    except Exception as error:
        # zip, zlib and numpy each have their own errors for a damaged file; the answer to all is the same.
        notices.emit(
            "token_cache", f"the cached tokens {folder.name} are damaged ({error}); they are made again."
        )
        return None
    return ids, lengths, full_lengths


def write(folder: Path, chunks: Iterable[Arrays]) -> Arrays | None:
    """Keep tokens as they come, whole or not at all; returns them as `read` does.

    A cache that cannot be written is said, and costs time and memory only; None is returned.
    """
    found: tuple[np.ndarray, np.ndarray]

    def fill(place: Path) -> None:
        nonlocal found
        digest = hashlib.sha256()
        lengths, full_lengths = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int32)]
        with (place / IDS).open("wb") as file:
            for ids, kept, full in chunks:
                digest.update(ids.data)
                file.write(ids.data)
                lengths.append(kept)
                full_lengths.append(full)
        found = np.concatenate(lengths), np.concatenate(full_lengths)
        np.savez(
            place / LENGTHS, lengths=found[0], full_lengths=found[1], sha256=_sha256(digest.digest(), *found)
        )

    forget_abandoned(folder.parent, "[0-9a-f]" * len(folder.name))
    try:
        atomic_dir(folder, fill)
    except SubmillionError as error:
        notices.emit("token_cache", f"the tokens are not kept for the next run: {error.__cause__}.")
        return None
    return (_mapped(folder / IDS), *found)


def _mapped(file: Path) -> np.ndarray:
    if not file.stat().st_size:  # an empty file cannot be mapped
        return np.empty(0, dtype=np.int32)
    return np.asarray(np.memmap(file, dtype=np.int32, mode="r"))


def _check(
    ids: np.ndarray, lengths: np.ndarray, full_lengths: np.ndarray, rows: int, max_length: int
) -> None:
    if len(lengths) != rows or len(full_lengths) != rows or lengths.sum() != len(ids):
        raise ValueError("its rows are not those of the texts")
    if rows and (lengths.min() < 0 or lengths.max() > max_length or (lengths > full_lengths).any()):
        raise ValueError("its lengths make no sense")


def _sha256(ids: bytes, *lengths: np.ndarray) -> str:
    """Return one hash over the ids' own and what tells the texts apart."""
    digest = hashlib.sha256(ids)
    for array in lengths:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, part: str) -> None:
    """Add one part with its length, so that no two lists of parts look alike."""
    data = part.encode()
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)
