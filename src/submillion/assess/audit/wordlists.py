"""The words that an audit exchanges and the texts outside the domain: shipped lists, and a run's own over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from submillion.errors import BadInput, Problem, did_you_mean
from submillion.rundir import RunDir

SHIPPED = Path(__file__).parent / "words"
OWN = "audit.yaml"  # in a run directory: the user's lists, laid over the shipped ones
SECTIONS = ("words", "outside", "foreign")
MOST_LEVELS = 2
_NEEDED, _OPTIONAL = ("title", "source", "levels", "groups"), ("forms", "capital_only")


@dataclass(frozen=True)
class Entry:
    """One listed thing: where it stands, and how it is written."""

    place: tuple[str, ...]
    """Its group on each level of the list, such as (Arab world, women)."""
    forms: tuple[tuple[str, ...], ...]
    """Spellings of each form, the one that is written first: ((Russia, Soviet Union), (Russian, Soviet))."""

    @property
    def name(self) -> str:
        """How it is called: the first spelling of its first form."""
        return self.forms[0][0]


@dataclass(frozen=True)
class WordList:
    """Words of one kind, grouped on one or two levels."""

    kind: str
    title: str
    source: str
    """Where the words come from, and where they can be checked."""
    levels: tuple[str, ...]
    forms: tuple[str, ...]
    """What the forms of an entry are, such as country and nationality."""
    capital_only: frozenset[str]
    """Spellings that mean something else in lower case."""
    entries: tuple[Entry, ...]

    def groups(self, level: int) -> list[str]:
        """Names of the groups on one level, in the order of the file."""
        return list(dict.fromkeys(entry.place[level] for entry in self.entries))


@dataclass(frozen=True)
class AuditWords:
    """All that an audit is made with."""

    lists: tuple[WordList, ...]
    outside: dict[str, tuple[str, ...]]
    """English texts from outside the domain, by kind."""
    foreign: dict[str, tuple[str, ...]]
    """Texts by their language."""
    values: dict[str, Any]
    """The same as the files say it; `parse` reads it again."""


def read_words(run: RunDir) -> tuple[AuditWords, list[str]]:
    """Return the shipped lists with the run's own `audit.yaml` laid over them, where there is one.

    Mappings are merged key by key, anything else takes the place of what was shipped, null removes it.

    Returns:
        The lists, and the names of the word lists that `audit.yaml` has a part in.

    Raises:
        BadInput: `audit.yaml` cannot be read or has another shape; all problems at once.
    """
    values: dict[str, Any] = {}
    for shipped in sorted(SHIPPED.glob("*.yaml")):
        values = _laid_over(values, _read(shipped))
    file = run.path / OWN
    own = _read(file) if file.is_file() else {}
    words = parse(_laid_over(values, own), str(file))
    named = own.get("words") or {}
    return words, [listed.kind for listed in words.lists if listed.kind in named]


def parse(values: Mapping[str, Any], where: str) -> AuditWords:
    """Return the lists that yaml or JSON values say.

    Args:
        where: the file that is told to a user where something is wrong.

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
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise BadInput(
            Problem(str(file), "word lists in yaml", f"a file that cannot be read ({found})")
        ) from error
    if not isinstance(values, dict):
        expected = f"word lists in yaml under {', '.join(SECTIONS)}"
        raise BadInput(Problem(str(file), expected, type(values).__name__))
    return values


def _laid_over(values: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    laid = dict(values)
    for key, value in other.items():
        if value is None:
            laid.pop(key, None)
        elif isinstance(value, dict) and isinstance(laid.get(key), dict):
            laid[key] = _laid_over(laid[key], value)
        else:
            laid[key] = value
    return laid


class _Parser:
    """Turns the yaml's values into lists, noting everything that has another shape."""

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
        self.known_keys(f"{where}.", raw, _NEEDED + _OPTIONAL)
        for key in _NEEDED:
            if not raw.get(key):
                remedy = f"A list says all of {', '.join(_NEEDED)}."
                self.wrong(f"{where}.{key}", "a value", raw.get(key), remedy)
        for key in ("title", "source"):
            if not isinstance(raw.get(key, ""), str):
                self.wrong(f"{where}.{key}", "a text", raw[key])
        if len(self.problems) > known:
            return None
        levels = self.strings(f"{where}.levels", raw["levels"])
        if len(set(levels)) != len(levels) or len(levels) > MOST_LEVELS:
            self.wrong(f"{where}.levels", "one name or two different ones", raw["levels"])
        forms = self.strings(f"{where}.forms", raw.get("forms", ["word"]))
        capital_only = frozenset(self.strings(f"{where}.capital_only", raw.get("capital_only", [])))
        if len(self.problems) > known:
            return None
        entries = self.entries(f"{where}.groups", raw["groups"], len(levels), len(forms), ())
        found = WordList(kind, raw["title"], raw["source"], levels, forms, capital_only, tuple(entries))
        self.check_list(f"{where}.groups", found)
        return found

    def entries(self, where: str, raw: Any, depth: int, forms: int, place: tuple[str, ...]) -> list[Entry]:
        if depth:
            found: list[Entry] = []
            for group, inner in self.mapping(where, raw).items():
                found += self.entries(f"{where}.{group}", inner, depth - 1, forms, (*place, group))
            return found
        if not isinstance(raw, list) or len(raw) < 2:
            self.wrong(where, "a list of at least two words (one is exchanged for another)", raw)
            return []
        return [entry for item in raw if (entry := self.entry(where, item, forms, place))]

    def entry(self, where: str, raw: Any, forms: int, place: tuple[str, ...]) -> Entry | None:
        """Read `word`, `[form, ...]` or `[[spelling, ...], ...]`."""
        given = raw if isinstance(raw, list) else [raw]
        spelled = [form if isinstance(form, list) else [form] for form in given]
        if len(spelled) == forms and all(form and all(map(_is_word, form)) for form in spelled):
            return Entry(place, tuple(tuple(form) for form in spelled))
        expected = "a word" if forms == 1 else f"{forms} forms of a word"
        self.wrong(where, f"{expected} (several spellings of one: a list inside the list)", raw)
        return None

    def check_list(self, where: str, found: WordList) -> None:
        """Refuse a level with one group, where nothing can be exchanged, and a spelling of two entries."""
        for index, level in enumerate(found.levels):
            if len(found.groups(index)) < 2:
                self.wrong(where, f"at least two groups of '{level}'", found.groups(index))
        owner: dict[str, Entry] = {}
        for entry in found.entries:
            for spelling in (spelling for form in entry.forms for spelling in form):
                if owner.setdefault(spelling.lower(), entry) is not entry:
                    self.wrong(where, "each spelling once", spelling, "Leave one of them out.")


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value == value.strip() and any(letter.isalnum() for letter in value)
