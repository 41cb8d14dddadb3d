"""Runs that read long texts by a rule: they are verified, predict as they were trained, and the rule cannot change."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

import submillion
from submillion import notices
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.model.trained import open_run_classifier
from submillion.report.card import write_card
from submillion.rundir import RunDir
from submillion.ship.predict import predict_file
from submillion.verification.run.checks import verify
from support.tampering import change_text
from support.tiny import tiny_texts
from support.trained import recipe_in

RULE = Truncation(9, "head_tail")
WINDOWS = Truncation(9, "all")


def trained_on_long_texts(home: Path, **fields: object) -> RunDir:
    """Train on texts whose class is at their ends only; the middle has no word of either class."""
    texts, labels = tiny_texts(60, min_words=6, max_words=8)
    for name, rows in (("train", range(48)), ("test", range(48, 60))):
        with (home / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            for row in rows:
                writer.writerow([f"{'word1 ' * 30}{texts[row]}", f"class {labels[row] % 2}"])
    fields |= {"data.train": str(home / "train.csv"), "data.test": str(home / "test.csv")}
    return RunDir.open(submillion.train(recipe_in(home, **fields), home / "run", quiet=True).path)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    fields = {"data.max_length": RULE.max_length, "data.windows": RULE.windows}
    return trained_on_long_texts(tmp_path_factory.mktemp("long"), **fields)


@pytest.fixture(scope="module")
def windows_run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Train on windows with cached lower layers, a head that starts from a probe, and a cross-validation."""
    fields = {
        "data.max_length": WINDOWS.max_length,
        "data.windows": WINDOWS.windows,
        "data.validation": "cross-validation",
        "data.folds": 2,
        "head.kind": "linear",
        "head.pooling": "mean",
        "head.start": "probe",
        "lora.layers": "top-1",
        "train.steps": 6,
        "train.patience": 0,
    }

    def without_figures(path: Path) -> None:
        run = RunDir(path)
        write_card(run)
        run.write_text(run.report, "no page")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("submillion.reporting.write_report", without_figures)
        return trained_on_long_texts(tmp_path_factory.mktemp("windows"), **fields)


@pytest.mark.usefixtures("without_pages")
def test_the_run_is_verified_and_its_manifest_has_the_rule(long_run: RunDir) -> None:
    tokens = long_run.read_manifest()["data"]["tokens"]
    assert {(split["windows"], split["truncated_share"]) for split in tokens.values()} == {("head_tail", 1.0)}
    verdict = verify(long_run.path, rows=6)
    assert {check.name for check in verdict.checks} >= {"data", "tokens", "predictions"}
    assert verdict.holds, verdict.render()


def test_new_texts_are_read_as_in_training(long_run: RunDir, tmp_path: Path) -> None:
    opened = open_run_classifier(long_run)
    assert opened.truncation == RULE
    beginning, end = "goal " * 30, "coach " * 30
    swapped = [f"{beginning}{end}", f"{beginning}treaty word1 {end}", f"{beginning}{beginning}"]
    one, same, other = opened.probabilities(swapped, 4)
    assert one.tolist() == same.tolist() != other.tolist()
    data = tmp_path / "new.csv"
    data.write_text("text\n" + "\n".join(swapped) + "\n")
    with notices.collecting(quiet=True):
        predict_file(long_run.path, data, tmp_path / "out.csv", progress=False)
        found = [notice["text"] for notice in notices.collected() if notice["code"] == "truncated_texts"]
    assert found == ["3 of 3 texts are longer than 9 tokens and lost their middle, as in training."]


def test_the_card_shows_code_that_reads_the_same_tokens(long_run: RunDir) -> None:
    card = write_card(long_run).read_text()
    lines = re.search(r"^ids = tokenizer.*?(?=^batch = )", card, re.MULTILINE | re.DOTALL)
    assert lines
    tokenizer = open_run_classifier(long_run).tokenizer
    for text in ("goal", " ".join(f"word{number}" for number in range(30))):
        names = {"tokenizer": tokenizer}
        exec(lines[0].replace("a text to label", text), names)
        assert names["ids"] == encode(tokenizer, [text], RULE)[0].tolist()
    assert "their middle is not read" in card


@pytest.mark.usefixtures("without_pages")
def test_another_rule_in_the_recipe_is_detected(long_run: RunDir) -> None:
    before = long_run.recipe.read_text()
    try:
        change_text(long_run.recipe, "windows: head_tail", "windows: first")
        failing = {check.name for check in verify(long_run.path, rows=6).failing}
    finally:
        long_run.recipe.write_text(before)
    assert failing >= {"tokens", "predictions"}


@pytest.mark.usefixtures("without_pages")
def test_a_run_on_windows_truncates_nothing_and_is_verified(windows_run: RunDir) -> None:
    tokens = windows_run.read_manifest()["data"]["tokens"]
    assert {(split["windows"], split["truncated"]) for split in tokens.values()} == {("all", 0)}
    assert all(split["tokens"] > 40 * split["rows"] for split in tokens.values())
    verdict = verify(windows_run.path, rows=6)
    assert {check.name for check in verdict.checks} >= {"data", "tokens", "predictions", "baselines"}
    assert verdict.holds, verdict.render()
    card = windows_run.card.read_text()
    assert "are read in windows whose features are averaged" in card


def test_windows_of_new_texts_are_read_as_in_training(windows_run: RunDir, tmp_path: Path) -> None:
    opened = open_run_classifier(windows_run)
    beginning, end = "goal " * 30, "coach " * 30
    plain, changed = opened.probabilities([f"{beginning}{end}", f"{beginning}treaty word1 {end}"], 4)
    assert plain.tolist() != changed.tolist(), "the middle is read"
    data = tmp_path / "new.csv"
    data.write_text(f"text\n{beginning}{end}\n")
    with notices.collecting(quiet=True):
        predict_file(windows_run.path, data, tmp_path / "out.csv", progress=False)
        assert not [notice for notice in notices.collected() if notice["code"] == "truncated_texts"]
