"""Tests of the number format of answers: int8 where it is proven or asked for, else float, and the notice says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submillion import notices
from submillion.errors import BadInput
from submillion.model.execution.int8_rule import RULE
from submillion.model.inference import open_for_answers
from submillion.model.trained import open_run_classifier
from submillion.rundir import RunDir
from support.int8 import SimulatedInt8, proof, simulate
from support.tiny_run import tiny_run

TEXTS = ["goal coach season", "orbit"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    simulate(monkeypatch)
    return tiny_run(tmp_path)[0]


def said() -> str:
    """Return the notice about the number format."""
    (text,) = [entry["text"] for entry in notices.collected() if entry["code"] == "precision"]
    return str(text)


def test_a_proven_run_answers_in_int8(run: RunDir) -> None:
    proof(run)
    opened = open_for_answers(run)
    assert isinstance(opened.execution, SimulatedInt8)
    assert opened.execution.float_matrices == {(1, "ffn_down")}
    assert (
        said()
        == "precision: int8 (proven for this run: 100.00% of 2,000 validation rows have the same class)"
    )
    exact = open_run_classifier(run).probabilities(TEXTS, 2)
    assert 0 < np.abs(opened.probabilities(TEXTS, 2) - exact).max() < 0.1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (None, "not int8: no proof of it in this run"),
        ({"proven": False, "reason": "only 99.0% are equal"}, "not int8: only 99.0% are equal"),
        ({"adapter": {}}, "that of another adapter"),
        ({"rule": RULE + 1}, "that of another version of the kernels"),
    ],
)
def test_a_run_without_a_proof_answers_in_float_and_says_why(
    run: RunDir, changed: dict[str, Any] | None, words: str
) -> None:
    if changed is not None:
        proof(run, **changed)
    opened = open_for_answers(run)
    assert not isinstance(opened.execution, SimulatedInt8)
    assert said().startswith("precision: float32 (requested); ") and words in said()
    assert (opened.probabilities(TEXTS, 2) == open_run_classifier(run).probabilities(TEXTS, 2)).all()


def test_int8_is_taken_by_name_after_a_warning(run: RunDir) -> None:
    assert isinstance(open_for_answers(run, "int8").execution, SimulatedInt8)
    assert said().startswith("precision: int8 (requested, but not proven for this run: no proof of it")


def test_float_is_taken_by_name(run: RunDir) -> None:
    proof(run)
    opened = open_for_answers(run, "float32")
    assert opened.execution.precision.dtype_name == "float32" and said() == "precision: float32 (requested)"


def test_a_run_whose_encoder_is_shared_answers_in_float(run: RunDir) -> None:
    proof(run)
    assert not isinstance(open_for_answers(run, merged=False).execution, SimulatedInt8)
    assert said() == "precision: float32 (requested)"


def test_without_kernels_a_proven_run_answers_in_float(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    proof(run)
    simulate(monkeypatch, "the processor has no avx512_vnni")
    assert not isinstance(open_for_answers(run).execution, SimulatedInt8)
    assert said() == "precision: float32 (requested); not int8: the processor has no avx512_vnni"
    with pytest.raises(BadInput, match=r"`precision`: expected .*int8 kernels, found the processor has no"):
        open_for_answers(run, "int8")


def test_without_kernels_and_proof_int8_is_not_mentioned(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch, "the processor has no avx512_vnni")
    open_for_answers(run)
    assert said() == "precision: float32 (requested)"


def test_an_unknown_word_is_refused(run: RunDir) -> None:
    with pytest.raises(BadInput, match=r"one of auto, float32, bfloat16, int8, found 'int4'"):
        open_for_answers(run, "int4")
