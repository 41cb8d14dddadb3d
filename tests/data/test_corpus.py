"""From a recipe's data section to checked, leak-free, reproducible splits with a report of every finding."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from submillion import notices
from submillion.data.corpus import Corpus, Split, load_corpus, read_labelled
from submillion.data.in_memory import labelled_rows
from submillion.data.labels import Classes
from submillion.errors import BadInput
from submillion.recipe import DataRecipe
from submillion.sources.convert import AGNEWS_CLASSES
from submillion.sources.fetch import FetchedData

AGNEWS = list(AGNEWS_CLASSES)
Pairs = Iterable[tuple[str, Any]]


def write(path: Path, rows: Pairs, header: tuple[str, ...] = ("text", "label")) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)
    return path


def some(count: int, word: str = "text", labels: tuple[Any, ...] = ("no", "yes")) -> list[tuple[str, Any]]:
    return [(f"{word} {row}", labels[row % len(labels)]) for row in range(count)]


def load(train: Path, seed: int = 42, **options: Any) -> Corpus:
    options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    return load_corpus(DataRecipe(train=str(train), **options), seed)


def notice_texts(code: str) -> list[str]:
    return [notice["text"] for notice in notices.collected() if notice["code"] == code]


def test_a_file_becomes_training_and_validation(tmp_path: Path) -> None:
    corpus = load(write(tmp_path / "train.csv", some(100)))
    assert corpus.label_names == ["no", "yes"]
    assert [(split.name, len(split)) for split in corpus.splits] == [("train", 90), ("validation", 10)]
    assert corpus.test is None and notice_texts("no_test")
    assert corpus.validation.labels.count(1) == 5
    both = [*corpus.train.texts, *corpus.validation.texts]
    assert sorted(both) == sorted(text for text, _ in some(100))
    assert corpus.train.ids[:3] == [text.split()[1] for text in corpus.train.texts[:3]]


def test_a_further_file_of_any_format_joins_the_training_rows(tmp_path: Path) -> None:
    """It is read with the columns of the training file where it has them, else with its own."""
    train = write(tmp_path / "train.csv", some(40), ("Bewertung", "Note"))
    folder = tmp_path / "labelled"
    folder.mkdir()
    first, second = some(2, "first"), some(3, "second")
    (folder / "a.jsonl").write_text(
        "".join(json.dumps({"Bewertung": text, "Note": label, "label": "x"}) + "\n" for text, label in first)
    )
    (folder / "b.jsonl").write_text(
        "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in second)
    )
    corpus = load(train, text="Bewertung", label="Note", more=folder, test_size=0.2, slice_columns=[])
    rows = [row for split in corpus.splits for row in zip(split.texts, split.labels, strict=True)]
    expected = [(text, ["no", "yes"].index(label)) for text, label in [*some(40), *first, *second]]
    assert sorted(rows) == sorted(expected)
    sources = corpus.report["sources"]
    assert (sources["train"]["files"], sources["more"]["files"]) == (["train.csv"], ["a.jsonl", "b.jsonl"])
    assert sources["train"]["columns"] == [{"text": ["Bewertung"], "label": "Note"}]
    assert sources["more"]["columns"][1] == {"text": ["text"], "label": "label"}
    assert set(sources["more"]["sha256"]) == {"a.jsonl", "b.jsonl"}


def test_further_rows_lack_no_label_and_come_from_one_split(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", some(40))
    more = write(tmp_path / "more.csv", [*some(2, "new"), ("unlabelled", "")])
    with pytest.raises(BadInput, match=r"more\.csv, line 4: expected a label in column 'label'"):
        load(train, more=more)
    assert len(load(train, more=more, skip_unlabelled=True).report["sources"]["more"]["sha256"]) == 1
    for name in ("dev", "test"):
        write(tmp_path / "splits" / f"{name}.csv", some(2))
    with pytest.raises(BadInput, match=r"data\.more.* expected a source with a split 'train'"):
        load(train, more=tmp_path / "splits")
    with pytest.raises(BadInput, match="expected none, found more.csv, and texts from memory"):
        load_corpus(DataRecipe(train="memory", more="more.csv"), 0, train_rows=labelled_rows(["a"], ["b"]))


def test_the_report_is_json_with_counts_sources_and_findings(tmp_path: Path) -> None:
    train, test = write(tmp_path / "train.csv", some(40)), write(tmp_path / "test.csv", some(6, "new"))
    corpus = load(train, test=test)
    report = json.loads(json.dumps(corpus.report, allow_nan=False))
    assert report["labels"] == ["no", "yes"]
    assert report["splits"]["train"] == {
        "rows": 36,
        "label_counts": {"no": 18, "yes": 18},
        "largest_share": 0.5,
        "smallest_share": 0.5,
        "fingerprint": corpus.train.fingerprint,
    }
    assert list(report["splits"]) == ["train", "validation", "test"]
    assert report["sources"]["test"]["files"] == ["test.csv"]
    assert report["sources"]["train"]["columns"] == [{"text": ["text"], "label": "label"}]
    assert hashlib.sha256(train.read_bytes()).hexdigest() in json.dumps(report["sources"]["train"]["sha256"])
    assert report["source"] == str(train)
    assert report["checks"]["train_rows_in_test"]["rows"] == 0
    assert report["validation"] == {
        "from": "train",
        "size": 0.1,
        "seed": 42,
        "order": "sha256 of seed and text",
    }


def test_fingerprints_depend_on_texts_labels_and_order() -> None:
    split = Split("train", ["0", "1"], ["a", "b"], [0, 1])
    others = [(["a", "b"], [1, 0]), (["b", "a"], [1, 0]), (["a", "bc"], [0, 1]), (["ab", ""], [0, 1])]
    prints = {Split("train", ["0", "1"], texts, labels).fingerprint for texts, labels in others}
    assert len(prints | {split.fingerprint}) == 5
    assert Split("other name", ["7", "8"], ["a", "b"], [0, 1]).fingerprint == split.fingerprint
    assert Split("train", ["0"], ["a1b"], [0]).fingerprint != split.fingerprint
    assert split.text_sha256(1) == hashlib.sha256(b"b").hexdigest()


def test_the_split_depends_only_on_seed_and_texts(tmp_path: Path) -> None:
    rows = some(200)
    first = load(write(tmp_path / "a.csv", rows))
    shuffled = load(write(tmp_path / "b.csv", rows[::-1]))
    assert set(first.validation.texts) == set(shuffled.validation.texts)
    assert set(first.validation.texts) != set(load(tmp_path / "a.csv", seed=43).validation.texts)
    assert load(tmp_path / "a.csv").train.fingerprint == first.train.fingerprint


def test_a_folder_includes_its_test_split(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train.csv", some(40))
    write(tmp_path / "data" / "test.csv", some(6, "new"))
    corpus = load(tmp_path / "data")
    assert corpus.test is not None and corpus.test.texts == [text for text, _ in some(6, "new")]


@pytest.mark.parametrize(
    ("options", "scored"),
    [
        ({}, "validation rows are taken from the training rows"),
        ({"validation": "cross-validation"}, "the cross-validation predicts the training rows"),
    ],
)
def test_validation_rows_that_are_not_used_are_named(
    tmp_path: Path, options: dict[str, Any], scored: str
) -> None:
    folder = tmp_path / "data"
    write(folder / "train.csv", some(40))
    write(folder / "dev.csv", some(6, "new"))
    load(folder, **options)
    (notice,) = notice_texts("validation_unused")
    assert notice == (
        f"{folder} has validation rows of its own, which are not used: {scored}. To use its own, set data.validation "
        f"to {folder}."
    )


@pytest.mark.parametrize("name", ["dev", "test"])
def test_the_only_split_of_a_folder_is_trained_on_whatever_its_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / "data" / f"{name}.csv", some(40))
    corpus = load(tmp_path / "data")
    assert (len(corpus.train), len(corpus.validation), corpus.test) == (36, 4, None)
    split = {"dev": "validation", "test": "test"}[name]
    assert notice_texts("only_split") == [
        f"{tmp_path / 'data'} has {split} rows alone, which are trained on."
    ]
    assert not notice_texts("validation_unused")
    load(tmp_path / "data", test_size=0.2)
    assert not notice_texts("test_unused")


def test_a_training_file_with_names_and_a_test_file_in_agnews_form_share_their_classes(
    tmp_path: Path,
) -> None:
    train = write(tmp_path / "train.csv", some(80, labels=("Sports", "World", "Sci/Tech", "Business")))
    official = [("4", "Chips", "get smaller"), ("1", "Talks", "go on"), ("3", "Shares", "fall")]
    test = write(tmp_path / "test.csv", official, header=())
    corpus = load(train, test=test)
    assert corpus.label_names == AGNEWS
    assert corpus.test is not None
    assert corpus.test.texts[0] == "Chips get smaller" and corpus.test.labels == [3, 0, 2]
    assert {corpus.label_names[label] for label in corpus.train.labels} == set(AGNEWS)
    assert notice_texts("absent_classes") == ["test: no row of 'Sports'."]
    reversed_names = AGNEWS[::-1]
    other = load(
        train, test=test, labels=["Business", "World", "Sports", "Sci/Tech"], text="text", label="label"
    )
    assert other.label_names[0] == "Business" != reversed_names[0]


def test_numbers_are_never_positions_in_names_that_only_the_rows_have(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", some(40, labels=("cats", "dogs")))
    test = write(tmp_path / "test.csv", [("1", "Cats", "sleep"), ("2", "Dogs", "bark")], header=())
    with pytest.raises(
        BadInput, match=r"expected one of cats, dogs, found '1' .* list the names in the order"
    ):
        load(train, test=test)
    corpus = load(train, test=test, labels=["cats", "dogs"])
    assert corpus.test is not None and corpus.test.labels == [0, 1]


def test_another_data_set_in_agnews_form_keeps_its_numbers(tmp_path: Path) -> None:
    rows = [(str(row % 14 + 1), f"title {row}", "text") for row in range(140)]
    corpus = load(write(tmp_path / "train.csv", rows, header=()))
    assert corpus.label_names == [str(number) for number in range(1, 15)]
    named = load(tmp_path / "train.csv", labels=[f"class {number}" for number in range(14)])
    assert named.train.labels == corpus.train.labels


def test_names_of_a_source_are_those_of_its_own_label_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(f"text {row}", row % 2, "abc"[row % 3]) for row in range(60)]
    file = write(tmp_path / "train.csv", rows, ("text", "label", "kind"))
    known = FetchedData("known", {"train": [file]}, {}, "hub/known", labels=["no", "yes"], label="label")
    monkeypatch.setattr("submillion.data.corpus_sources.fetch_data", lambda *_: known)
    assert load(file).label_names == ["no", "yes"]
    assert load(file, label="kind").label_names == ["a", "b", "c"]


def test_class_names_of_the_recipe_keep_their_order(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", some(40, labels=(0, 1, 2)))
    corpus = load(train, labels=["low", "middle", "high"])
    assert corpus.label_names == ["low", "middle", "high"]
    by_text = dict(zip(corpus.train.texts, corpus.train.labels, strict=True))
    assert all(label == int(text.split()[1]) % 3 for text, label in by_text.items())


def test_training_rows_that_are_test_rows_are_dropped(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", [*some(40), ("new  0", "no"), (" new 1", "yes")])
    test = write(tmp_path / "test.csv", some(6, "new"))
    corpus = load(train, test=test)
    kept = {" ".join(text.split()) for split in (corpus.train, corpus.validation) for text in split.texts}
    assert not kept & {text for text, _ in some(6, "new")} and len(kept) == 40
    found = corpus.report["checks"]["train_rows_in_test"]
    assert found == {"rows": 2, "examples": ["train.csv, line 42", "train.csv, line 43"], "dropped": 2}
    assert notice_texts("train_rows_in_test") == ["train: 2 rows with the text of a test row, dropped."]

    notices.restore([])
    kept_too = load(train, test=test, drop_train_rows_in_test=False)
    assert sum(len(split) for split in kept_too.splits[:2]) == 42
    assert notice_texts("train_rows_in_test") == [
        "train: 2 rows with the text of a test row, kept, so the score is optimistic."
    ]


def test_a_validation_file_is_used_whole_and_excluded_from_training(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", some(40))
    validation = write(tmp_path / "dev.csv", [*some(2), *some(6, "new")])
    corpus = load(train, validation=validation)
    assert (len(corpus.train), len(corpus.validation)) == (38, 8)
    assert corpus.report["checks"]["train_rows_in_validation"]["rows"] == 2
    assert corpus.report["validation"]["from"] == "source"


def test_no_copy_of_a_text_is_in_both_splits(tmp_path: Path) -> None:
    corpus = load(write(tmp_path / "train.csv", [row for row in some(40) for _ in range(3)]))
    assert not set(corpus.train.texts) & set(corpus.validation.texts)
    assert corpus.report["checks"]["duplicates"]["train"]["rows"] == 80
    once = load(tmp_path / "train.csv", drop_duplicates=True)
    assert sum(len(split) for split in once.splits) == 40
    assert once.report["checks"]["duplicates"]["train"]["dropped"] == 80


def test_contradicting_labels_are_named_with_their_rows(tmp_path: Path) -> None:
    corpus = load(write(tmp_path / "train.csv", [*some(40), ("text 0", "yes")]))
    found = corpus.report["checks"]["duplicates"]["train"]
    assert found["conflicts"] == [
        {"rows": ["train.csv, line 2", "train.csv, line 42"], "labels": ["no", "yes"]}
    ]
    assert "'no' (train.csv, line 2) and 'yes' (train.csv, line 42)" in notice_texts("conflicting_labels")[0]


def test_empty_texts_are_dropped_from_training_and_kept_in_test(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", [*some(40), ("  ", "no")])
    test = write(tmp_path / "test.csv", [*some(6, "new"), ("", "yes")])
    corpus = load(train, test=test)
    assert corpus.test is not None and len(corpus.test) == 7
    assert all(text.strip() for text in [*corpus.train.texts, *corpus.validation.texts])
    assert corpus.report["checks"]["empty_texts"]["train"]["examples"] == ["train.csv, line 42"]
    assert len(notice_texts("empty_texts")) == 2


def test_a_limit_keeps_the_shares_of_every_split(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", some(400, labels=("no", "yes", "yes", "yes")))
    corpus = load(train, test=write(tmp_path / "test.csv", some(6, "new")), limit=20)
    assert [len(split) for split in corpus.splits] == [20, 20, 6]
    assert corpus.train.labels.count(0) == 5
    assert corpus.train.texts != [text for text, _ in some(20)]  # drawn, not the first ones
    assert set(corpus.validation.texts) <= set(load(train).validation.texts)


# -- bad input ----------------------------------------------------------------------------------------------


def test_one_class_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", some(20, labels=("same",)))
    with pytest.raises(
        BadInput, match="training rows of at least two classes, found 20 rows, all of class 'same'"
    ):
        load(path)


def test_one_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least two classes, found 1 row, all of class 'no'"):
        load(write(tmp_path / "train.csv", some(1)))


@pytest.mark.parametrize(("rows", "said"), [(490, ["49 validation rows: one is 2.0 points"]), (500, [])])
def test_too_few_validation_rows_to_choose_by_are_announced(
    tmp_path: Path, rows: int, said: list[str]
) -> None:
    made = load(write(tmp_path / "train.csv", some(rows)), validation_size=0.1)
    found = notice_texts("few_validation_rows")
    assert len(made.validation) == rows // 10
    assert [text[: len(start)] for text, start in zip(found, said, strict=True)] == said


def test_too_few_rows_for_a_validation_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match="2 rows after checks, 2 to train on and 0 for validation. Add rows, two or"
    ):
        load(write(tmp_path / "train.csv", some(2)))


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_file_that_leaves_no_training_rows_is_refused_with_the_dropped_ones(
    tmp_path: Path, split: str
) -> None:
    path = write(tmp_path / "train.csv", some(20))
    with pytest.raises(
        BadInput, match=f"`data.{split}`: .* found those of 20 of 20 training rows, .* as copies"
    ):
        load(path, **{split: path})
    half = write(tmp_path / "half.csv", some(20)[::2])
    with pytest.raises(BadInput, match="found those of 10 of 20 training rows"):
        load(path, **{split: half})


def test_a_test_label_without_training_rows_is_refused(tmp_path: Path) -> None:
    train, test = write(tmp_path / "train.csv", some(20)), write(tmp_path / "test.csv", [("x", "maybe")])
    with pytest.raises(
        BadInput, match=r"test labels: expected one of no, yes, found 'maybe' in 1 of 1 rows: test\.csv"
    ):
        load(train, test=test)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", some(20))
    with pytest.raises(BadInput, match=r"Did you mean '[^']*train\.csv'"):
        load(tmp_path / "trian.csv")


def test_another_file_is_read_with_the_classes_of_a_run(tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", [("4", "Chips", "shrink"), ("1", "", "Talks")], header=())
    split = read_labelled(path, Classes(AGNEWS, numbered=True, first=1), "new")
    assert (split.name, split.texts, split.labels) == ("new", ["Chips shrink", "Talks"], [3, 0])
    with pytest.raises(BadInput, match="new labels: expected one of a, b, found '4'"):
        read_labelled(path, Classes(["a", "b"]), "new")


def test_published_numbers_of_agnews_are_its_names_whatever_the_order_of_the_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", [("4", "Chips", "shrink"), ("1", "", "Talks")], header=())
    split = read_labelled(path, Classes(sorted(AGNEWS)), "new")
    assert [sorted(AGNEWS)[label] for label in split.labels] == ["Sci/Tech", "World"]


# -- real data ----------------------------------------------------------------------------------------------


def test_the_published_agnews_files_are_read(shared_data: Path) -> None:
    folder = shared_data / "agnews"
    corpus = load(folder / "train.csv", test=folder / "test_public.csv")
    assert corpus.label_names == AGNEWS and corpus.test is not None
    assert len(corpus.train) + len(corpus.validation) == 18_894 and len(corpus.validation) == 1_889
    assert len(corpus.test) == 3_774
    assert corpus.test.labels[:3] == [3, 3, 3]
    assert corpus.report["checks"]["train_rows_in_test"]["rows"] == 0
