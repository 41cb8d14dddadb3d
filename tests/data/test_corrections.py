"""Corrections of training labels: matched by text and id, refused with their line, and nothing changed in silence."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from submillion import notices
from submillion.data.corpus import Corpus, load_corpus
from submillion.data.corrections import read_corrections
from submillion.errors import BadInput
from submillion.recipe import DataRecipe

ROWS = [(f"text number {number}", ("good", "bad")[number % 2]) for number in range(40)]
TWICE = "the same text"


def data_file(folder: Path) -> Path:
    file = folder / "reviews.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *ROWS, (TWICE, "good"), (TWICE, "good")])
    return file


def corrections_file(folder: Path, *lines: tuple[str, str, str, str]) -> Path:
    """Write lines of id, text, label and corrected label."""
    file = folder / "suspects.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "id", "label", "corrected_label", "text_sha256"))
        for row_id, text, label, corrected in lines:
            digest = hashlib.sha256(text.encode()).hexdigest()
            writer.writerow((text, row_id, label, corrected, digest))
    return file


def corpus_of(folder: Path, *lines: tuple[str, str, str, str]) -> Corpus:
    file = corrections_file(folder, *lines)
    recipe = DataRecipe(train=str(data_file(folder)), test="none", corrections=str(file))
    return load_corpus(recipe, 0, progress=False)


def labels_of(corpus: Corpus) -> dict[str, str]:
    return {
        f"{split.ids[row]} {split.texts[row]}": corpus.label_names[split.labels[row]]
        for split in corpus.splits
        for row in range(len(split))
    }


def test_labels_change_where_a_person_wrote_another_one_and_nowhere_else(tmp_path: Path) -> None:
    before = labels_of(
        load_corpus(DataRecipe(train=str(data_file(tmp_path)), test="none"), 0, progress=False)
    )
    with notices.collecting(quiet=True):
        corpus = corpus_of(
            tmp_path,
            ("0", "text number 0", "good", "Bad"),
            ("2", "text number 2", "good", ""),
            ("41", TWICE, "good", "bad"),
            ("changed by a spreadsheet", "text number 3", "bad", "drop"),
        )
    after = labels_of(corpus)
    assert after.keys() == before.keys() - {"3 text number 3"}
    changed = {row for row, label in after.items() if label != before[row]}
    assert changed == {"0 text number 0", f"41 {TWICE}"}
    facts = corpus.report["corrections"]
    assert (facts["file"], facts["changed"], facts["dropped"]) == ("suspects.csv", 2, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("0", "text number 0", "good", "bda"), r"suspects\.csv, line 3: .*'bda'.*Did you mean 'bad'\?"),
        (("0", "another text", "good", "bad"), r"suspects\.csv, line 3: .*no such text \(id '0'\)"),
        (("7", TWICE, "good", "bad"), r"suspects\.csv, line 3: .*no such text \(id '7'\)"),
        (("0", "text number 0", "bad", ""), r"line 3: expected 'good' in column 'label', as in the data"),
        (("1", "text number 1", "bad", "bad"), r"line 3: expected one correction of a row"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(
    tmp_path: Path, line: tuple[str, str, str, str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        corpus_of(tmp_path, ("1", "text number 1", "bad", "good"), line)


def test_a_file_without_a_correction_is_refused(tmp_path: Path) -> None:
    file = corrections_file(tmp_path, ("0", "text number 0", "good", ""))
    with pytest.raises(BadInput, match="a value in column 'corrected_label', found none"):
        read_corrections(file)


def test_codes_from_which_a_spreadsheet_took_the_zeros(tmp_path: Path) -> None:
    file = tmp_path / "codes.csv"
    rows = "".join(f"text number {row},{('007', '012')[row % 2]}\n" for row in range(20))
    file.write_text("text,label\n" + rows, encoding="utf-8")
    unchanged, corrected = ("0", "text number 0", "7", ""), ("2", "text number 2", "7", "012")
    recipe = DataRecipe(train=str(file), test="none")
    of_file = str(corrections_file(tmp_path, unchanged, corrected))
    corpus = load_corpus(recipe.model_copy(update={"corrections": of_file}), 0, progress=False)
    assert corpus.report["corrections"]["changed"] == 1
    of_file = str(corrections_file(tmp_path, ("1", "text number 1", "12", "7")))
    with pytest.raises(BadInput, match="Did you mean '007'. Spreadsheets remove zeros"):
        load_corpus(recipe.model_copy(update={"corrections": of_file}), 0, progress=False)
