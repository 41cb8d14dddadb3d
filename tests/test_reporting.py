"""Tests of which parts of the analysis a report computes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from submillion import reporting
from submillion.assess import registry
from support.tiny_run import tiny_run


def test_parts_that_are_named_beside_all_are_computed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []

    def compute(context: object, names: Sequence[str]) -> None:
        computed.extend(names)

    monkeypatch.setattr(registry, "compute_parts", compute)
    monkeypatch.setattr(reporting, "write_report", lambda path: None)
    run, _ = tiny_run(tmp_path)
    reporting.remake(run.path, ["all", "thresholds", "errors", "int8", "thresholds"])
    assert computed[:3] == ["thresholds", "errors", "int8"]
    assert sorted(computed) == sorted([*registry.possible_parts(), "thresholds", "int8"])
