"""Values and texts that readers of files tend to stumble over."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

NUMBERS: list[Any] = [
    *(0, -1, 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400),
    *(0.0, -0.0, 0.5, 1.5, -1.5, 1e-300, 1e15, 1e300, math.nan, math.inf, -math.inf, 999_999_999),
]
TEXTS = [
    *(
        "",
        " ",
        "\0",
        "\n",
        "\r\n",
        "\t",
        "\x1b[31mred",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\u202e",
        "\ud800",
        "\udfff",
    ),
    *(
        "a" * 300,
        "é" * 300,
        "\U0001f600",
        "a\u0300",
        "007",
        "1e3",
        "nan",
        "None",
        "null",
        "true",
        "no",
        "-1",
        "1.0",
    ),
    *(
        "../../etc/passwd",
        "/dev/zero",
        "a/b",
        ".",
        "..",
        "~root",
        "C:\\x",
        "%s%n",
        "{{7*7}}",
        "<script>",
        "$x^2$",
        "_",
    ),
    *(
        "=1+1",
        "p_",
        "label",
        "text",
        "sha256",
        "9" * 5000,
        "[" * 300,
        "{" * 300,
        "[]",
        "{}",
        '"',
        "'",
        "\\",
        ",",
        ";",
    ),
]
OTHERS: list[Any] = [None, True, False, [], {}, [[]], [None], {"": None}, {"a": {"a": {}}}, [1, "a", None]]
YAML_WORDS = [
    *(
        "!!timestamp ",
        "!!binary aGk=",
        "!!python/name:os.system ",
        "!!omap [a: 1]",
        "&a [*a]",
        "*a",
        "&a",
        "<<: *a",
    ),
    *(
        "2020-01-01",
        "1:30",
        "0o17",
        "010",
        "1_0",
        ".inf",
        ".nan",
        "1e999",
        "~",
        "? a",
        "- ",
        "|",
        ">",
        "%YAML 1.1",
        "---",
    ),
    *(
        "@",
        "`",
        "!",
        "&",
        "*",
        '"\\ud800"',
        '"\\x1b"',
        "9" * 5000,
        "[" * 60,
        "{a: " * 60,
        "'",
        '"',
        "#",
        "\t",
        "\x85",
    ),
]
TOKENS: list[bytes] = [
    *(
        b"\0",
        b"\xff",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xef\xbb\xbf",
        b"\x80",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ),
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b'"',
        b'""',
        b",",
        b";",
        b"\t",
        b"'",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"null",
        b"NaN",
    ),
    *(
        b"PAR1",
        b"ARROW1",
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x00\x00\x00\x80",
    ),
    *(b"1e999", b"9" * 400, b"\x1b[2J", b"sep=;\n", b"-1", b"\\ud800"),
]


def value(rng: random.Random, depth: int = 0) -> Any:
    """Return a hostile JSON value."""
    draw = rng.random()
    if draw < 0.35:
        return rng.choice(NUMBERS)
    if draw < 0.7:
        return rng.choice(TEXTS)
    if draw < 0.9 or depth > 2:
        return copy.deepcopy(rng.choice(OTHERS))
    if draw < 0.95:
        return [value(rng, depth + 1) for _ in range(rng.choice([1, 2, 40]))]
    return {rng.choice(TEXTS): value(rng, depth + 1) for _ in range(rng.choice([1, 2, 20]))}
