"""The clock of a file's load time starts after the import of its runtime, in every form."""

from __future__ import annotations

import builtins
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submillion.ship.export import proof, sessions
from submillion.ship.export.forms import FILES
from submillion.ship.export.web import node

MODULES = {
    "transformers": "submillion.ship.export.sessions",  # imports transformers
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "onnxruntime-web": "submillion.ship.export.web.node",
}


class Opened:
    """Stands in for every session."""

    def __init__(self, folder: Path, file: str = "") -> None:
        self.place = folder, file

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts), 2), np.float32)


@pytest.mark.parametrize("path", FILES)
def test_the_load_time_counts_no_import(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, file = FILES[path]
    module = MODULES[file.runtime]
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    for name in ("TransformersSession", "OnnxSession", "OpenvinoSession"):
        monkeypatch.setattr(sessions, name, Opened)
    monkeypatch.setattr(node, "NodeSession", Opened)
    events: list[str] = []
    imported, clock = builtins.__import__, time.perf_counter

    def noted(name: str, *arguments: Any, **named: Any) -> Any:
        # Of `from package import module`, the module is in the third argument.
        parts = arguments[2] if len(arguments) > 2 else None
        events.extend([name, *(f"{name}.{part}" for part in parts or ())])
        return imported(name, *arguments, **named)

    monkeypatch.setattr(time, "perf_counter", lambda: events.append("clock") or clock())  # type: ignore[func-returns-value]
    monkeypatch.setattr(builtins, "__import__", noted)
    proof.ask(file, tmp_path, ["a goal"])
    assert module in events[: events.index("clock")]
