"""The rows of a run with their near-duplicates: counts by split, connected groups, and pairs to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from submillion.assess.data_quality.minhash import NearDuplicates
from submillion.data.corpus import Split
from submillion.run_format.analysis_data import DuplicatePair, DuplicateText
from submillion.wording import excerpt

EXCERPT = 300
"""Characters of a text."""


@dataclass(frozen=True)
class DuplicateIndex:
    """The N rows of a run, split after split, with their near-duplicates."""

    splits: list[Split]
    duplicates: NearDuplicates
    """Of all N texts."""
    classes: int

    @cached_property
    def split(self) -> np.ndarray:
        """Index of each row's split, int [N]."""
        return np.repeat(np.arange(len(self.splits)), [len(split) for split in self.splits])

    @cached_property
    def label(self) -> np.ndarray:
        """Class of each row, int [N]."""
        return np.array([label for split in self.splits for label in split.labels], dtype=np.int64)

    @cached_property
    def row(self) -> np.ndarray:
        """Position of each row in its split, from 0, int [N]."""
        return np.concatenate([np.arange(len(split)) for split in self.splits])

    @cached_property
    def _counts(self) -> Any:
        """Rows of each distinct text by split and class, sparse int [U, splits x classes]."""
        known = self.duplicates.distinct >= 0
        columns = (self.split * self.classes + self.label)[known]
        places = self.duplicates.distinct[known], columns
        shape = len(self.duplicates), len(self.splits) * self.classes
        return sparse.csr_array((np.ones(len(columns), dtype=np.int64), places), shape=shape)

    @cached_property
    def _near(self) -> Any:
        """Adjacency of distinct texts, each adjacent to itself, sparse [U, U]."""
        one, other = self.duplicates.pairs.T
        itself = np.arange(len(self.duplicates))
        places = np.concatenate([one, other, itself]), np.concatenate([other, one, itself])
        ones = np.ones(len(places[0]), dtype=np.int64)
        return sparse.csr_array((ones, places), shape=(len(itself), len(itself)))

    def count_in(self, split: int, same_label: bool = False, same_words: bool = False) -> np.ndarray:
        """Return the number of near-duplicates of each row in a split, itself excluded, int [N].

        Args:
            split: index of the split.
            same_label: count only those of the row's own class.
            same_words: count only those of similarity 1.
        """
        counts = np.zeros(len(self.split), dtype=np.int64)
        known = np.flatnonzero(self.duplicates.distinct >= 0)
        if not len(known):
            return counts
        of_split = self._counts[:, split * self.classes : (split + 1) * self.classes]
        reached = of_split if same_words else self._near @ of_split
        texts = self.duplicates.distinct[known]
        if same_label:
            counts[known] = np.asarray(reached[texts, self.label[known]]).ravel()
        else:
            counts[known] = np.asarray(reached.sum(axis=1)).ravel()[texts]
        counts -= (self.split == split) & (self.duplicates.distinct >= 0)
        return counts

    def group_sizes(self) -> np.ndarray:
        """Return the numbers of rows of the connected groups of near-duplicates, single rows excluded."""
        if not len(self.duplicates):
            return np.zeros(0, dtype=np.int64)
        group = connected_components(self._near, directed=False)[1]
        sizes = np.bincount(group[self.duplicates.distinct[self.duplicates.distinct >= 0]])
        return sizes[sizes > 1]


def contradictions(index: DuplicateIndex) -> Iterator[tuple[float, int, int]]:
    """Yield near-duplicates with different labels, most similar first: similarity and two rows.

    Of rows with the same words and label, only the first is used.
    """
    first: dict[int, dict[int, int]] = {}
    duplicates = index.duplicates
    for row, (text, label) in enumerate(zip(duplicates.distinct.tolist(), index.label.tolist(), strict=True)):
        if text >= 0:
            first.setdefault(text, {}).setdefault(label, row)
    for members in first.values():
        _, *others = list(members.values())
        yield from ((1.0, next(iter(members.values())), other) for other in others)
    for place in np.argsort(-duplicates.similarity, kind="stable").tolist():
        one, other = (first[text] for text in duplicates.pairs[place].tolist())
        for label, row in one.items():
            for other_label, other_row in other.items():
                if label != other_label:
                    yield float(duplicates.similarity[place]), row, other_row


def least_similar(index: DuplicateIndex, split: int, max_pairs: int) -> list[tuple[float, int, int]]:
    """Return the least similar near-duplicates, pairs of a split and train before others: similarity and two rows.

    Args:
        index: the rows.
        split: index of the split.
        max_pairs: maximum number of pairs.
    """
    one, other = index.duplicates.pairs.T
    train, reported = _firsts(index, index.split == 0), _firsts(index, index.split == split)
    anywhere = _firsts(index, np.ones(len(index.split), dtype=bool))
    ends = np.stack([anywhere[one], anywhere[other]])
    across = np.zeros(len(one), dtype=bool)
    for of_train, of_split in ((train[one], reported[other]), (train[other], reported[one])):
        met = ~across & (of_train >= 0) & (of_split >= 0)
        ends[:, met] = of_train[met], of_split[met]
        across |= met
    similarity = index.duplicates.similarity
    order = np.lexsort((other, one, similarity, ~across))[:max_pairs].tolist()
    return [(float(similarity[at]), int(ends[0, at]), int(ends[1, at])) for at in order]


def pair_with_texts(
    index: DuplicateIndex, pair: tuple[float, int, int], names: Sequence[str]
) -> DuplicatePair:
    """Return a pair of rows with its texts, the earlier row first.

    Args:
        index: the rows.
        pair: similarity and two rows.
        names: class names by index.
    """
    similarity, *ends = pair
    one, other = (_with_text(index, place, names) for place in sorted(ends))
    return {"similarity": similarity, "one": one, "other": other}


def _with_text(index: DuplicateIndex, place: int, names: Sequence[str]) -> DuplicateText:
    split, row = index.splits[index.split[place]], int(index.row[place])
    text = excerpt(split.texts[row], EXCERPT)
    return {
        "split": split.name,
        "row": row,
        "id": split.ids[row],
        "label": names[split.labels[row]],
        "text": text,
        "cut": text != split.texts[row],
    }


def _firsts(index: DuplicateIndex, among: np.ndarray) -> np.ndarray:
    """Return the first row of each distinct text among some rows, -1 if there is none, int [U]."""
    places = np.flatnonzero(among & (index.duplicates.distinct >= 0))
    texts, position = np.unique(index.duplicates.distinct[places], return_index=True)
    firsts = np.full(len(index.duplicates), -1)
    firsts[texts] = places[position]
    return firsts
