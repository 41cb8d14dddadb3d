"""Tests of the JSON that is refused: repeated keys, NaN, large integers, half surrogates, nesting, other files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from submillion.errors import BadInput
from submillion.files import strict_json


def test_valid_json_is_read_as_the_standard_library_reads_it() -> None:
    value = {"a": [1, -2.5, 1e-3, None, True, "ü\U0001f600"], "b": {"c": 2**63 - 1, "d": -(2**63)}}
    assert strict_json.parse(json.dumps(value), "here") == value
    assert strict_json.parse(json.dumps(value, ensure_ascii=False), "here") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "expected every key once, found 'a' twice"),
        ('[{"b": 1, "b": 1}]', "expected every key once, found 'b' twice"),
        ('{"a": NaN}', "expected finite numbers, found NaN"),
        ('{"a": -Infinity}', "expected finite numbers, found -Infinity"),
        ('{"a": 1e999}', "64-bit floats, found 1e999"),
        ('{"a": ' + "9" * 5000 + "}", "at most 64 bits, found an integer of 5,000 digits"),
        ('{"a": 18446744073709551616}', "at most 64 bits, found an integer of 20 digits"),
        ('{"a": "\\ud800"}', r"half of a surrogate pair \(\\ud800\)"),
        ('{"\\udc00": 1}', r"half of a surrogate pair \(\\udc00\)"),
        ("[" * 65 + "]" * 65, "at most 64 levels"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "at most 64 levels"),
        ("[1, 2", "expected a list, found a text that is not JSON"),
        ("", "expected a list, found a text that is not JSON"),
    ],
)
def test_other_json_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        strict_json.parse(text, "here", "a list")
    assert str(error.value).startswith("here: expected ")
    assert len(str(error.value)) < 400


def test_64_levels_are_read() -> None:
    assert strict_json.parse("[" * 64 + "]" * 64, "here")


def test_nan_is_read_on_request() -> None:
    values = strict_json.parse("[NaN, Infinity, 1e999]", "here", nan=True)
    assert str(values) == "[nan, inf, inf]"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff{}", "not in utf-8 (byte 0)"),
        (b"{", "a text that is not JSON"),
        (b" " * 101, "at most 100 bytes, found 101 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_remedy(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "part.json"
    file.write_bytes(content)
    with pytest.raises(BadInput) as error:
        strict_json.read(file, "a part", "Make it again.", max_bytes=100)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{file}: expected ")
    assert str(error.value).endswith("Make it again.")


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, found in (("missing", "no such file"), (".", "no regular file"), ("pipe", "no regular file")):
        with pytest.raises(BadInput, match=found):
            strict_json.read(tmp_path / name, "a part")


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "part.json"
    file.write_bytes(b"\xef\xbb\xbf[1]")
    assert strict_json.read(file, "a list") == [1]
