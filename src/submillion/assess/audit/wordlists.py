"""The word lists and out-of-domain texts of an audit: the shipped ones, overridden by a run's `audit.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submillion.errors import BadInput, Problem, did_you_mean
from submillion.files import strict_yaml
from submillion.rundir import RunDir

SHIPPED = Path(__file__).parent / "words"
OWN = "audit.yaml"
"""The user's lists in a run directory, which override the shipped ones."""
SECTIONS = ("words", "outside", "foreign")
MAX_LEVELS = 2
_REQUIRED, _OPTIONAL = ("title", "source", "levels", "groups"), ("forms", "capital_only")


@dataclass(frozen=True)
class ListedWord:
    """One word of a list: its groups and its spellings."""

    place: tuple[str, ...]
    """Its group on each level of the list, such as (Arab world, women)."""
    forms: tuple[tuple[str, ...], ...]
    """Spellings of each form, the preferred one first: ((Russia, Soviet Union), (Russian, Soviet))."""

    @property
    def name(self) -> str:
        """The first spelling of its first form."""
        return self.forms[0][0]


@dataclass(frozen=True)
class WordList:
    """Words of one kind, grouped on one or two levels."""

    kind: str
    title: str
    source: str
    """Source of the words, where they can be checked."""
    levels: tuple[str, ...]
    forms: tuple[str, ...]
    """Names of the forms of a word, such as country and nationality."""
    capital_only: frozenset[str]
    """Spellings that mean something else in lower case."""
    words: tuple[ListedWord, ...]

    def groups(self, level: int) -> list[str]:
        """Return the names of the groups on one level, in the order of the file."""
        return list(dict.fromkeys(word.place[level] for word in self.words))


@dataclass(frozen=True)
class AuditWords:
    """The word lists and texts of an audit."""

    lists: tuple[WordList, ...]
    outside: dict[str, tuple[str, ...]]
    """English texts from outside the domain, by kind."""
    foreign: dict[str, tuple[str, ...]]
    """Texts by their language."""
    values: dict[str, Any]
    """The same as in the files; `parse` reads it again."""


def read_words(run: RunDir) -> tuple[AuditWords, list[str]]:
    """Return the shipped lists, overridden by the run's own `audit.yaml`, if any.

    Mappings are merged key by key, any other value replaces the shipped one, null removes it.

    Returns:
        The lists, and the names of the word lists that `audit.yaml` changes.

    Raises:
        BadInput: `audit.yaml` cannot be read or has another shape; all problems at once.
    """
    values: dict[str, Any] = {}
    for shipped in sorted(SHIPPED.glob("*.yaml")):
        values = _merged(values, _read(shipped))
    file = run.path / OWN
    own = _read(file) if file.is_file() else {}
    words = parse(_merged(values, own), str(file))
    named = own.get("words") or {}
    return words, [listed.kind for listed in words.lists if listed.kind in named]


def parse(values: Mapping[str, Any], where: str) -> AuditWords:
    """Return the lists in yaml or JSON values.

    Args:
        values: as in the files.
        where: the file that messages name.

    Raises:
        BadInput: the values have another shape; all problems at once.
    """
    parser = _Parser(where)
    parser.known_keys("", values, SECTIONS)
    lists = [
        parser.word_list(kind, raw) for kind, raw in parser.mapping("words", values.get("words")).items()
    ]
    outside, foreign = (parser.texts(section, values.get(section)) for section in ("outside", "foreign"))
    if parser.problems:
        raise BadInput(parser.problems)
    return AuditWords(tuple(listed for listed in lists if listed), outside, foreign, dict(values))


def _read(file: Path) -> dict[str, Any]:
    values = strict_yaml.read(file, "word lists in YAML")
    if not isinstance(values, dict):
        expected = f"word lists in yaml under {', '.join(SECTIONS)}"
        raise BadInput(Problem(str(file), expected, type(values).__name__))
    return values


