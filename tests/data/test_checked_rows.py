"""Rows that are read and checked once, for a decision and for the training after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from submillion import notices
from submillion.auto.decide import decide
from submillion.data import corpus_sources
from submillion.data.checked_rows import CheckedRows
from submillion.data.corpus import load_corpus
from submillion.data.in_memory import labelled_rows
from submillion.errors import BadInput
from submillion.recipe import DataRecipe
from support.tiny import LABELS, shared_encoder, tiny_texts


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Texts of four classes, one of them twice."""
    texts, numbers = tiny_texts(60, 0)
    rows = [f"{text},{LABELS[number].replace(',', '')}" for text, number in zip(texts, numbers, strict=True)]
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(["text,label", *rows, rows[0]]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The files that are read, in order."""
    made: list[Any] = []
    read_rows = corpus_sources.read_rows
    monkeypatch.setattr(
        corpus_sources,
        "read_rows",
        lambda files, *more, **named: made.append(files) or read_rows(files, *more, **named),
    )
    return made


def test_the_training_after_a_decision_reads_no_file_again(file: Path, reads: list[Any]) -> None:
    overrides = [f"encoder.source={shared_encoder()}", "train.epochs=1"]
    decision = decide(file, overrides=overrides, progress=False)
    assert len(reads) == 1
    recipe = decision.recipe.with_absolute_paths()
    handed = load_corpus(recipe.data, recipe.seed, False, checked=decision.checked)
    assert len(reads) == 1
    given = notices.collected()
    assert "duplicates" in {notice["code"] for notice in given}
    with notices.collecting(quiet=True):
        again = load_corpus(recipe.data, recipe.seed, False)
        assert {notice["text"] for notice in notices.collected()} == {notice["text"] for notice in given}
    assert len(reads) == 2
    assert handed.report == again.report
    assert [split.fingerprint for split in handed.splits] == [split.fingerprint for split in again.splits]


def test_notices_that_may_explain_a_refusal_are_given_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lines.csv"
    file.write_text("Reviews of May\n\ntext,label\nbroken,\n", encoding="utf-8")
    with notices.collecting(), pytest.raises(BadInput, match="label"):
        CheckedRows.unannounced(DataRecipe(train=str(file)), 1, progress=False)
    assert "note: lines.csv" in capsys.readouterr().err


def test_rows_that_were_read_for_other_fields_are_read_again(file: Path, reads: list[Any]) -> None:
    data = DataRecipe(train=str(file))
    checked = CheckedRows.unannounced(data, 1, progress=False)
    crossed = data.model_copy(update={"validation": "cross-validation", "folds": 3, "max_length": 64})
    assert checked.serves(crossed, 1, None)
    for other, seed in ((data.model_copy(update={"text": "label"}), 1), (data, 2)):
        assert not checked.serves(other, seed, None)
    assert load_corpus(data, 2, False, checked=checked).report["validation"]["seed"] == 2
    assert len(reads) == 2


def test_dividing_rows_leaves_them_as_they_were(file: Path) -> None:
    data = DataRecipe(train=str(file))
    checked = CheckedRows.unannounced(data, 1, progress=False)
    first, second = (load_corpus(data, 1, False, checked=checked) for _ in range(2))
    assert first.report == second.report
    assert len(checked.splits["train"]) == len(first.train) + len(first.validation)


def test_rows_from_memory_are_checked_once_as_well() -> None:
    texts, numbers = tiny_texts(60, 0)
    rows = labelled_rows(texts, numbers)
    data = DataRecipe(train="memory")
    checked = CheckedRows.unannounced(data, 1, False, rows)
    assert checked.serves(data, 1, rows)
    assert not checked.serves(data, 1, labelled_rows(texts, numbers))
    assert load_corpus(data, 1, False, rows, checked).report == load_corpus(data, 1, False, rows).report
