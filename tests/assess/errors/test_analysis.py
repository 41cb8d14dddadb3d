"""The part "errors": pairs, confident mistakes and slices of made predictions, by hand and at the edges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from submillion.assess.errors.analysis import analyse
from submillion.assess.errors.mistakes import confident_mistakes, confused_pairs, second_choice
from submillion.assess.errors.row_groups import by_column, casefolded_words, new_word_share
from submillion.assess.run_context import RunContext
from submillion.errors import BadInput
from submillion.run_format.interval import interval
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from support.examined import again, examined, spread
from support.intervals import limits
from support.tiny import FILLERS
from support.tiny_run import MAX_LENGTH, NAMES

LABELS = [0, 0, 0, 1, 1, 2]
PREDICTED = [0, 1, 1, 1, 0, 0]
CONFIDENCE = [0.9, 0.8, 0.6, 0.9, 0.7, 0.99]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return examined(tmp_path_factory.mktemp("run"), (["goal"], [0]), spread([0], [0.9])).run


TRUTH = np.array(LABELS)


def saved(predicted: list[int] = PREDICTED) -> Predictions:
    # The second choice is the class after the answer; that of row 5 is 1, not the true 2.
    probabilities = spread(predicted, CONFIDENCE).astype(np.float32)
    return Predictions.of([f"id {row}" for row in range(6)], ["0" * 64] * 6, LABELS, probabilities, NAMES)


def test_pairs_by_hand() -> None:
    pairs = confused_pairs(saved(), TRUTH, NAMES)
    assert [(pair["true"], pair["predicted"], pair["rows"]) for pair in pairs] == [
        ("World", "Sports", 2),
        ("Sports", "World", 1),
        ("Business", "World", 1),
    ]
    first = pairs[0]
    assert (first["class_rows"], first["share"], first["share_of_mistakes"]) == (3, 2 / 3, 0.5)
    assert first["mean_confidence"] == pytest.approx(0.7)
    low, high = limits(first["share_interval"])
    assert low < 2 / 3 < high
    assert confused_pairs(saved(LABELS), TRUTH, NAMES) == []


def test_second_choice_by_hand() -> None:
    # Of the four mistakes only row 4 (true 1, answered 0) has the true class behind the answer.
    found = second_choice(saved(), TRUTH)
    assert found is not None and (found["rows"], found["share"]) == (1, 0.25)
    assert found["share_interval"] == pytest.approx(interval(0.25, 0.0456, 0.6994), abs=1e-4)
    assert second_choice(saved(LABELS), TRUTH) is None


def test_the_most_confident_mistakes_come_first_with_both_probabilities() -> None:
    texts = ["a", "b", "word " * 300, "d", "e", "f"]
    found = confident_mistakes(saved(), TRUTH, texts, NAMES)
    assert [entry["row"] for entry in found] == [5, 1, 4, 2]
    assert (found[0]["id"], found[0]["true"], found[0]["predicted"]) == ("id 5", "Business", "World")
    assert found[0]["probability"] == pytest.approx(0.99)
    assert found[0]["true_probability"] == pytest.approx(0.01 / 8)
    assert (found[0]["text"], found[0]["cut"]) == ("f", False)
    assert (found[3]["cut"], found[3]["characters"]) == (True, 1500)
    assert found[3]["text"].endswith("word…")
    assert len(found[3]["text"]) <= 600
    assert len(confident_mistakes(saved(), TRUTH, texts, NAMES, max_mistakes=2)) == 2


def test_new_words_are_counted_ignoring_case() -> None:
    assert casefolded_words("It's 5 o'clock, ÉTÉ") == ["it", "s", "5", "o", "clock", "été"]
    assert new_word_share(["Goal goal New", "...", "new, goal"], {"goal"}).tolist() == [1 / 3, 0.0, 0.5]


def made_texts(rows: int) -> list[str]:
    """Return texts of 3 to 30 words; every fifth has words never seen before."""
    texts = []
    for row in range(rows):
        words = [FILLERS[(row + place) % 40] for place in range(3 + row % 28)]
        if row % 5 == 0:
            words += ["never", "before"]
        texts.append(" ".join(words))
    return texts


def test_slices_of_a_whole_run(run: RunDir) -> None:
    texts, rows = made_texts(400), 400
    labels = [row % 2 for row in range(rows)]
    # Rows of one source are answered wrong half of the time, the others always right.
    predicted = [1 - label if row % 8 == 0 else label for row, label in enumerate(labels)]
    sources = ["wire" if row % 4 == 0 else ("", "blog", "paper")[row % 3] for row in range(rows)]
    train = [" ".join(FILLERS)], [0]
    context = again(run, (texts, labels), spread(predicted, [0.9] * rows), train, {"source": sources})
    found = analyse(context)
    assert found == analyse(RunContext(run, corpus=context.corpus))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["split"], found["rows"], found["mistakes"], found["accuracy"]) == ("test", 400, 50, 0.875)
    assert found["pairs_in_all"] == len(found["pairs"]) == 1
    assert len(found["confident_mistakes"]) == 20
    kinds = found["slices"]
    assert list(kinds) == ["length", "cut", "novelty", "column source"]
    assert all(made["limitations"] for made in kinds.values())
    for made in kinds.values():
        assert sum(part["rows"] for part in made["slices"]) == rows
        assert sum(part["correct"] for part in made["slices"]) == 350
    assert len(kinds["length"]["slices"]) == 5
    assert kinds["column source"]["title"] == "Column 'source'"
    source = {part["name"]: part for part in kinds["column source"]["slices"]}
    assert set(source) == {"wire", "(empty)", "blog", "paper"}
    assert (source["wire"]["rows"], source["wire"]["accuracy"]) == (100, 0.5)
    assert source["wire"]["beyond_chance"] is True
    assert kinds["column source"]["tests"] == 4
    cut = {part["name"]: part["rows"] for part in kinds["cut"]["slices"]}
    assert kinds["cut"]["facts"]["max_length"] == MAX_LENGTH
    assert kinds["cut"]["facts"]["rows_cut"] == rows - cut["read completely"]
    # 16 tokens with two special ones: a text of 14 words is read to its end.
    longer = [len(text.split()) for text in texts]
    assert cut["read completely"] == sum(words <= MAX_LENGTH - 2 for words in longer)
    novelty = kinds["novelty"]
    assert novelty["facts"]["rows_with_new_words"] == 80
    assert "% new words" in novelty["slices"][-1]["name"]


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_few_rows_all_right_or_all_wrong(run: RunDir, rows: int) -> None:
    texts = ["", "goal", "coach goal", "orbit", "goal", "a (b) - c", "treaty"][:rows]
    for predicted in ([0] * rows, [1] * rows):
        found = analyse(again(run, (texts, [0] * rows), spread(predicted, [0.6] * rows)))
        json.dumps(found, allow_nan=False)
        assert found["mistakes"] == rows * predicted[0]
        assert len(found["pairs"]) == predicted[0]
        parts = [part for kind in found["slices"].values() for part in kind["slices"]]
        assert {part["beyond_chance"] for part in parts} <= {None}
        assert all(part["too_small"] for part in parts)


def test_texts_that_are_all_alike_have_no_slices(run: RunDir) -> None:
    found = analyse(again(run, (["goal coach"] * 40, [0] * 40), spread([0] * 40, [0.8] * 40)))
    assert {kind: len(made["slices"]) for kind, made in found["slices"].items()} == {
        "length": 0,
        "cut": 0,
        "novelty": 0,
    }


def test_rows_without_labels_are_refused(run: RunDir, tmp_path: Path) -> None:
    context = again(run, (["goal"], [0]), spread([0], [0.9]))
    context.run.save_predictions("test", Predictions.of(["a"], ["b"], None, spread([0], [0.9]), NAMES))
    with pytest.raises(BadInput, match="expected labelled rows, found unlabelled rows"):
        analyse(RunContext(run, corpus=context.corpus))


def test_rare_and_surplus_values_of_a_column_are_one_group() -> None:
    values = (
        [f"value {number}" for number in range(14) for _ in range(30 + number)] + ["rare"] * 3 + [""] * 40
    )
    made = by_column("kind", values)
    assert list(made.groups)[:3] == ["value 13", "value 12", "value 11"]
    assert "(empty)" in made.groups and "value 0" not in made.groups
    assert int(made.groups["other values"].sum()) == 30 + 31 + 32 + 3
    assert len(made.groups) == 13 and made.facts == {"values": 16, "other_values": 4}
    assert sum(int(mask.sum()) for mask in made.groups.values()) == len(values)
    # A single other value keeps its name.
    assert list(by_column("kind", ["a"] * 30 + ["b"]).groups) == ["a", "b"]
