"""Counterfactual texts: a listed word exchanged for one of another group, and, as the control, of its own."""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from submillion.assess.audit.word_finder import Match, exchanged
from submillion.assess.audit.wordlists import Entry, WordList

if TYPE_CHECKING:
    import numpy as np

# Altered texts of one level of one list: with three targets, 85 texts are moved and each of eight groups receives
# 31, just enough to be judged. With the shipped lists the classifier reads fewer than 1,600 texts in all.
MOST_ALTERED = 340
MOST_TARGETS = 3  # other groups that one text is moved to; with more, there would be too few texts


@dataclass(frozen=True)
class Swap:
    """A text after an exchange."""

    group: str
    """The group of the new word."""
    word: str
    text: str


@dataclass(frozen=True)
class Case:
    """One text of the split with its alterations."""

    row: int
    group: str
    """The group of the word that was exchanged."""
    word: str
    control: Swap
    swaps: tuple[Swap, ...]
    """At most one per other group."""

    @property
    def altered(self) -> tuple[Swap, ...]:
        """All that the classifier has to read for it, the control first."""
        return (self.control, *self.swaps)


@dataclass(frozen=True)
class Axis:
    """The exchanges along one level of one list."""

    words: WordList
    level: int
    carrying: dict[str, int]
    """Distinct texts by the group of the listed word that they carry most often, as far as they are read."""
    cases: tuple[Case, ...]

    @property
    def name(self) -> str:
        """List and level, such as `given_names.gender`."""
        return f"{self.words.kind}.{self.words.levels[self.level]}"


def build_axes(
    words: WordList,
    texts: Sequence[str],
    matches: Sequence[Sequence[Match]],
    spans: Mapping[int, tuple[int, int]],
    seed: int,
) -> list[Axis]:
    """Return the exchanges for every level of a list; the same arguments give the same texts.

    A text has the entry exchanged that it names most often, everywhere and in every form, for another that it
    does not name. Texts are drawn from the run's seed, the groups taken in turn, so that rare ones are judged
    at all. Equal texts count once.

    Args:
        texts: of the split's rows.
        matches: the list's words in each of them.
        spans: what the classifier reads of each text that has matches, by row.
    """
    first: dict[str, int] = {}
    for row in spans:
        first.setdefault(texts[row], row)
    main = {
        row: entry
        for row in sorted(first.values())
        if (entry := _main_entry(matches[row], *spans[row])) is not None
    }
    return [_axis(words, level, texts, matches, main, seed) for level in range(len(words.levels))]


def altered_texts(axes: Sequence[Axis], ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (id, text) of every altered text, in the order in which they are saved.

    Args:
        ids: the ids of the split's rows.
    """
    for axis in axes:
        for case in axis.cases:
            for swap in case.altered:
                origin = f"{axis.name} | {ids[case.row]} | {case.group} > {swap.group}"
                yield f"{origin} | {case.word} > {swap.word}", swap.text


def _axis(
    words: WordList,
    level: int,
    texts: Sequence[str],
    matches: Sequence[Sequence[Match]],
    main: Mapping[int, Entry],
    seed: int,
) -> Axis:
    """Choose the texts of one level and alter them."""
    groups = words.groups(level)
    rng = generator(seed, f"{words.kind}.{words.levels[level]}")
    waiting: dict[str, list[int]] = {group: [] for group in groups}
    for row in rng.permutation(list(main)).tolist():
        waiting[main[row].place[level]].append(row)
    in_turn = [row for turn in itertools.zip_longest(*waiting.values()) for row in turn if row is not None]
    most = MOST_ALTERED // (1 + min(MOST_TARGETS, len(groups) - 1))
    cases: list[Case] = []
    moved: Counter[str] = Counter()  # texts by the group that they were moved to
    for row in in_turn:
        if len(cases) == most:
            break
        others = [groups[index] for index in rng.permutation(len(groups))]
        others.sort(key=lambda group: moved[group])
        if case := _case(words, level, row, texts[row], matches[row], main[row], others, rng):
            cases.append(case)
            moved.update(swap.group for swap in case.swaps)
    return Axis(words, level, {group: len(rows) for group, rows in waiting.items()}, tuple(cases))


def _case(
    words: WordList,
    level: int,
    row: int,
    text: str,
    matches: Sequence[Match],
    entry: Entry,
    targets: Sequence[str],
    rng: np.random.Generator,
) -> Case | None:
    """Return the case of one text; None where its own group or all others have no word left for it."""
    own, named = [match for match in matches if match.entry == entry], {match.entry for match in matches}
    group = entry.place[level]

    def moved(target: str) -> Swap | None:
        place = (*entry.place[:level], target, *entry.place[level + 1 :])
        left = [other for other in words.entries if other.place == place and other not in named]
        if not left:
            return None
        other = left[int(rng.integers(len(left)))]
        return Swap(target, other.name, exchanged(text, own, other))

    control = moved(group)
    swaps = [swap for target in targets if target != group and (swap := moved(target))][:MOST_TARGETS]
    return Case(row, group, entry.name, control, tuple(swaps)) if control and swaps else None


def _main_entry(matches: Sequence[Match], start: int, end: int) -> Entry | None:
    """Return the entry named most often within a span, the first of several; None where there is none."""
    counted = Counter(match.entry for match in matches if match.start >= start and match.end <= end)
    return max(counted, key=lambda entry: counted[entry], default=None)


def generator(seed: int, name: str) -> np.random.Generator:
    """Return random numbers of their own for every name, so that a list more or less moves no other's."""
    import numpy as np

    return np.random.default_rng((seed, zlib.crc32(name.encode())))
