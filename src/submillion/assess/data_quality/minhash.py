"""Near-duplicate texts: MinHash signatures find candidates, the exact Jaccard index of their word pairs decides."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from datasketch import MinHash
from scipy import sparse

SHINGLE = 2
"""Consecutive words per shingle."""
THRESHOLD = 0.7
BANDS, BAND = 32, 4
"""32 bands of 4 hash values."""
MAX_CANDIDATES = 5_000_000
"""Pairs that are compared; 100,000 texts from one template have a thousand times as many."""
BLOCK = 1 << 16
"""Pairs whose similarity is computed together."""
SEED = 1
"""Of the permutations: which texts are compared must not depend on the run."""
# In scripts without spaces (Thai to Burmese, Khmer, kana, Han) every letter counts as a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


@dataclass(frozen=True)
class NearDuplicates:
    """The near-duplicates among N texts. Texts with the same shingles count as one of U distinct texts."""

    distinct: np.ndarray
    """Index of each text's distinct text, int [N]; -1 for an empty text, which has no duplicates."""
    pairs: np.ndarray
    """Distinct texts that are near-duplicates, the lower index first, ascending, int [P, 2]."""
    similarity: np.ndarray
    """Jaccard index of each of these pairs, float64 [P]."""
    complete: bool
    """False if there were too many candidates to compare all; more pairs may exist."""

    def __len__(self) -> int:
        """Return the number of distinct texts."""
        return int(self.distinct.max(initial=-1)) + 1


def find_near_duplicates(
    texts: Sequence[str], threshold: float = THRESHOLD, max_candidates: int = MAX_CANDIDATES
) -> NearDuplicates:
    """Find the pairs of texts whose similarity is at least `threshold`.

    The similarity is the Jaccard index of the sets of shingles: of all pairs of consecutive words of two texts,
    the share that both contain (A. Broder, "On the resemblance and containment of documents", SEQUENCES 1997,
    section 2). It is computed for candidates: texts whose MinHash signatures agree in all values of a band (J.
    Leskovec, A. Rajaraman and J. Ullman, Mining of Massive Datasets, 3rd edition, section 3.4).

    Args:
        texts: N texts.
        threshold: above 0.
        max_candidates: pairs that are compared. If there are more, each text of a crowded bucket is compared with some
            of the others, drawn anew for every band.
    """
    keys = [normalised_words(text) for text in texts]
    shingled = _shingles(keys)
    signatures = _signatures(shingled)
    numbers, first = _distinct(shingled, [not words for words in keys])
    matrix = shingled[first]
    candidates, complete = _candidates(signatures[first], max_candidates)
    similarity = _jaccard(matrix, candidates)
    near = similarity >= threshold
    return NearDuplicates(numbers, candidates[near].astype(np.int64), similarity[near], complete)


