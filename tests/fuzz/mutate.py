"""Changes inputs: bytes without regard to their meaning, and values inside JSON, YAML, tables and tensor files."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from tests.fuzz import hostile

LARGEST = 100_000
"""Bytes of an input; longer ones are cut."""


_DEEP = "deep \x01"
"""Stands for nested lists until the JSON is written."""


def of_bytes(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Return an input with a few changed, moved, missing or foreign bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice([1, 1, 2, 4, 8, 64, 512]))
        match rng.randrange(8):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            case 2:
                del changed[at:end]
            case 3:
                changed[at:at] = changed[at:end] * rng.choice([1, 2, 50])
            case 4:
                changed[at:at] = rng.choice(hostile.TOKENS)
            case 5:
                changed[at:end] = rng.choice(hostile.TOKENS)
            case 6:
                del changed[at:]
            case _:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                changed[at:end] = other[start : start + rng.choice([4, 64, 4096])]
    return bytes(changed[:LARGEST])


def of_json(rng: random.Random, text: str) -> str:
    """Return JSON in which a few values are replaced, removed, repeated, renamed or wrapped."""
    try:
        root = [json.loads(text)]
    except (ValueError, RecursionError):
        return text
    for _ in range(rng.choice([1, 1, 2, 4])):
        places = list(_places(root))
        holder, key = rng.choice(places)
        match rng.randrange(7):
            case 0 | 1 | 2:
                holder[key] = hostile.value(rng)
            case 3 if len(holder) > 1 or holder is not root:
                del holder[key]
            case 4 if isinstance(holder, dict):
                holder[rng.choice([*hostile.TEXTS, str(key) + "2"])] = holder.pop(key)
            case 5:
                holder[key] = rng.choice([_DEEP, [holder[key]], {"a": holder[key]}])
            case _ if isinstance(holder, list) and holder is not root:
                holder.insert(0, hostile.value(rng))
            case _:
                other, at = rng.choice(places)
                holder[key] = json.loads(json.dumps(other[at]))
        if not root:
            return ""
    depth = rng.choice([60, 100, 500, 20_000])
    changed = json.dumps(root[0], ensure_ascii=rng.random() < 0.7)
    changed = changed.replace(json.dumps(_DEEP), "[" * depth + "1" + "]" * depth)
    if rng.random() < 0.1 and changed.startswith("{") and len(changed) > 2:
        changed = changed[:-1] + ", " + changed[1:]  # every key twice
    return changed


def _places(root: Any) -> Any:
    """Yield every container in a value with one of its keys or indices."""
    waiting = [root]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])


def of_yaml(rng: random.Random, text: str) -> str:
    """Return YAML in which a few values or lines are replaced, moved, repeated or wrapped."""
    lines = text.split("\n")
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(lines))
        key, colon, _ = lines[at].partition(": ")
        match rng.randrange(6):
            case 0 | 1 | 2 if colon:
                lines[at] = f"{key}: {_yaml_value(rng)}"
            case 3:
                lines.insert(at, rng.choice(lines))
            case 4:
                lines.insert(at, f"{_yaml_value(rng)}: {_yaml_value(rng)}")
            case _:
                word = rng.choice(hostile.YAML_WORDS)
                cut = rng.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:cut] + word + lines[at][cut:]
    return "\n".join(lines)


def _yaml_value(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return rng.choice(hostile.YAML_WORDS)
    try:
        return json.dumps(hostile.value(rng))
    except ValueError:
        return "9" * 5000


def of_cells(rng: random.Random, text: str) -> str:
    """Return a text of lines in which a few cells, separated by comma, semicolon or tab, are replaced."""
    lines = text.split("\n")
    for _ in range(rng.choice([1, 2, 4])):
        at = rng.randrange(len(lines))
        separator = next((one for one in "\t;," if one in lines[at]), ",")
        cells = lines[at].split(separator)
        cells[rng.randrange(len(cells))] = rng.choice([*hostile.TEXTS, *map(_short, hostile.NUMBERS)])
        lines[at] = separator.join(cells)
    return "\n".join(lines)


def _short(number: Any) -> str:
    return repr(number) if not isinstance(number, int) or abs(number) < 10**30 else "1" + "0" * 40


def of_tensors(rng: random.Random, data: bytes) -> bytes:
    """Return a safetensors file whose header has changed values, with its length set right."""
    length = int.from_bytes(data[:8], "little")
    header = of_json(rng, data[8 : 8 + length].decode("utf-8", "replace")).encode("utf-8", "surrogatepass")
    return len(header).to_bytes(8, "little") + header + data[8 + length :]
