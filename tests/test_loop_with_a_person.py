"""The loop with a person: suspects are written, corrected and trained on; texts to label next are suggested."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import submillion
from submillion import Run
from submillion.cli import app
from submillion.data.corpus import load_corpus
from submillion.data.readers import read_rows
from submillion.errors import BadInput
from submillion.ship.suggest import choose
from support.tiny import FILLERS, KEYWORDS
from support.trained import recipe_in

WORDS = {"sport": (*KEYWORDS["Sports"], *FILLERS[:3]), "money": (*KEYWORDS["Business"], *FILLERS[3:6])}
"""Words that the tiny tokenizer knows."""
WRONG = (5, 17)
"""Rows of the data file, from 0, whose label is wrong."""


def write(file: Path, rows: list[list[str]]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return file


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def texts(count: int, seed: int) -> list[list[str]]:
    rng = random.Random(seed)
    names = [tuple(WORDS)[row % 2] for row in range(count)]
    return [[" ".join(rng.choices(WORDS[name], k=6)), name] for name in names]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a file in which the labels of two rows are wrong."""
    home = tmp_path_factory.mktemp("loop")
    rows = texts(80, 0)
    for row in WRONG:
        rows[row][1] = "sport" if rows[row][1] == "money" else "money"
    rows[WRONG[0]][0] = "=" + rows[WRONG[0]][0]  # a formula, for a spreadsheet
    write(home / "reviews.csv", [["review", "topic"], *rows])
    fields = {"data.train": home / "reviews.csv", "data.text": "review", "data.label": "topic"}
    recipe = recipe_in(home, **fields, **{"data.test": "none", "data.validation_size": 0.05})
    return submillion.train(recipe, home / "run", report=False, quiet=True)


def test_wrong_labels_are_written_corrected_and_trained_on(run: Run, tmp_path: Path) -> None:
    suspects = tmp_path / "suspects.csv"
    with pytest.raises(BadInput, match="the part 'noise', found none"):
        run.report(out=suspects, quiet=True)
    run.report(["noise"], out=suspects, quiet=True)
    with pytest.raises(BadInput, match="a file that does not exist yet"):
        run.report(out=suspects, quiet=True)
    lines = read(suspects)
    places = {line["place"]: line for line in lines}
    wrong = [places[f"reviews.csv, line {row + 2}"] for row in WRONG]  # line 1 is the header
    assert wrong[0]["text"].startswith("'=")
    assert all(line["suggested_label"] != line["label"] and line["corrected_label"] == "" for line in lines)
    assert all(line["why"].startswith("A model trained without this row gives") for line in wrong)
    for line in wrong:
        line["corrected_label"] = line["suggested_label"]
    write(suspects, [list(lines[0]), *(list(line.values()) for line in wrong)])

    recipe = run.recipe.with_overrides([f"data.corrections={suspects}"])
    corrected = submillion.train(recipe, tmp_path / "corrected", report=False, quiet=True)
    facts = corrected._dir.read_manifest()["data"]["corrections"]
    assert (facts["changed"], facts["dropped"]) == (2, 0)
    suspects.unlink()  # the run has a copy
    verdict = submillion.verify(corrected, rows=0)
    assert {check.holds for check in verdict.checks if check.name == "data"} == {True}
    corrected.report(["noise"], out=tmp_path / "next.csv", quiet=True)
    carried = [line for line in read(tmp_path / "next.csv") if line["corrected_label"]]
    assert {line["text_sha256"] for line in carried} == {line["text_sha256"] for line in wrong}


def test_a_corrected_row_whose_id_a_spreadsheet_changed_is_not_listed_again(run: Run, tmp_path: Path) -> None:
    run.report(["noise"], out=tmp_path / "suspects.csv", quiet=True)
    lines = read(tmp_path / "suspects.csv")
    for line in lines:
        line["id"] = f"{line['id']}.0"
        line["corrected_label"] = line["label"]  # right as it is, so the next model suspects the same rows
    write(tmp_path / "suspects.csv", [list(lines[0]), *(list(line.values()) for line in lines)])
    recipe = run.recipe.with_overrides([f"data.corrections={tmp_path / 'suspects.csv'}"])
    second = submillion.train(recipe, tmp_path / "second", report=False, quiet=True)
    second.report(["noise"], out=tmp_path / "next.csv", quiet=True)
    listed = [line["text_sha256"] for line in read(tmp_path / "next.csv")]
    assert len(listed) == len(set(listed))
    assert {line["text_sha256"] for line in lines} <= set(listed)


