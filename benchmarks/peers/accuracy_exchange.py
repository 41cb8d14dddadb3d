"""What the scripts of the rivals share: the request read, the time measured, the answer written."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

MAX_TOKENS = 256


def request() -> dict[str, Any]:
    """Return the request, a JSON file named by the first argument."""
    values: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return values


def answer(values: dict[str, Any]) -> None:
    """Write the answer to the file named by the second argument."""
    Path(sys.argv[2]).write_text(json.dumps(values), encoding="utf-8")


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def timed(values: dict[str, Any], name: str) -> Iterator[None]:
    """Store the seconds of a block as `NAME_s`, and those of all threads' processor time as `NAME_cpu_s`."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    values[f"{name}_s"] = time.perf_counter() - wall
    values[f"{name}_cpu_s"] = time.process_time() - cpu
