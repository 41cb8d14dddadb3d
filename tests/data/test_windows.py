"""Windows: every token of a long text is read, and every part of the package counts the same tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from submillion import notices
from submillion.assess.visible_span import visible_spans
from submillion.data.token_report import token_report, unknown_tokens
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode, tokenize
from submillion.data.truncation import Truncation
from submillion.errors import BadInput
from support.examined import examined, spread
from support.tiny import shared_encoder

LONG = " ".join(f"word{index}" for index in range(30))
TEXTS = ["", "word1 goal", LONG, LONG[:60]]


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("length", [3, 5, 8, 9, 31, 32])
def test_windows_of_equal_length_hold_every_token_once(family: str, side: str, length: int) -> None:
    tokenizer = load_tokenizer(shared_encoder(family))
    tokenizer.truncation_side = side
    tokens = encode(tokenizer, TEXTS, Truncation(length, "all"))
    assert not tokens.truncated
    assert tokens.windows is not None
    windows, row = tokens.as_windows(), 0
    assert windows.offsets[-1] == tokens.offsets[-1]
    for text, count in zip(TEXTS, tokens.windows.counts, strict=True):
        whole = tokenizer(text)["input_ids"]
        assert count == max(1, -(-(len(whole) - 2) // (length - 2)))
        own = [windows[row + number].tolist() for number in range(count)]
        assert [token for window in own for token in window[1:-1]] == whole[1:-1]
        assert {(window[0], window[-1]) for window in own} == {(whole[0], whole[-1])}
        sizes = [len(window) for window in own]
        assert max(sizes) <= length
        assert sizes[:-1] == [sizes[0]] * (count - 1)
        assert 0 <= sizes[0] - sizes[-1] < count
        row += count


def test_some_texts_have_their_own_windows() -> None:
    tokenizer = load_tokenizer(shared_encoder("bert"))
    rule = Truncation(8, "all")
    tokens, rows = encode(tokenizer, TEXTS, rule), [2, 0, 3, 2]
    taken, alone = tokens.take(rows), encode(tokenizer, [TEXTS[row] for row in rows], rule)
    assert taken.ids.tolist() == alone.ids.tolist()
    assert taken.windows and alone.windows
    assert taken.windows.counts.tolist() == alone.windows.counts.tolist()
    assert taken.windows.lengths.tolist() == alone.windows.lengths.tolist()


def test_the_cache_returns_the_windows_and_refuses_lengths_that_contradict_them(tmp_path: Path) -> None:
    tokenizer, rule = load_tokenizer(shared_encoder("bert")), Truncation(8, "all")
    first, again = (tokenize(tokenizer, TEXTS, rule, tmp_path) for _ in range(2))
    for tokens in (first, again):
        assert tokens.ids.tolist() == encode(tokenizer, TEXTS, rule).ids.tolist()
        assert tokens.windows and tokens.windows.counts.tolist() == [1, 1, 5, 2]
    assert not notices.collected()
    from submillion.data.token_cache import _agree

    assert _agree(first.lengths, first.full_lengths, rule, 2)
    assert not _agree(first.lengths + 1, first.full_lengths, rule, 2)
    assert not _agree(first.lengths, np.zeros_like(first.full_lengths), rule, 2)


def test_the_report_counts_windows_and_no_truncated_text() -> None:
    tokenizer, rule = load_tokenizer(shared_encoder("bert")), Truncation(8, "all")
    texts = ["goal zzzz", LONG]
    tokens = {"train": encode(tokenizer, texts, rule)}
    report = token_report(tokenizer, tokens, {"train": texts}, rule)
    assert (report["train"]["windows"], report["train"]["truncated"]) == ("all", 0)
    assert report["train"]["tokens"] == 4 + 30 + 5 * 2
    emitted = [notice["text"] for notice in notices.collected() if notice["code"] == "windows"]
    assert emitted == [
        "read in several windows, whose features are averaged: 1 of 2 train texts (at most 5 windows)."
    ]
    unknown = unknown_tokens(tokenizer, tokens["train"])
    assert (unknown.tokens, unknown.unknown) == (32, 1)


def test_the_whole_text_is_visible(tmp_path: Path) -> None:
    context = examined(tmp_path, ([LONG, "coach"], [0] * 2), spread([0] * 2, [0.9] * 2))
    data = context.recipe.data.model_copy(update={"max_length": 8, "windows": "all"})
    context.__dict__["recipe"] = context.recipe.model_copy(update={"data": data})
    assert visible_spans(context, [LONG, "goal", ""]) == [[(0, len(LONG))], [(0, 4)], [(0, 0)]]


def test_a_window_without_room_is_refused() -> None:
    tokenizer = load_tokenizer(shared_encoder("bert"))
    with pytest.raises(BadInput, match="room for a token beside the special ones"):
        encode(tokenizer, TEXTS, Truncation(2, "all"))
