"""Out-of-domain texts: their selection, the confidence of the answers, and the area with its interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from submillion.assess.audit.out_of_domain import (
    MAX_SHUFFLED,
    OutOfDomainText,
    domain_confidence,
    less_sure,
    out_of_domain_texts,
)
from submillion.assess.audit.wordlists import AuditWords, read_words
from submillion.assess.visible_span import visible_spans
from submillion.run_format.interval import interval
from support.examined import again, examined, spread
from support.tiny_run import MAX_LENGTH, NAMES

WORDS = AuditWords((), {"recipes": ("Stir well.",)}, {"German": ("Guten Morgen.", "Gute Nacht.")}, {})


def probabilities(*rows: tuple[int, float]) -> np.ndarray:
    return spread([answer for answer, _ in rows], [sure for _, sure in rows])


def test_the_texts_that_are_read(tmp_path: Path) -> None:
    texts = [f"word1 word{row} treaty goal coach" for row in range(130)] + ["word1", "", "word1 treaty"]
    context = examined(tmp_path, (texts, [0] * 133), spread([0] * 133, [0.9] * 133))
    found = out_of_domain_texts(context, WORDS)
    assert found == out_of_domain_texts(context, WORDS)
    assert [text.set for text in found[:3]] == ["outside", "foreign", "foreign"]
    assert (found[-1].set, found[-1].text) == ("empty", "")
    shuffled = [text for text in found if text.set == "shuffled"]
    assert len(shuffled) == MAX_SHUFFLED == len({text.number for text in shuffled})
    assert all(sorted(text.text.split()) == sorted(texts[text.number].split()) for text in shuffled)
    assert any(text.text != texts[text.number] for text in shuffled)
    assert all(text.kind == f"test-{text.number}" for text in shuffled)
    assert len({text.id for text in found}) == len(found)


def test_only_words_that_are_read_are_shuffled_and_equal_texts_once(tmp_path: Path) -> None:
    long = " ".join(f"word{index}" for index in range(40))
    context = examined(tmp_path, ([long, long, "word1 word2"], [0] * 3), spread([0] * 3, [0.9] * 3))
    [(start, end)], *_ = visible_spans(context, [long])
    seen = long[start:end].split()
    assert seen == long.split()[: MAX_LENGTH - 2]
    shuffled = [text for text in out_of_domain_texts(context, WORDS) if text.set == "shuffled"]
    assert [text.number for text in shuffled] == [0]
    assert sorted(shuffled[0].text.split()) == sorted(seen)


def test_short_texts_are_not_shuffled(tmp_path: Path) -> None:
    context = examined(tmp_path, (["word1 word2 word3", ""], [0, 0]), spread([0, 0], [0.9, 0.9]))
    assert not [text for text in out_of_domain_texts(context, WORDS) if text.set == "shuffled"]
    context = again(context.run, (["a b c d"], [0]), spread([0], [0.9]))
    assert len([text for text in out_of_domain_texts(context, WORDS) if text.set == "shuffled"]) == 1


def test_visible_spans_of_empty_and_foreign_texts(tmp_path: Path) -> None:
    context = examined(tmp_path, (["word1"], [0]), spread([0], [0.9]))
    text = "word1 word2"
    assert visible_spans(context, ["", text]) == [[(0, 0)], [(0, len(text))]]
    foreign = [text for texts in read_words(context.run)[0].foreign.values() for text in texts]
    spans = visible_spans(context, foreign)
    assert all(0 <= start <= end <= len(text) for text, [(start, end)] in zip(foreign, spans, strict=True))


def test_confidence_by_hand() -> None:
    inside = probabilities((0, 0.95), (0, 0.97), (1, 0.8), (1, 0.9))
    outside_texts = [
        OutOfDomainText("outside", "recipes", 0, "a"),
        OutOfDomainText("outside", "recipes", 1, "b"),
        OutOfDomainText("outside", "code", 0, "c"),
        OutOfDomainText("shuffled", "test-0", 0, "d"),
        OutOfDomainText("shuffled", "test-2", 2, "e"),
        OutOfDomainText("empty", "", 0, ""),
    ]
    other = probabilities((2, 0.6), (2, 0.96), (0, 0.5), (0, 0.9), (0, 0.7), (3, 0.6))
    found = domain_confidence(outside_texts, other, inside, NAMES, 0.55)
    sets = {part["set"]: part for part in found["sets"]}
    assert list(sets) == ["inside", "outside", "shuffled", "empty"]
    outside = sets["outside"]
    assert (outside["texts"], outside["above"]["texts"], outside["answered"]["texts"]) == (3, 1, 2)
    assert (outside["median"], outside["mean"]) == pytest.approx((0.6, (0.6 + 0.96 + 0.5) / 3))
    assert outside["answers"] == {NAMES[2]: 2, NAMES[0]: 1} and next(iter(outside["answers"])) == NAMES[2]
    assert [(kind["kind"], kind["texts"], kind["above"]) for kind in outside["kinds"]] == [
        ("recipes", 2, 1),
        ("code", 1, 0),
    ]
    # Row 0 keeps its answer, row 2 does not.
    assert (sets["shuffled"]["kept"]["texts"], sets["shuffled"]["kept"]["share"]) == (1, 0.5)
    # Of 4 x 3 pairs, 0.6 and 0.5 are below all four, 0.96 below one.
    assert outside["less_sure"]["value"] == pytest.approx(9 / 12)
    assert "less_sure" not in sets["empty"] and sets["empty"]["answers"] == {NAMES[3]: 1}
    assert all(part["too_small"] for part in sets.values())
    without = domain_confidence(outside_texts, other, inside, NAMES, None)
    assert all(part["answered"] is None for part in without["sets"])


def test_the_area_is_that_of_the_roc_curve() -> None:
    rng = np.random.default_rng(2)
    inside, outside = rng.beta(8, 2, 300).round(2), rng.beta(4, 3, 80).round(2)  # rounded: there are ties
    truth = np.r_[np.ones(300), np.zeros(80)]
    expected = roc_auc_score(truth, np.r_[inside, outside])
    assert less_sure(inside, outside)["value"] == pytest.approx(expected)


def test_its_interval_has_its_nominal_coverage() -> None:
    """Of normal samples the true area is known: 0.5 at no difference; 95 % of intervals are to hold it."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(400):
        found = less_sure(rng.normal(size=80), rng.normal(size=40))
        held += found["low"] <= 0.5 <= found["high"]
    assert 0.92 <= held / 400 <= 0.98


def test_one_text_has_the_widest_interval() -> None:
    assert less_sure(np.array([0.9, 0.8]), np.array([0.5])) == interval(1.0, 0.0, 1.0)