def normalised_words(text: str) -> list[str]:
    """Return the words that a text is compared by: runs of letters and digits, ignoring case and punctuation.

    Digits are kept, because two reports that differ in their figures are different reports. Forms of one letter (full
    width, ligatures, composed accents) are unified (NFKC). The punctuation of a text without letters or digits is one
    word.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(plain) or ["".join(plain.split())] * bool(plain.strip())


def shingles_of(text: str) -> set[tuple[str, ...]]:
    """Return the pairs of consecutive words of a text; a text of one word is its own shingle."""
    words = normalised_words(text)
    return set(pairwise(words)) if len(words) >= SHINGLE else {tuple(words)} - {()}


def detection_probability(similarity: float) -> float:
    """Return the probability that a pair of this similarity becomes a candidate, 1 - (1 - s^r)^b."""
    return float(1 - (1 - similarity**BAND) ** BANDS)


def _shingles(keys: Sequence[list[str]]) -> Any:
    """Return the shingles of each text, as in `shingles_of`, as a sparse matrix of ones [N, S]."""
    numbers: dict[str, int] = {}
    flat: list[int] = []
    lengths = np.zeros(len(keys), dtype=np.int64)
    for row, words in enumerate(keys):
        # 0 pads a text of one word.
        padded = [numbers.setdefault(word, len(numbers) + 1) for word in words] + [0] * (SHINGLE - len(words))
        flat += padded
        lengths[row] = len(padded)
    words_, text = np.array(flat, dtype=np.int64), np.repeat(np.arange(len(keys)), lengths)
    follows = np.flatnonzero(text[:-1] == text[1:])
    codes = words_[follows] * (len(numbers) + 1) + words_[follows + 1]
    values, columns = np.unique(codes, return_inverse=True)
    matrix = sparse.csr_array(
        (np.ones(len(follows), dtype=np.int32), (text[follows], columns)), shape=(len(keys), len(values))
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _signatures(shingled: Any) -> np.ndarray:
    """Return the MinHash signature of each text, uint32 [N, bands x values of a band]."""
    columns, ends = shingled.indices, shingled.indptr
    signatures = np.zeros((shingled.shape[0], BANDS * BAND), dtype=np.uint32)
    # The numbers of the shingles are hashed as they are: `affine32` mixes their bits itself.
    made = MinHash.generator(
        (columns[start:end].tolist() for start, end in pairwise(ends.tolist())),
        num_perm=BANDS * BAND,
        seed=SEED,
        scheme="affine32",
        hashfunc=int,
    )
    for row, sketch in enumerate(made):
        signatures[row] = sketch.hashvalues
    return signatures


def _distinct(shingled: Any, empty: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct texts in the order of their first occurrence.

    Returns:
        The index of each text's distinct text, -1 for an empty one [N], and the first text of each [U].
    """
    seen: dict[bytes, int] = {}
    numbers = np.full(len(empty), -1)
    first: list[int] = []
    for row, (start, end) in enumerate(pairwise(shingled.indptr.tolist())):
        if not empty[row]:
            numbers[row] = seen.setdefault(shingled.indices[start:end].tobytes(), len(seen))
            if numbers[row] == len(first):
                first.append(row)
    return numbers, np.array(first, dtype=np.int64)


def _candidates(signatures: np.ndarray, max_candidates: int) -> tuple[np.ndarray, bool]:
    """Return the pairs of texts that agree in a band, int [P, 2] ascending, and whether these are all.

    In each band, texts are sorted by their hash values there, equal ones in an order drawn for the band. Pairs
    are then taken at distance 1, 2 and so on in all bands, until none are left or `max_candidates` is reached, so
    that all texts of a crowded bucket are compared with about equally many others.
    """
    size = len(signatures)
    rng = np.random.default_rng(SEED)
    orders, keys = [], []
    for band in range(BANDS):
        values = np.ascontiguousarray(signatures[:, band * BAND : (band + 1) * BAND])
        key = np.unique(
            values.view(np.dtype((np.void, values.itemsize * BAND))).ravel(), return_inverse=True
        )[1]
        shuffled = rng.permutation(size)
        order = shuffled[np.argsort(key[shuffled], kind="stable")]
        orders.append(order)
        keys.append(key[order])
    codes: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    taken = 0
    for distance in range(1, size):
        met = [np.flatnonzero(key[distance:] == key[:-distance]) for key in keys]
        if not sum(map(len, met)):
            break
        if taken and taken + sum(map(len, met)) > max_candidates:
            return _unpacked(codes, size), False
        for order, at in zip(orders, met, strict=True):
            one, other = order[at], order[at + distance]
            codes.append(np.minimum(one, other) * size + np.maximum(one, other))
        taken += sum(map(len, met))
    return _unpacked(codes, size), True


def _unpacked(codes: list[np.ndarray], size: int) -> np.ndarray:
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), max(size, 1)), axis=1)


def _jaccard(shingled: Any, pairs: np.ndarray) -> np.ndarray:
    """Return the Jaccard index of pairs of texts, float64 [P]."""
    sizes = np.diff(shingled.indptr)
    similarity = np.zeros(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        one, other = pairs[start : start + BLOCK].T
        both = np.asarray(shingled[one].multiply(shingled[other]).sum(axis=1)).ravel()
        similarity[start : start + BLOCK] = both / (sizes[one] + sizes[other] - both)
    return similarity
