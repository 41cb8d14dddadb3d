"""Reads YAML that may come from anyone: the core schema of YAML 1.2, bounded before any value is made."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from submillion.errors import BadInput, Problem
from submillion.files.strict_json import LONE_SURROGATE, read_text
from submillion.wording import byte_count, excerpt

MAX_BYTES = 2**18
"""Size of the largest YAML text; PyYAML needs a second for it, or five if it is all brackets."""
MAX_DEPTH = 32
"""Levels of lists and mappings."""
MAX_NODES = 100_000
"""Values in a text whose aliases are written out: nine lines of nine aliases each would be 400 million."""
MAX_DIGITS = 19


class _EveryWord(frozenset[str]):
    """Contains every word, so it is not the empty set that its elements make it."""

    def __contains__(self, word: object) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


EVERY_WORD = _EveryWord()
"""As `words` of `parse`: every value is text, as it was written."""
_NULL, _BOOL, _INT, _FLOAT, _STR = (
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")
)
# YAML 1.2, section 10.3.2, where `no` and `on` are words, 010 is ten, 1e-3 is a number and there are no dates. Of YAML
# 1.1 only the underscores in 1_000_000 are read as well.
_SCALARS = (
    (_NULL, r"~|null|Null|NULL|", "~nN"),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_INT, r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
     "-+.0123456789"),
)  # fmt: skip


class NotYaml(BadInput):
    """A text that is not YAML at all, as opposed to YAML that is refused."""


class _Refused(yaml.MarkedYAMLError):
    """YAML that is refused, with its place."""

    def __init__(self, expected: str, found: str, mark: Any, remedy: str = "") -> None:
        super().__init__(problem_mark=mark)
        self.expected, self.found, self.line, self.remedy = expected, found, mark.line + 1, remedy


class _Loader(yaml.SafeLoader):
    """Composes bounded nodes; the values are made from them by `_value`."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # as in the base class

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth, self.nodes = 0, 0
        self.sizes: dict[str, int] = {}
        """Values in each complete anchored node, its aliases written out."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.nodes += 1
        if isinstance(event, yaml.AliasEvent):
            name = str(event.anchor)
            if name in self.anchors and name not in self.sizes:
                raise _Refused("values that do not contain themselves", f"*{name}", event.start_mark)
            self.nodes += self.sizes.get(name, 0)
        if self.nodes > MAX_NODES:
            expected = f"at most {MAX_NODES:,} values, with every alias written out"
            raise _Refused(expected, "more", event.start_mark)
        if self.depth >= MAX_DEPTH:
            raise _Refused(f"at most {MAX_DEPTH} levels of lists and mappings", "more", event.start_mark)
        before = self.nodes
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if not isinstance(event, yaml.AliasEvent) and event.anchor is not None:
            self.sizes[event.anchor] = self.nodes - before + 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes every string that YAML 1.1 or 1.2 would read as something else."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML writes these line breaks as they are, and reads them as spaces; in double quotes it escapes them.
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar(_STR, text, style)


_Dumper.add_representer(str, _represent_text)

for _tag, _pattern, _first in _SCALARS:
    _matcher = re.compile(rf"^(?:{_pattern})$")
    _Loader.add_implicit_resolver(_tag, _matcher, [*_first, *([""] if _tag == _NULL else [])])
    _Dumper.add_implicit_resolver(_tag, _matcher, list(_first))


def parse(
    text: str, where: str, expected: str = "YAML", *, words: Collection[str] = (), as_text: bool = False
) -> Any:
    """Return the value of a YAML text.

    Scalars are read by the core schema of YAML 1.2, keys as the text that was written. Aliases are written out.

    Args:
        text: the text, which may come from anyone.
        where: the file, for the error.
        expected: the kind of text, for the error.
        words: last parts of dotted keys whose value is text, or a list of texts: there 007, 1.10 and true stay as they
            were written.
        as_text: the whole value is text, or a list of texts.

    Raises:
        NotYaml: the text is not YAML.
        BadInput: it is too large or too deep, has a tag, a merge key or a key twice, a number that is not finite or
            needs more than 64 bits, or half of a surrogate pair.
    """
    if (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_BYTES:
        raise BadInput(Problem(where, f"at most {byte_count(MAX_BYTES)} of YAML", byte_count(size)))
    try:
        return deepcopy(_parsed(text, words if isinstance(words, frozenset) else frozenset(words), as_text))
    except _Refused as error:
        place = f"{where}, line {error.line}" if "\n" in text.strip() else where
        raise BadInput(Problem(place, error.expected, error.found, error.remedy)) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: escapes beyond Unicode
        reason = excerpt(" ".join(str(error).replace('in "<unicode string>", ', "in ").split()), 300)
        raise NotYaml(Problem(where, expected, f"a text that is not YAML ({reason})")) from None


@lru_cache(maxsize=8)
def _parsed(text: str, words: frozenset[str], as_text: bool) -> Any:
    """Return the value of a YAML text: commands read the same recipe many times, and PyYAML takes 10 ms for it."""
    node = _Loader(text).get_single_node()
    return None if node is None else _value(node, words, as_text)


def read(file: Path, expected: str, *, words: Collection[str] = ()) -> Any:
    """Return the value of a YAML file in utf-8; `words` as in `parse`.

    Raises:
        BadInput: the file cannot be read, or see `parse`.
    """
    text = read_text(file, expected, "Save it in utf-8.", max_bytes=MAX_BYTES)
    return parse(text, str(file), expected, words=words)


def dump(value: Any) -> str:
    """Return a value as YAML that `parse`, and any reader of YAML 1.1 or 1.2, reads as the same value."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def _value(node: yaml.Node, words: Collection[str], as_text: bool) -> Any:
    """Return the value of a node; with `as_text`, scalars and lists of scalars keep their written form."""
    if isinstance(node, yaml.MappingNode):
        _refuse_tag(node, "map")
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(key_node)
            if key in values:
                raise _Refused("every key once", f"'{excerpt(key, 60)}' twice", key_node.start_mark)
            values[key] = _value(value_node, words, key.rpartition(".")[2] in words)
        return values
    if isinstance(node, yaml.SequenceNode):
        _refuse_tag(node, "seq")
        return [_value(item, words, as_text) for item in node.value]
    return _scalar(node, as_text)


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _Refused("a name as the key", "a list or a mapping", node.start_mark)
    if node.value == "<<" and node.style is None:
        remedy = "Write out the keys that it would add."
        raise _Refused("keys without <<, which YAML 1.2 does not have", "<<", node.start_mark, remedy)
    key = _scalar(node, as_text=True)
    return str(node.value) if key is None else str(key)


