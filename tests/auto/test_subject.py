"""Tests of auto/subject.py: what the first argument of `train` names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from submillion.auto.subject import names_data, run_name
from submillion.errors import BadInput

ROWS = "text,label\ngood,pos\nbad,neg\n"
RECIPE = "encoder:\n  source: minilm\ndata:\n  train: reviews.csv\n"


@pytest.mark.parametrize(
    "name", ["reviews.csv", "reviews.tsv", "reviews.xlsx", "reviews.csv.gz", "reviews.parquet"]
)
def test_a_data_file_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(ROWS, encoding="utf-8")
    assert names_data(file)


@pytest.mark.parametrize("name", ["recipe.yaml", "recipe.yml", "recipe.conf", "recipe", "recipe.txt"])
def test_a_recipe_is_known_by_its_suffix_or_its_content(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(RECIPE, encoding="utf-8")
    assert not names_data(file)


def test_json_is_a_recipe_only_if_it_has_the_keys_of_one(tmp_path: Path) -> None:
    recipe, data = tmp_path / "recipe.json", tmp_path / "data.json"
    recipe.write_text(json.dumps({"encoder": {"source": "minilm"}, "data": {"train": "x.csv"}}), "utf-8")
    data.write_text(json.dumps({"data": [{"text": "good", "label": "pos"}]}), "utf-8")
    assert not names_data(recipe)
    assert names_data(data)


def test_lines_of_text_are_data(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("pos: good\npos: fine\n: : {", encoding="utf-8")
    assert names_data(file)


def test_a_shipped_recipe_a_data_set_and_a_folder(tmp_path: Path) -> None:
    assert not names_data("quickstart")
    assert not names_data("auto")
    assert names_data("ag_news")
    assert names_data(tmp_path)


def test_an_id_of_the_hub_is_data_unless_its_folder_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert names_data("dair-ai/emotion:split@main")
    assert run_name("dair-ai/emotion:split@main") == "emotion"
    for path in ("data/emotion", "somebody/emotion.csv", "a/b/emotion"):
        with pytest.raises(BadInput, match="none of them"):
            names_data(path)


def test_a_file_wins_over_a_recipe_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text(ROWS, encoding="utf-8")
    assert names_data("quickstart")


def test_a_run_is_refused_with_the_recipe_to_name(tmp_path: Path) -> None:
    for name in ("manifest.json", "recipe.yaml"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(BadInput, match="a run of submillion.*recipe.yaml"):
        names_data(tmp_path)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("quickstrat", "quickstart"),
        ("reviws.csv", "reviews.csv"),
        ("x" * 300, "file or folder"),
        ("no/such.csv", ""),
        ("https://example.org/reviews.csv", "Download it"),
    ],
)
def test_a_word_that_names_nothing_gets_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text(ROWS, encoding="utf-8")
    with pytest.raises(BadInput, match="labelled texts, a recipe .auto, agnews.*none of them") as caught:
        names_data(word)
    assert len(caught.value.problems) == 1
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("reviews.csv", "reviews"),
        ("data/reviews.csv.gz", "reviews"),
        ("my reviews (2).xlsx", "my-reviews-2"),
        ("v1.2.jsonl", "v1.2"),
        ("отзывы.csv", "auto"),
        (".hidden.csv", "hidden"),
        ("ag_news", "ag_news"),
        ("x" * 240 + ".csv", "x" * 100),
    ],
)
def test_a_run_is_named_by_its_data(word: str, name: str) -> None:
    assert run_name(word) == name


def test_a_run_is_named_by_the_folder_even_if_that_is_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "letters").mkdir()
    monkeypatch.chdir(tmp_path / "letters")
    assert run_name(".") == "letters"
