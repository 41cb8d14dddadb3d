"""Stratified, seeded splits that are the same on every machine and for every order of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def stratified_split(
    labels: Sequence[int],
    size: float,
    seed: int,
    texts: Sequence[str] | None = None,
    held_out: str = "validation",
) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into a training and a held-out part with the same share of every class.

    Within a class, rows are ordered by sha256 of (name of the part, seed, text), and the first ones are held out.
    Unlike a random generator, this does not change between releases, and it depends neither on the order of rows nor on
    the machine.
    Rows whose texts are equal but for white space stay together, so that no held-out text is trained on; texts with
    contradictory labels stay in training, since they cannot be scored.

    A class's share is `size` of its rows by largest remainder; a class of two rows or more has at least one row in each
    part. It may have fewer held out if its rows are copies of few texts.

    Args:
        labels: class of each row [N].
        size: share held out, between 0 and 1.
        seed: the recipe's seed.
        texts: text of each row [N]; None treats each row as a distinct text.
        held_out: name of the part, validation or test, whose rows are drawn independently of the other's.

    Returns:
        Row indices of the training and of the held-out part, each ascending, int64.
    """
    counts = _counts(labels)
    total = int(size * len(labels) + 0.5)
    quotas = {
        label: min(max(quota, 1), counts[label] - 1)
        for label, quota in largest_remainder(counts, total).items()
    }
    drawn = _draw(labels, quotas, f"{held_out} {seed}", texts)
    return np.flatnonzero(~drawn), np.flatnonzero(drawn)


def stratified_sample(
    labels: Sequence[int], rows: int, seed: int, texts: Sequence[str] | None = None
) -> np.ndarray:
    """Return the indices, ascending, of at most `rows` rows with the same share of every class.

    Copies of a text are drawn together, as in `stratified_split`, and ordered the same way.

    Args:
        labels: class of each row [N].
        rows: maximum number of rows.
        seed: the recipe's seed.
        texts: text of each row [N]; None treats each row as a distinct text.
    """
    if rows >= len(labels):
        return np.arange(len(labels))
    counts = _counts(labels)
    quotas = largest_remainder(counts, rows)
    for label in quotas:
        # A class without a row takes one from the largest class, as long as that has more than one.
        largest = max(quotas, key=lambda name: quotas[name])
        if quotas[label] == 0 and quotas[largest] > 1:
            quotas[label], quotas[largest] = 1, quotas[largest] - 1
    return np.flatnonzero(_draw(labels, quotas, f"limit {seed}", texts))


def largest_remainder(counts: Mapping[int, int], total: int) -> dict[int, int]:
    """Divide `total` among classes in proportion to their counts (Hamilton's method).

    Remainders are compared as integers; ties go to the larger class, then to the earlier one.

    Args:
        counts: rows by class.
        total: rows to divide.
    """
    everything = sum(counts.values())
    quotas = {label: total * count // everything for label, count in counts.items()}
    by_remainder = sorted(counts, key=lambda label: (-(total * counts[label] % everything), -counts[label]))
    for label in by_remainder[: total - sum(quotas.values())]:
        quotas[label] += 1
    return quotas


def squeezed(text: str) -> str:
    """Return a text with every run of white space as one space; two texts that are then equal count as one."""
    return " ".join(text.split())


def text_keys(salt: str, texts: Iterable[str]) -> np.ndarray:
    """Return the sha256 of salt and text for each text, bytes of length 32 [N]: their order is a random one."""
    hashes = bytearray()  # instead of the texts, which may not fit in memory
    for text in texts:
        hashes += hashlib.sha256(f"{salt}\n{text}".encode()).digest()
    return np.frombuffer(hashes, dtype="V32")


def alike(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Group rows by their keys, in the order of the keys, and within a group in that of the rows.

    Args:
        keys: [N], of any kind that can be sorted.

    Returns:
        Row indices [N], and where in them each of the G groups begins and ends, each [G].
    """
    order = np.argsort(keys, kind="stable")
    first = np.ones(len(order), dtype=bool)
    first[1:] = keys[order[1:]] != keys[order[:-1]]
    begins = np.flatnonzero(first)
    return order, begins, np.append(begins[1:], len(order))[: len(begins)]


def _draw(
    labels: Sequence[int], quotas: Mapping[int, int], salt: str, texts: Sequence[str] | None
) -> np.ndarray:
    """Return a mask of the drawn rows: per class, in hash order, the groups of copies that fit its quota."""
    names = map(str, range(len(labels))) if texts is None else map(squeezed, texts)
    order, begins, ends = alike(text_keys(salt, names))
    left = dict(quotas)
    drawn = np.zeros(len(labels), dtype=bool)
    for begin, end in zip(begins, ends, strict=True):
        rows = order[begin:end]
        label = labels[rows[0]]
        if len(rows) <= left[label] and all(labels[row] == label for row in rows):
            left[label] -= len(rows)
            drawn[rows] = True
    return drawn


def _counts(labels: Sequence[int]) -> dict[int, int]:
    """Return rows per class, classes in sorted order, so that ties do not depend on the order of rows."""
    counts: dict[int, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    return {label: counts[label] for label in sorted(counts)}
