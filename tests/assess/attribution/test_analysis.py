"""The part "attribution": selection of texts, their entries, and recomputation without a model."""

from __future__ import annotations

import copy
import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from submillion.assess.attribution import text_selection
from submillion.assess.attribution.analysis import DELETED, analyse, faithfulness, recheck
from submillion.assess.attribution.text_selection import EACH, MISTAKE, SURE, UNSURE, select_texts
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.seeds import mean_interval
from submillion.errors import BadInput
from submillion.run_format.interval import interval
from submillion.run_format.predictions import Predictions
from support.examined import again, examined, spread
from support.tiny import tiny_texts
from support.tiny_run import NAMES

# Not importorskip: every process of the tests would import it.
pytestmark = pytest.mark.skipif(find_spec("captum") is None, reason="captum is not installed")

ROWS = 40


def made(home: Path) -> RunContext:
    """Return a run that answered every third row wrong, surer by row."""
    texts, labels = tiny_texts(ROWS, max_words=20)
    predicted = [(label + (row % 3 == 0)) % 4 for row, label in enumerate(labels)]
    return examined(home, (texts, labels), spread(predicted, [0.5 + row / 100 for row in range(ROWS)]))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    return made(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def found(context: RunContext) -> dict[str, Any]:
    kept = json.dumps(analyse(context), allow_nan=False)
    value: dict[str, Any] = json.loads(kept)
    return value


def test_confident_mistakes_unsure_answers_and_one_of_each_class_are_selected(context: RunContext) -> None:
    chosen, skipped = select_texts(context)
    assert skipped == 0
    of = {kind: [row for row in chosen if chosen[row] == kind] for kind in (MISTAKE, UNSURE, SURE)}
    assert of[MISTAKE] == list(range(39, 15, -3))
    assert of[UNSURE] == [row for row in range(ROWS) if row % 3][:EACH]
    labels = context.predictions("test").labels
    assert sorted(labels[of[SURE]]) == [0, 1, 2, 3]
    for row in of[SURE]:
        assert row == max(other for other in range(ROWS) if other % 3 and labels[other] == labels[row])


def test_the_entry_of_a_text(context: RunContext, found: dict[str, Any]) -> None:
    assert (found["split"], found["rows"], found["baseline_token"]) == ("test", ROWS, "<unk>")
    assert len(found["texts"]) == 20
    saved, texts = context.predictions("test"), context.texts("test")
    for entry in found["texts"]:
        row = entry["row"]
        assert entry["id"] == f"test-{row}"
        assert entry["true"] == NAMES[saved.labels[row]]
        assert entry["predicted"] == NAMES[saved.predicted[row]]
        assert entry["probability"] == float(saved.probabilities[row].max())
        read = "".join(word for word, _ in entry["words"])
        assert texts[row].startswith(read)
        assert entry["cut"] == (read != texts[row]) == (len(texts[row].split()) > 14)
        assert entry["tokens"] == len(entry["words"]) + 2
        total = math.fsum(weight for _, weight in entry["words"])
        gain = entry["score"] - entry["baseline_score"]
        assert entry["completeness_error"] == pytest.approx(total - gain, abs=1e-9)
        odds = math.exp(entry["score"])
        assert entry["reference_probability"] == pytest.approx(odds / (1 + odds), abs=1e-5)
        assert [step["words"] for step in entry["deletions"]] == [
            count for count in DELETED if 2 * count <= len(entry["words"])
        ]
    assert found["completeness"]["texts"] == 20
    assert found["completeness"]["largest_share"] <= 0.05


def test_the_fall_is_that_of_the_classifier_without_the_word(
    context: RunContext, found: dict[str, Any]
) -> None:
    """The fall by one word is that of the classifier on the text without it."""
    from submillion.assess.attribution.integrated_gradients import Explainer

    explainer = Explainer(context)
    entry = found["texts"][0]
    words = [word for word, _ in entry["words"]]
    heaviest = max(range(len(words)), key=lambda place: entry["words"][place][1])
    rest = "".join(words[:heaviest] + words[heaviest + 1 :])
    ids = explainer.tokenizer(rest)["input_ids"]
    p = explainer.probabilities([ids], NAMES.index(entry["predicted"]))[0]
    assert entry["deletions"][0]["top"] == pytest.approx(entry["reference_probability"] - p, abs=1e-6)


def test_heavy_words_matter_more_than_random_ones(found: dict[str, Any]) -> None:
    curve = found["faithfulness"]["curve"]
    assert curve[1]["difference"]["value"] > 0
    for step in curve:
        difference = step["top"]["value"] - step["random"]["value"]
        assert step["difference"]["value"] == pytest.approx(difference)


def test_recheck_needs_no_classifier(
    context: RunContext, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from submillion.assess.attribution import integrated_gradients

    monkeypatch.setattr(integrated_gradients, "Explainer", None)
    fresh = RunContext(context.run, corpus=context.corpus)
    assert recheck(fresh, found) == found


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["texts"][0].update(probability=0.5),
        lambda found: found["texts"][0].update(true="Sports", id="other"),
        lambda found: found["texts"][2]["words"][0].__setitem__(0, "another "),
        lambda found: found["texts"][2]["words"][0].__setitem__(1, 9.5),
        lambda found: found["texts"][2]["words"].pop(),
        lambda found: found["texts"][1].update(score=0.0),
        lambda found: found["texts"][1]["deletions"][0].update(top=0.9),
        lambda found: found["texts"].pop(),
        lambda found: found["texts"].append(dict(found["texts"][0], row=1)),
        lambda found: found["texts"].clear(),
        lambda found: found["faithfulness"]["curve"][0]["top"].update(mean=0.9),
        lambda found: found["completeness"].update(mean_share=0.0),
    ],
)
def test_recheck_detects_changes(context: RunContext, found: dict[str, Any], change: Any) -> None:
    changed = copy.deepcopy(found)
    change(changed)
    assert recheck(context, changed) != changed


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found.pop("texts"),
        lambda found: found["texts"][0].pop("score"),
        lambda found: found["texts"][0].update(words=[["word"]]),
        lambda found: found["texts"][0].update(words=[["word", None]]),
        lambda found: found["texts"][0]["deletions"][0].pop("top"),
        lambda found: found["texts"][0].update(score="high"),
    ],
)
def test_a_damaged_analysis_is_refused(context: RunContext, found: dict[str, Any], damage: Any) -> None:
    damaged = copy.deepcopy(found)
    damage(damaged)
    with pytest.raises(BadInput, match="attribution.json: expected texts with words"):
        recheck(context, damaged)


