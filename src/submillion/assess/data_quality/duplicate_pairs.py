"""The rows of a run and their near twins: how many each has in which split, groups, and pairs to show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from submillion.assess.data_quality.minhash import Twins
from submillion.assess.errors.analysis import shortened

if TYPE_CHECKING:
    import numpy as np

    from submillion.data.corpus import Split

SHOWN = 300  # characters of a text


@dataclass(frozen=True)
class Rows:
    """All rows of a run, split after split, and their twins."""

    splits: list[Split]
    twins: Twins
    classes: int

    @cached_property
    def split(self) -> np.ndarray:
        """Number of each row's split, int [N]."""
        import numpy as np

        return np.repeat(np.arange(len(self.splits)), [len(split) for split in self.splits])

    @cached_property
    def label(self) -> np.ndarray:
        """Class of each row, int [N]."""
        import numpy as np

        return np.array([label for split in self.splits for label in split.labels], dtype=np.int64)

    @cached_property
    def row(self) -> np.ndarray:
        """Place of each row in its split, from 0, int [N]."""
        import numpy as np

        return np.concatenate([np.arange(len(split)) for split in self.splits])

    @cached_property
    def _counts(self) -> Any:
        """Rows of each distinct text by split and class, sparse int [U, splits x classes]."""
        import numpy as np
        from scipy import sparse

        known = self.twins.distinct >= 0
        columns = (self.split * self.classes + self.label)[known]
        places = self.twins.distinct[known], columns
        shape = len(self.twins), len(self.splits) * self.classes
        return sparse.csr_array((np.ones(len(columns), dtype=np.int64), places), shape=shape)

    @cached_property
    def _near(self) -> Any:
        """Which distinct texts are twins, each its own, sparse [U, U]."""
        import numpy as np
        from scipy import sparse

        one, other = self.twins.pairs.T
        itself = np.arange(len(self.twins))
        places = np.concatenate([one, other, itself]), np.concatenate([other, one, itself])
        ones = np.ones(len(places[0]), dtype=np.int64)
        return sparse.csr_array((ones, places), shape=(len(itself), len(itself)))

    def twins_in(self, number: int, same_label: bool = False, same_words: bool = False) -> np.ndarray:
        """Return how many twins each row has in a split, itself left out, int [N].

        Args:
            number: of the split.
            same_label: count those of the row's own class alone.
            same_words: count those of similarity 1 alone.
        """
        import numpy as np

        found = np.zeros(len(self.split), dtype=np.int64)
        known = np.flatnonzero(self.twins.distinct >= 0)
        if not len(known):
            return found
        of_split = self._counts[:, number * self.classes : (number + 1) * self.classes]
        reached = of_split if same_words else self._near @ of_split
        texts = self.twins.distinct[known]
        if same_label:
            found[known] = np.asarray(reached[texts, self.label[known]]).ravel()
        else:
            found[known] = np.asarray(reached.sum(axis=1)).ravel()[texts]
        return found - ((self.split == number) & (self.twins.distinct >= 0))

    def groups(self) -> np.ndarray:
        """Return the sizes of the groups of rows that twins hold together, those of one row left out."""
        import numpy as np
        from scipy.sparse.csgraph import connected_components

        if not len(self.twins):
            return np.zeros(0, dtype=np.int64)
        group = connected_components(self._near, directed=False)[1]
        sizes = np.bincount(group[self.twins.distinct[self.twins.distinct >= 0]])
        return sizes[sizes > 1]


def contradictions(rows: Rows) -> Iterator[tuple[float, int, int]]:
    """Yield twins of different labels, most similar first: similarity and two rows.

    Of rows with the same words and label only the first is shown.
    """
    import numpy as np

    first: dict[int, dict[int, int]] = {}
    for row, (text, label) in enumerate(zip(rows.twins.distinct.tolist(), rows.label.tolist(), strict=True)):
        if text >= 0:
            first.setdefault(text, {}).setdefault(label, row)
    for members in first.values():
        _, *others = list(members.values())
        yield from ((1.0, next(iter(members.values())), other) for other in others)
    for place in np.argsort(-rows.twins.similarity, kind="stable").tolist():
        one, other = (first[text] for text in rows.twins.pairs[place].tolist())
        for label, row in one.items():
            for other_label, other_row in other.items():
                if label != other_label:
                    yield float(rows.twins.similarity[place]), row, other_row


def closest_calls(rows: Rows, number: int, most: int) -> list[tuple[float, int, int]]:
    """Return the least similar twins, of a split and train before others: similarity and two rows.

    Args:
        number: of the split.
        most: pairs that are returned.
    """
    import numpy as np

    one, other = rows.twins.pairs.T
    train, reported = _firsts(rows, rows.split == 0), _firsts(rows, rows.split == number)
    anywhere = _firsts(rows, np.ones(len(rows.split), dtype=bool))
    ends = np.stack([anywhere[one], anywhere[other]])
    across = np.zeros(len(one), dtype=bool)
    for of_train, of_split in ((train[one], reported[other]), (train[other], reported[one])):
        met = ~across & (of_train >= 0) & (of_split >= 0)
        ends[:, met] = of_train[met], of_split[met]
        across |= met
    order = np.lexsort((other, one, rows.twins.similarity, ~across))[:most].tolist()
    return [(float(rows.twins.similarity[at]), int(ends[0, at]), int(ends[1, at])) for at in order]


def told(rows: Rows, pair: tuple[float, int, int], names: list[str]) -> dict[str, Any]:
    """Return a pair of rows with its texts, as `duplicates.analyse` documents it, the earlier row first."""
    similarity, *ends = pair
    found: dict[str, Any] = {"similarity": similarity}
    for side, place in zip(("one", "other"), sorted(ends), strict=True):
        split, row = rows.splits[rows.split[place]], int(rows.row[place])
        text = shortened(split.texts[row], SHOWN)
        found[side] = {
            "split": split.name,
            "row": row,
            "id": split.ids[row],
            "label": names[split.labels[row]],
            "text": text,
            "cut": text != split.texts[row],
        }
    return found


def _firsts(rows: Rows, among: np.ndarray) -> np.ndarray:
    """Return the first row of each distinct text among some rows, -1 where there is none, int [U]."""
    import numpy as np

    places = np.flatnonzero(among & (rows.twins.distinct >= 0))
    texts, index = np.unique(rows.twins.distinct[places], return_index=True)
    found = np.full(len(rows.twins), -1)
    found[texts] = places[index]
    return found
