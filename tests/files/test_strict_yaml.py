"""Tests of YAML: the scalars of YAML 1.2, text as it was written, and what is refused before it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.errors import BadInput
from submillion.files import strict_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]\n"
    for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("2E5", 2e5),
        (".5", 0.5),
        ("1_000_000", 1_000_000),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("~", None),
        ("null", None),
        ('"null"', "null"),
        ("!!str 5", "5"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    read = strict_yaml.parse(text, "here")
    assert read == value
    assert type(read) is type(value)


def test_text_fields_keep_the_words_that_were_written() -> None:
    text = "data: {labels: [007, 010, no, true, 1.10, 1e3], limit: 010}\nset: {data.labels: [[00, 0x1]]}\n1: {no: 1}\n"
    assert strict_yaml.parse(text, "here", words={"labels"}) == {
        "data": {"labels": ["007", "010", "no", "true", "1.10", "1e3"], "limit": 10},
        "set": {"data.labels": [["00", "0x1"]]},
        "1": {"no": 1},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "at most 100,000 values, with every alias written out"),
        ("a: &a [*a]", r"values that do not contain themselves, found \*a"),
        ("a: " + "[" * 100_000, "at most 32 levels of lists and mappings"),
        ("- " * 40 + "a", "at most 32 levels of lists and mappings"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "here, line 4: expected every key once, found 'c' twice"),
        ("1: a\n'1': b\n", "expected every key once, found '1' twice"),
        ("a: !!timestamp 2020-01-01", "values without tags, found tag:yaml.org,2002:timestamp"),
        ("a: !!binary aGk=", "values without tags"),
        ("!!python/object/apply:os.system ['true']", "values without tags"),
        ("!!omap [a: 1]", "values without tags"),
        ("a: &a {b: 1}\nc: {<<: *a}\n", "keys without <<"),
        ("? [a]\n: 1\n", "a name as the key, found a list or a mapping"),
        ("a: .nan", "finite numbers, found .nan"),
        ("a: -.inf", "finite numbers, found -.inf"),
        ("a: 1e999", "finite numbers, found 1e999"),
        ("a: " + "9" * 5000, "at most 64 bits, found an integer of 5,000 digits"),
        ("a: 9223372036854775808", "at most 64 bits, found an integer of 19 digits"),
        ('a: "\\ud800"', "half of a surrogate pair"),
        ('"\\udc00": 1', "half of a surrogate pair"),
        ('a: "\\UFFFFFFFF"', "a text that is not YAML"),
        ("a: \x1b[31m", "a text that is not YAML"),
        ("a: [1", "a text that is not YAML"),
        ("---\na\n---\nb\n", "a text that is not YAML"),
        ("# " + "a" * 2**18, "at most 262.1 kB of YAML"),
    ],
)
def test_other_yaml_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        strict_yaml.parse(text, "here")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_an_alias_is_written_out() -> None:
    assert strict_yaml.parse("a: &a [1]\nb: *a\nc: *a\n", "here") == {"a": [1], "b": [1], "c": [1]}


def test_a_file_in_another_encoding_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("a: ü".encode("latin-1"))
    with pytest.raises(BadInput, match=r"not in utf-8 \(byte 3\). Save it in utf-8."):
        strict_yaml.read(tmp_path / "latin.yaml", "a recipe")
    with pytest.raises(BadInput, match="expected a recipe, found no such file"):
        strict_yaml.read(tmp_path / "missing.yaml", "a recipe")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WORDS = st.sampled_from(
    ["no", "1e3", "007", "0o7", "1_0", "~", "null", "=", "<<", "1:30", ".inf", "2020-01-01", ""]
)
SCALAR = st.one_of(
    TEXT,
    WORDS,
    st.booleans(),
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
)
VALUE = st.recursive(
    SCALAR, lambda part: st.lists(part, max_size=3) | st.dictionaries(TEXT | WORDS, part, max_size=3)
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(TEXT | WORDS, VALUE, max_size=3))
def test_what_is_written_is_read_again_by_this_reader_and_by_yaml_1_1(value: dict[str, Any]) -> None:
    text = strict_yaml.dump(value)
    assert strict_yaml.parse(text, "here") == value
    assert yaml.safe_load(text) == value


def test_a_value_that_is_changed_is_not_what_the_next_reader_gets() -> None:
    first = strict_yaml.parse("{a: [1, {b: 007}]}", "here")
    first["a"][1]["b"] = 8
    first["a"].append(2)
    assert strict_yaml.parse("{a: [1, {b: 007}]}", "here") == {"a": [1, {"b": 7}]}
    assert strict_yaml.parse("{a: [1, {b: 007}]}", "here", words={"b"}) == {"a": [1, {"b": "007"}]}
    assert strict_yaml.parse("{a: 007}", "here", words=strict_yaml.EVERY_WORD) == {"a": "007"}
    assert strict_yaml.parse("{a: 007}", "here") == {"a": 7}
