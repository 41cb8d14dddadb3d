"""Texts that are nearly the same: word pairs, MinHash signatures to find candidates, exact similarity to decide."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SHINGLE = 2  # words that follow each other
THRESHOLD = 0.7
BANDS, BAND = 32, 4  # 32 bands of 4 hash values
MOST_CANDIDATES = (
    5_000_000  # pairs; a collection of one template filled in 100,000 times has a thousand times as many
)
AT_ONCE = 1 << 16  # pairs whose similarity is computed together
SEED = 1  # of the permutations: which texts are compared shall not depend on the run
# In scripts that are written without spaces (Thai to Burmese, Khmer, kana, Han) every letter counts as a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


@dataclass(frozen=True)
class Twins:
    """Which of N texts are nearly the same. Texts of the same shingles are one of U distinct texts."""

    distinct: np.ndarray
    """Number of each text's distinct text, int [N]; -1 for an empty one, which is no one's twin."""
    pairs: np.ndarray
    """Distinct texts that are near twins, the lower number first, ascending, int [P, 2]."""
    similarity: np.ndarray
    """Of each of these pairs, float64 [P]."""
    complete: bool
    """False where there were too many candidates and not all were compared; more pairs may exist."""

    def __len__(self) -> int:
        """Return how many distinct texts there are."""
        return int(self.distinct.max(initial=-1)) + 1


def find_twins(texts: Sequence[str], threshold: float = THRESHOLD, most: int = MOST_CANDIDATES) -> Twins:
    """Find the pairs of texts whose similarity is at least `threshold`.

    The similarity is the Jaccard index of the sets of shingles, the share of all pairs of neighbouring words
    of two texts that is in both (A. Broder, "On the resemblance and containment of documents", SEQUENCES 1997,
    section 2). It is computed for candidates: texts whose MinHash signatures agree in all values of a band (J.
    Leskovec, A. Rajaraman and J. Ullman, Mining of Massive Datasets, 3rd edition, section 3.4).

    Args:
        threshold: above 0.
        most: candidates that are compared. Beyond it each text of a crowded bucket is compared with some of
            the others, drawn anew for every band.
    """
    import numpy as np

    keys = [words_of(text) for text in texts]
    shingled = _shingles(keys)
    signatures = _signatures(shingled)
    numbers, first = _distinct(shingled, [not words for words in keys])
    matrix = shingled[first]
    candidates, complete = _candidates(signatures[first], most)
    similarity = _jaccard(matrix, candidates)
    near = similarity >= threshold
    return Twins(numbers, candidates[near].astype(np.int64), similarity[near], complete)


def words_of(text: str) -> list[str]:
    """Return the words that a text is compared by: runs of letters and digits, case and marks apart.

    Digits stay, because two reports that differ in their figures are two reports. Forms of one letter (full
    width, ligatures, composed accents) are one. A text without any letter or digit has its marks as one word.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(plain) or ["".join(plain.split())] * bool(plain.strip())


def shingles_of(text: str) -> set[tuple[str, ...]]:
    """Return the pairs of neighbouring words of a text; a text of one word is its own shingle."""
    words = words_of(text)
    return set(pairwise(words)) if len(words) >= SHINGLE else {tuple(words)} - {()}


def chance_found(similarity: float) -> float:
    """Return the probability that a pair of this similarity becomes a candidate, 1 - (1 - s^r)^b."""
    return float(1 - (1 - similarity**BAND) ** BANDS)


def _shingles(keys: Sequence[list[str]]) -> Any:
    """Return which text has which shingle, as `shingles_of` makes them: a sparse matrix of ones [N, S]."""
    import numpy as np
    from scipy import sparse

    numbers: dict[str, int] = {}
    flat: list[int] = []
    lengths = np.zeros(len(keys), dtype=np.int64)
    for row, words in enumerate(keys):
        # 0 stands for the word that a text of one word lacks.
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
    import numpy as np
    from datasketch import MinHash

    columns, ends = shingled.indices, shingled.indptr
    found = np.zeros((shingled.shape[0], BANDS * BAND), dtype=np.uint32)
    # The numbers of the shingles are hashed as they are: `affine32` mixes their bits itself.
    made = MinHash.generator(
        (columns[begin:end].tolist() for begin, end in pairwise(ends.tolist())),
        num_perm=BANDS * BAND,
        seed=SEED,
        scheme="affine32",
        hashfunc=int,
    )
    for row, sketch in enumerate(made):
        found[row] = sketch.hashvalues
    return found


def _distinct(shingled: Any, empty: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Number the texts of different shingles in the order of their first text.

    Returns:
        The number of each text, -1 for an empty one [N], and the first text of each number [U].
    """
    import numpy as np

    seen: dict[bytes, int] = {}
    numbers = np.full(len(empty), -1)
    first: list[int] = []
    for row, (begin, end) in enumerate(pairwise(shingled.indptr.tolist())):
        if not empty[row]:
            numbers[row] = seen.setdefault(shingled.indices[begin:end].tobytes(), len(seen))
            if numbers[row] == len(first):
                first.append(row)
    return numbers, np.array(first, dtype=np.int64)


def _candidates(signatures: np.ndarray, most: int) -> tuple[np.ndarray, bool]:
    """Return the pairs of texts that agree in a band, int [P, 2] ascending, and whether these are all.

    In each band texts are sorted by what they have there, those alike in an order drawn for the band. Pairs
    are then taken at distance 1, 2 and so on, in all bands alike, until there are none left or `most` is
    reached: of a crowded bucket each text meets about as many others as any other text does.
    """
    import numpy as np

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
    found: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    taken = 0
    for distance in range(1, size):
        met = [np.flatnonzero(key[distance:] == key[:-distance]) for key in keys]
        if not sum(map(len, met)):
            break
        if taken and taken + sum(map(len, met)) > most:
            return _unpacked(found, size), False
        for order, at in zip(orders, met, strict=True):
            one, other = order[at], order[at + distance]
            found.append(np.minimum(one, other) * size + np.maximum(one, other))
        taken += sum(map(len, met))
    return _unpacked(found, size), True


def _unpacked(codes: list[np.ndarray], size: int) -> np.ndarray:
    import numpy as np

    return np.stack(np.divmod(np.unique(np.concatenate(codes)), max(size, 1)), axis=1)


def _jaccard(shingled: Any, pairs: np.ndarray) -> np.ndarray:
    """Return the Jaccard index of pairs of texts, float64 [P]."""
    import numpy as np

    sizes = np.diff(shingled.indptr)
    found = np.zeros(len(pairs))
    for begin in range(0, len(pairs), AT_ONCE):
        one, other = pairs[begin : begin + AT_ONCE].T
        both = np.asarray(shingled[one].multiply(shingled[other]).sum(axis=1)).ravel()
        found[begin : begin + AT_ONCE] = both / (sizes[one] + sizes[other] - both)
    return found