def test_texts_that_cannot_be_explained_are_skipped(
    context: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = made(tmp_path)
    texts = ["", "goal", "goal coach", "orbit " * 30]
    few = again(context.run, (texts, [0, 0, 0, 0]), spread([0, 1, 0, 1], [0.9] * 4))
    monkeypatch.setattr(text_selection, "MAX_TOKENS", 10)
    assert select_texts(few) == ({2: UNSURE}, 3)
    (entry,) = analyse(few)["texts"]
    assert [word for word, _ in entry["words"]] == ["goal ", "coach"]
    none = again(context.run, (["", "a"], [0, 0]), spread([0, 1], [0.9] * 2))
    found = analyse(none)
    assert (found["texts"], found["completeness"], found["faithfulness"]["curve"]) == ([], None, [])
    assert recheck(none, found) == found
    none.run.save_predictions("test", Predictions.of(["a"], ["b"], None, spread([0], [0.9]), NAMES))
    with pytest.raises(BadInput, match="expected labelled rows, found unlabelled rows"):
        select_texts(RunContext(none.run, corpus=none.corpus))


def test_means_have_students_interval() -> None:
    values = [0.1, 0.4, -0.2, 0.3]
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx(interval(0.15, low, high))
    assert mean_interval([0.3]) == interval(0.3)


def test_faithfulness_by_hand() -> None:
    def step(words: int, top: float, random: float) -> dict[str, float]:
        return {"words": words, "top": top, "random": random}

    curve = faithfulness([[step(1, 0.5, 0.1), step(2, 0.6, 0.2)], [step(1, 0.3, 0.1)], []])["curve"]
    assert [(part["words"], part["texts"]) for part in curve] == [(1, 2), (2, 1)]
    assert curve[0]["top"]["value"] == pytest.approx(0.4)
    assert curve[0]["difference"]["value"] == pytest.approx(0.3)
    reach = 12.7062 * np.std([0.4, 0.2], ddof=1) / math.sqrt(2)
    assert curve[0]["difference"]["low"] == pytest.approx(0.3 - reach, abs=1e-4)
    assert curve[1]["top"] == interval(0.6)