def _merged(values: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in other.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged


class _Parser:
    """Turns the yaml's values into lists and collects every problem."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def wrong(self, where: str, expected: str, found: Any, remedy: str = "") -> None:
        self.problems.append(Problem(f"{self.file}: {where}", expected, repr(found), remedy))

    def known_keys(self, where: str, raw: Mapping[Any, Any], known: Sequence[str]) -> None:
        for key in raw:
            if key not in known:
                remedy = did_you_mean(str(key), known) or f"Known here: {', '.join(known)}."
                self.wrong(f"{where}{key}", "a known key", key, remedy)

    def mapping(self, where: str, raw: Any) -> dict[str, Any]:
        if raw is None:  # removed, or emptied
            return {}
        if not isinstance(raw, dict) or not all(isinstance(key, str) and key for key in raw):
            self.wrong(where, "a mapping of names (put quotes around what yaml takes for another)", raw)
            return {}
        return raw

    def strings(self, where: str, raw: Any) -> tuple[str, ...]:
        if isinstance(raw, list) and all(isinstance(item, str) and item.strip() for item in raw):
            return tuple(raw)
        self.wrong(where, "a list of words or texts (put quotes around what yaml takes for another)", raw)
        return ()

    def texts(self, section: str, raw: Any) -> dict[str, tuple[str, ...]]:
        kinds = self.mapping(section, raw)
        return {kind: self.strings(f"{section}.{kind}", texts) for kind, texts in kinds.items()}

    def word_list(self, kind: str, raw: Any) -> WordList | None:
        where, known = f"words.{kind}", len(self.problems)
        raw = self.mapping(where, raw)
        self.known_keys(f"{where}.", raw, _REQUIRED + _OPTIONAL)
        for key in _REQUIRED:
            if not raw.get(key):
                remedy = f"A list has all of {', '.join(_REQUIRED)}."
                self.wrong(f"{where}.{key}", "a value", raw.get(key), remedy)
        for key in ("title", "source"):
            if not isinstance(raw.get(key, ""), str):
                self.wrong(f"{where}.{key}", "a text", raw[key])
        if len(self.problems) > known:
            return None
        levels = self.strings(f"{where}.levels", raw["levels"])
        if len(set(levels)) != len(levels) or len(levels) > MAX_LEVELS:
            self.wrong(f"{where}.levels", "one name or two different ones", raw["levels"])
        forms = self.strings(f"{where}.forms", raw.get("forms", ["word"]))
        capital_only = frozenset(self.strings(f"{where}.capital_only", raw.get("capital_only", [])))
        if len(self.problems) > known:
            return None
        words = self.words(f"{where}.groups", raw["groups"], len(levels), len(forms), ())
        listed = WordList(kind, raw["title"], raw["source"], levels, forms, capital_only, tuple(words))
        self.check_list(f"{where}.groups", listed)
        return listed

    def words(self, where: str, raw: Any, depth: int, forms: int, place: tuple[str, ...]) -> list[ListedWord]:
        if depth:
            words: list[ListedWord] = []
            for group, inner in self.mapping(where, raw).items():
                words += self.words(f"{where}.{group}", inner, depth - 1, forms, (*place, group))
            return words
        if not isinstance(raw, list) or len(raw) < 2:
            self.wrong(where, "a list of at least two words (one is swapped for another)", raw)
            return []
        return [word for item in raw if (word := self.word(where, item, forms, place))]

    def word(self, where: str, raw: Any, forms: int, place: tuple[str, ...]) -> ListedWord | None:
        """Read `word`, `[form, ...]` or `[[spelling, ...], ...]`."""
        forms_of = raw if isinstance(raw, list) else [raw]
        spelled = [form if isinstance(form, list) else [form] for form in forms_of]
        if len(spelled) == forms and all(form and all(map(_is_word, form)) for form in spelled):
            return ListedWord(place, tuple(tuple(form) for form in spelled))
        expected = "a word" if forms == 1 else f"{forms} forms of a word"
        self.wrong(where, f"{expected} (several spellings of one: a list inside the list)", raw)
        return None

    def check_list(self, where: str, listed: WordList) -> None:
        """Refuse a level with one group, where nothing can be swapped, and a spelling of two words."""
        for index, level in enumerate(listed.levels):
            if len(listed.groups(index)) < 2:
                self.wrong(where, f"at least two groups of '{level}'", listed.groups(index))
        owner: dict[str, ListedWord] = {}
        for word in listed.words:
            for spelling in (spelling for form in word.forms for spelling in form):
                if owner.setdefault(spelling.lower(), word) is not word:
                    self.wrong(where, "each spelling once", spelling, "Leave one of them out.")


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value == value.strip() and any(letter.isalnum() for letter in value)
