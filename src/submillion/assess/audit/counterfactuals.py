"""Counterfactual texts: a listed word swapped for one of another group, and, as the control, of its own group."""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from submillion.assess.audit.word_finder import Match, replace_matches
from submillion.assess.audit.wordlists import ListedWord, WordList
from submillion.assess.visible_span import Spans

MAX_ALTERED = 340
"""Altered texts of one level of one list: with three targets, 85 texts are moved and each of eight groups receives 31,
just enough to be judged. With the shipped lists the classifier reads fewer than 1,600 texts in all."""
MAX_TARGETS = 3
"""Other groups that one text is moved to; with more, there would be too few texts."""


@dataclass(frozen=True)
class Swap:
    """A text after a swap."""

    group: str
    """Group of the new word."""
    word: str
    text: str


@dataclass(frozen=True)
class Case:
    """One text of the split with its alterations."""

    row: int
    group: str
    """Group of the swapped word."""
    word: str
    control: Swap
    swaps: tuple[Swap, ...]
    """At most one per other group."""

    @property
    def altered(self) -> tuple[Swap, ...]:
        """All alterations of the text, the control first."""
        return (self.control, *self.swaps)


@dataclass(frozen=True)
class Axis:
    """The swaps along one level of one list."""

    words: WordList
    level: int
    carrying: dict[str, int]
    """Distinct texts by the group of the listed word that they mention most often in the part that is read."""
    cases: tuple[Case, ...]

    @property
    def name(self) -> str:
        """List and level, such as `given_names.gender`."""
        return f"{self.words.kind}.{self.words.levels[self.level]}"


@dataclass(frozen=True)
class _Texts:
    """The texts of a split with the words of one list."""

    texts: Sequence[str]
    matches: Sequence[Sequence[Match]]
    """The list's words in each text."""
    main: Mapping[int, ListedWord]
    """The word to swap, by row."""


def build_axes(
    words: WordList,
    texts: Sequence[str],
    matches: Sequence[Sequence[Match]],
    spans: Mapping[int, Spans],
    seed: int,
) -> list[Axis]:
    """Return the swaps for every level of a list; the same arguments give the same texts.

    The word that a text mentions most often is swapped, everywhere and in every form, for another one that it
    does not mention. Texts are drawn from the run's seed, taking the groups in turn, so that rare ones are
    judged at all. Equal texts count once.

    Args:
        words: the list.
        texts: of the split's rows.
        matches: the list's words in each of them.
        spans: the parts that the classifier reads of each text with matches, by row.
        seed: of the draws.
    """
    first: dict[str, int] = {}
    for row in spans:
        first.setdefault(texts[row], row)
    main = {
        row: word
        for row in sorted(first.values())
        if (word := _main_word(matches[row], spans[row])) is not None
    }
    return [_axis(words, level, _Texts(texts, matches, main), seed) for level in range(len(words.levels))]


def altered_texts(axes: Sequence[Axis], ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (id, text) of every altered text, in the order in which they are saved.

    Args:
        axes: the swaps.
        ids: the ids of the split's rows.
    """
    for axis in axes:
        for case in axis.cases:
            for swap in case.altered:
                origin = f"{axis.name} | {ids[case.row]} | {case.group} > {swap.group}"
                yield f"{origin} | {case.word} > {swap.word}", swap.text


def generator(seed: int, name: str) -> np.random.Generator:
    """Return a random generator per name, so that adding or removing a list does not change the others' draws."""
    return np.random.default_rng((seed, zlib.crc32(name.encode())))


def _axis(words: WordList, level: int, split: _Texts, seed: int) -> Axis:
    """Choose the texts of one level and alter them."""
    groups = words.groups(level)
    rng = generator(seed, f"{words.kind}.{words.levels[level]}")
    waiting: dict[str, list[int]] = {group: [] for group in groups}
    for row in rng.permutation(list(split.main)).tolist():
        waiting[split.main[row].place[level]].append(row)
    in_turn = [row for turn in itertools.zip_longest(*waiting.values()) for row in turn if row is not None]
    max_cases = MAX_ALTERED // (1 + min(MAX_TARGETS, len(groups) - 1))
    cases: list[Case] = []
    moved: Counter[str] = Counter()  # texts by the group that they were moved to
    for row in in_turn:
        if len(cases) == max_cases:
            break
        others = [groups[index] for index in rng.permutation(len(groups))]
        others.sort(key=lambda group: moved[group])
        if case := _case(words, level, split, row, others, rng):
            cases.append(case)
            moved.update(swap.group for swap in case.swaps)
    return Axis(words, level, {group: len(rows) for group, rows in waiting.items()}, tuple(cases))


def _case(
    words: WordList,
    level: int,
    split: _Texts,
    row: int,
    targets: Sequence[str],
    rng: np.random.Generator,
) -> Case | None:
    """Return the case of one text; None if its own group, or all others, have no word left for it."""
    word = split.main[row]
    own = [match for match in split.matches[row] if match.word == word]
    mentioned = {match.word for match in split.matches[row]}
    group = word.place[level]

    def moved(target: str) -> Swap | None:
        place = (*word.place[:level], target, *word.place[level + 1 :])
        left = [other for other in words.words if other.place == place and other not in mentioned]
        if not left:
            return None
        other = left[int(rng.integers(len(left)))]
        return Swap(target, other.name, replace_matches(split.texts[row], own, other))

    control = moved(group)
    swaps = [swap for target in targets if target != group and (swap := moved(target))][:MAX_TARGETS]
    return Case(row, group, word.name, control, tuple(swaps)) if control and swaps else None


def _main_word(matches: Sequence[Match], spans: Spans) -> ListedWord | None:
    """Return the word mentioned most often within some spans, the first of several; None if there is none."""
    counted = Counter(
        match.word
        for match in matches
        if any(start <= match.start and match.end <= end for start, end in spans)
    )
    return max(counted, key=lambda word: counted[word], default=None)
