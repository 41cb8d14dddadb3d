"""Training rows without a label are refused, or left out and counted if the recipe says so."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from submillion import notices
from submillion.data.corpus import Corpus, load_corpus
from submillion.errors import BadInput
from submillion.recipe import DataRecipe

LABELS = ["a", "b"] * 10


def load(folder: Path, written: Sequence[str], **options: Any) -> Corpus:
    file = folder / "train.csv"
    with file.open("w", encoding="utf-8", newline="") as handle:
        rows = ((f"text {row}", label) for row, label in enumerate(written))
        csv.writer(handle).writerows([("text", "label"), *rows])
    return load_corpus(DataRecipe(train=str(file), **options), 42, progress=False)


def texts_of(corpus: Corpus) -> set[str]:
    return {*corpus.train.texts, *corpus.validation.texts}


def notice(code: str) -> list[str]:
    return [found["text"] for found in notices.collected() if found["code"] == code]


def test_training_rows_without_a_label_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, [*LABELS, "", ""])
    assert str(caught.value).endswith(
        "train.csv, lines 22, 23: expected a label in column 'label', found nothing. Label these rows, or leave them "
        "out with `data.skip_unlabelled=true`."
    )


def test_training_rows_without_a_label_are_left_out_on_request(tmp_path: Path) -> None:
    corpus = load(tmp_path, ["", *LABELS, "", "?"], skip_unlabelled=True)
    assert corpus.label_names == ["a", "b"]
    assert texts_of(corpus) == {f"text {row}" for row in range(1, 21)}
    assert notice("rows_left_out") == [
        "train.csv: 2 rows left out: 2 without a label.",
        "train: 1 row without a label ('?') left out.",
    ]


def test_a_file_without_any_label_is_refused_whatever_the_request(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"expected labels in column 'label', found none in any row"):
        load(tmp_path, [""] * 20, skip_unlabelled=True)


@pytest.mark.parametrize("mark", ["?", "NaN", "n/a", "null", "Unlabeled", "#N/A", "<NA>", r"\N"])
def test_a_class_named_like_a_missing_label_is_announced(tmp_path: Path, mark: str) -> None:
    assert load(tmp_path, [*LABELS, *[mark] * 4]).label_names == sorted(["a", "b", mark])
    assert notice("unlabelled_classes") == [
        f"trained as a class, although such a name usually marks a missing label: '{mark}' (4 rows). To leave these "
        "rows out, set data.skip_unlabelled to true."
    ]


@pytest.mark.parametrize(
    ("mark", "named"), [("-1", None), ("none", None), ("NA", None), ("?", ["a", "b", "?"])]
)
def test_what_is_often_a_class_or_named_as_one_is_trained(
    tmp_path: Path, mark: str, named: list[str] | None
) -> None:
    corpus = load(tmp_path, [*LABELS, *[mark] * 4], labels=named, skip_unlabelled=True)
    assert mark in corpus.label_names and len(texts_of(corpus)) == 24
    assert not notice("unlabelled_classes") + notice("rows_left_out")
