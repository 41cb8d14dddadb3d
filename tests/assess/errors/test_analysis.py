"""Where a run fails: pairs, surest mistakes and slices of made predictions, by hand and at the edges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from submillion.assess.errors.analysis import (
    LIMITATIONS,
    analyse,
    confident_mistakes,
    confused_pairs,
    new_word_share,
    second_choice,
    shortened,
    words_of,
)
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


def saved(predicted: list[int] = PREDICTED) -> Predictions:
    # The second choice is the class after the answer; that of row 5 is 1, not the true 2.
    probabilities = spread(predicted, CONFIDENCE).astype(np.float32)
    return Predictions.of([f"id {row}" for row in range(6)], ["0" * 64] * 6, LABELS, probabilities, NAMES)


def test_pairs_by_hand() -> None:
    pairs = confused_pairs(saved(), NAMES)
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
    assert confused_pairs(saved(LABELS), NAMES) == []


def test_second_choice_by_hand() -> None:
    # Of the four mistakes only row 4 (true 1, answered 0) has the true class behind the answer.
    found = second_choice(saved())
    assert found is not None and (found["rows"], found["share"]) == (1, 0.25)
    assert found["share_interval"] == pytest.approx(interval(0.25, 0.0456, 0.6994), abs=1e-4)
    assert second_choice(saved(LABELS)) is None


def test_surest_mistakes_come_first_with_both_probabilities() -> None:
    texts = ["a", "b", "word " * 300, "d", "e", "f"]
    found = confident_mistakes(saved(), texts, NAMES)
    assert [entry["row"] for entry in found] == [5, 1, 4, 2]
    assert (found[0]["id"], found[0]["true"], found[0]["predicted"]) == ("id 5", "Business", "World")
    assert found[0]["probability"] == pytest.approx(0.99)
    assert found[0]["true_probability"] == pytest.approx(0.01 / 8)
    assert (found[0]["text"], found[0]["cut"]) == ("f", False)
    assert (found[3]["cut"], found[3]["characters"]) == (True, 1500)
    assert found[3]["text"].endswith("word…")
    assert len(found[3]["text"]) <= 600
    assert len(confident_mistakes(saved(), texts, NAMES, most=2)) == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short", "short"),
        ("0123456789", "0123456789"),
        ("01234567 9a", "01234567…"),
        ("0123456789ab", "012345678…"),  # no space near: cut anywhere
        ("12345678 abc", "12345678…"),
    ],
)
def test_a_text_is_cut_between_words(text: str, shown: str) -> None:
    assert shortened(text, 10) == shown


def test_new_words_are_counted_case_apart() -> None:
    assert words_of("It's 5 o'clock, ÉTÉ") == ["it", "s", "5", "o", "clock", "été"]
    assert new_word_share(["Goal goal New", "...", "new, goal"], {"goal"}).tolist() == [1 / 3, 0.0, 0.5]


def made_texts(rows: int) -> list[str]:
    """Return texts of 3 to 30 words; every fourth credits a source, every fifth has words never seen before."""
    texts = []
    for row in range(rows):
        words = [FILLERS[(row + place) % 40] for place in range(3 + row % 28)]
        if row % 5 == 0:
            words += ["never", "before"]
        texts.append(" ".join(words) + (" (Ourwire) - so" if row % 4 == 0 else ""))
    return texts


def test_slices_of_a_whole_run(run: RunDir) -> None:
    texts, rows = made_texts(400), 400
    labels = [row % 2 for row in range(rows)]
    # Whatever credits the source is answered wrong half of the time, the others always right.
    predicted = [1 - label if row % 8 == 0 else label for row, label in enumerate(labels)]
    credited = [text for row, text in enumerate(texts) if row % 4 == 0 and row % 5]
    train = [" ".join(FILLERS), *credited[:11]], [0] * 12
    context = again(run, (texts, labels), spread(predicted, [0.9] * rows), train)
    found = analyse(context)
    assert found == analyse(RunContext(run, corpus=context.corpus))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["split"], found["rows"], found["mistakes"], found["accuracy"]) == ("test", 400, 50, 0.875)
    assert found["pairs_in_all"] == len(found["pairs"]) == 1
    assert len(found["confident_mistakes"]) == 20
    kinds = found["slices"]
    assert {kind: made["limitations"] for kind, made in kinds.items()} == LIMITATIONS
    for made in kinds.values():
        assert sum(part["rows"] for part in made["slices"]) == rows
        assert sum(part["correct"] for part in made["slices"]) == 350
    assert len(kinds["length"]["slices"]) == 5
    source = {part["name"]: part for part in kinds["source"]["slices"]}
    assert set(source) == {"Ourwire", "no source seen"}
    assert (source["Ourwire"]["rows"], source["Ourwire"]["accuracy"]) == (100, 0.5)
    assert source["Ourwire"]["beyond_chance"] is True
    assert kinds["source"]["tests"] == 1
    cut = {part["name"]: part["rows"] for part in kinds["cut"]["slices"]}
    assert kinds["cut"]["facts"]["max_length"] == MAX_LENGTH
    assert kinds["cut"]["facts"]["rows_cut"] == rows - cut["read to the end"]
    # 16 tokens with two special ones: a text of 14 words is read to its end.
    longer = [len(text.replace("(", "( ").replace(")", " )").split()) for text in texts]
    assert cut["read to the end"] == sum(words <= MAX_LENGTH - 2 for words in longer)
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


def test_texts_without_sources_or_differences_have_no_slices(run: RunDir) -> None:
    found = analyse(again(run, (["goal coach"] * 40, [0] * 40), spread([0] * 40, [0.8] * 40)))
    assert {kind: len(made["slices"]) for kind, made in found["slices"].items()} == {
        "length": 0,
        "cut": 0,
        "source": 0,
        "novelty": 0,
    }


def test_rows_without_labels_are_refused(run: RunDir, tmp_path: Path) -> None:
    context = again(run, (["goal"], [0]), spread([0], [0.9]))
    context.run.save_predictions("test", Predictions.of(["a"], ["b"], None, spread([0], [0.9]), NAMES))
    with pytest.raises(BadInput, match="expected labels, to tell mistakes by"):
        analyse(RunContext(run, corpus=context.corpus))