def _scalar(node: yaml.Node, as_text: bool) -> Any:
    text = str(node.value)
    if LONE_SURROGATE.search(text):
        text = _joined(text, node.start_mark)
    if node.tag == _NULL:
        return None
    if node.tag == _STR or (as_text and node.tag in (_BOOL, _INT, _FLOAT)):
        return text
    if node.tag == _BOOL:
        return text.lower() == "true"
    if node.tag == _INT:
        return _integer(text, node.start_mark)
    if node.tag == _FLOAT:
        value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if not math.isfinite(value):
            raise _Refused("finite numbers", excerpt(text, 40), node.start_mark)
        return value
    raise _refused_tag(node)


def _joined(text: str, mark: Any) -> str:
    """Return a text in which two escapes such as \\ud83d\\ude00, as JSON writes them, are one character."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        half = LONE_SURROGATE.findall(text)[0]
        raise _Refused("text", f"half of a surrogate pair (\\u{ord(half):04x})", mark) from None


def _integer(text: str, mark: Any) -> int:
    digits = text.replace("_", "").lstrip("+-")
    base = {"0x": 16, "0o": 8}.get(digits[:2], 10)
    if len(digits) <= MAX_DIGITS + 2:
        value = int(text.replace("_", ""), base)
        if -(2**63) <= value < 2**63:
            return value
    raise _Refused("integers of at most 64 bits", f"an integer of {len(digits):,} digits", mark)


def _refuse_tag(node: yaml.Node, kind: str) -> None:
    if node.tag != f"tag:yaml.org,2002:{kind}":
        raise _refused_tag(node)


def _refused_tag(node: yaml.Node) -> _Refused:
    remedy = "Remove the tag; put a value that is text in quotes."
    return _Refused("values without tags", excerpt(str(node.tag), 60), node.start_mark, remedy)