def test_suggestions_are_new_texts_with_an_empty_label(run: Run, tmp_path: Path) -> None:
    known = [row["review"] for row in read(run.path.parent / "reviews.csv")][:20]
    new = [row[0] for row in texts(60, 1)]
    file = write(tmp_path / "more.csv", [["review"], *([text] for text in [*known, *new, *new[:5], " "])])
    assert run.suggest(file, tmp_path / "a.csv", rows=10, quiet=True) == 10
    lines = read(tmp_path / "a.csv")
    chosen = [line["review"] for line in lines]
    assert len(set(chosen)) == 10 and set(chosen) <= set(new) - set(known)
    assert {line["topic"] for line in lines} == {""}
    assert [line["predicted_label"] for line in lines] == run.predict(chosen)
    run.suggest(file, tmp_path / "b.csv", rows=10, quiet=True)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    few = write(tmp_path / "few.csv", [["review"], *([text] for text in known)])
    with pytest.raises(BadInput, match="texts that the run does not know, found none"):
        run.suggest(few, tmp_path / "c.csv", quiet=True)


@pytest.mark.parametrize(
    ("text", "label", "header"),
    [
        (["subject", "body"], "confidence", "id,subject,body,predicted_label,run_confidence,confidence"),
        (["id"], "predicted_label", "run_id,id,run_predicted_label,confidence,predicted_label"),
    ],
)
def test_suggestions_train_together_with_the_first_file(
    run: Run, tmp_path: Path, text: list[str], label: str, header: str
) -> None:
    """Of several text columns the first has the whole text; no name is there twice."""
    rows = [[*row[0].split(" ", len(text) - 1), row[1]] for row in texts(60, 0)]
    data = tmp_path / "data"
    data.mkdir()
    write(data / "train-1.csv", [[*text, label], *rows])
    fields = {"data.train": data / "train-1.csv", "data.text": f"[{','.join(text)}]", "data.label": label}
    fields |= {"data.test": "none", "train.epochs": 1}
    recipe = recipe_in(run.path.parent, **fields)
    own = submillion.train(recipe, tmp_path / "run", report=False, quiet=True)
    (tmp_path / "more.txt").write_text("".join(f"{row[0]}\n" for row in texts(30, 1)), encoding="utf-8")
    own.suggest(tmp_path / "more.txt", data / "train-2.csv", rows=4, quiet=True)
    lines = read(data / "train-2.csv")
    assert ",".join(lines[0]) == header
    chosen = [line[text[0]] for line in lines]
    write(
        data / "train-2.csv", [list(lines[0]), *(list((line | {label: "sport"}).values()) for line in lines)]
    )
    read_again = read_rows([data / "train-1.csv", data / "train-2.csv"], text, label)
    assert list(read_again.texts) == [row[0] for row in texts(60, 0)] + chosen
    further = recipe.with_overrides([f"data.more={data / 'train-2.csv'}"])
    corpus = load_corpus(further.data, recipe.seed)
    assert sorted([*corpus.train.texts, *corpus.validation.texts]) == sorted(read_again.texts)


def test_the_command_says_what_to_do_with_its_suggestions(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "more.csv", [["review"], *([row[0]] for row in texts(9, 1))])
    out = tmp_path / "to label.csv"
    done = CliRunner().invoke(app, ["suggest", str(run.path), str(file), "--rows", "4", "--out", str(out)])
    assert done.exit_code == 0
    assert f"4 rows -> {out}\nfill in the labels, then train again with --more '{out}'\n" in done.stderr


def test_the_chosen_texts_differ_from_each_other() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(4) * 10
    features = np.concatenate([centres[group] + rng.normal(0, 0.1, (25, 4)) for group in range(4)])
    chosen = choose(features.astype(np.float32), [0.1] * 100, 4, seed=0)
    assert sorted(index // 25 for index in chosen) == [0, 1, 2, 3]
    assert len(choose(np.ones((9, 2), np.float32), [0.5] * 9, 4, seed=0)) == 4
