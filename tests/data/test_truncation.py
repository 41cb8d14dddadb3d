"""Head and tail: the tokens of a long text that are read, and every part of the analysis that must agree on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.assess.attribution.token_words import split_words
from submillion.assess.audit.out_of_domain import out_of_domain_texts
from submillion.assess.audit.wordlists import AuditWords
from submillion.assess.visible_span import visible_spans
from submillion.data.token_report import token_report
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode, tokenize
from submillion.data.truncation import Truncation
from submillion.recipe import Recipe
from support.examined import examined, spread
from support.tiny import shared_encoder

LONG = " ".join(f"word{index}" for index in range(30))


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("length", [4, 5, 8, 9, 31])
def test_half_of_the_tokens_are_from_the_beginning_and_half_from_the_end(
    family: str, side: str, length: int
) -> None:
    tokenizer = load_tokenizer(shared_encoder(family))
    tokenizer.truncation_side = side
    tokens = encode(tokenizer, ["", "word1 goal", LONG], Truncation(length, "head_tail"))
    whole = tokenizer(LONG)["input_ids"]
    assert tokens[0].tolist() == tokenizer("")["input_ids"]
    assert tokens[1].tolist() == tokenizer("word1 goal", truncation=True, max_length=length)["input_ids"]
    room = length - 2
    head, tail = (room + 1) // 2, room // 2
    assert tokens[2].tolist() == [whole[0], *whole[1 : 1 + head], *whole[len(whole) - 1 - tail :]]
    assert tokens.full_lengths.tolist() == [2, 4, 32] and tokens.truncated == 1


def test_a_text_of_exactly_the_longest_input_is_read_completely() -> None:
    tokenizer = load_tokenizer(shared_encoder("bert"))
    tokens = encode(tokenizer, [LONG], Truncation(32, "head_tail"))
    assert tokens[0].tolist() == tokenizer(LONG)["input_ids"] and not tokens.truncated


def test_the_cache_tells_the_rules_apart(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(shared_encoder("bert"))
    rules = Truncation(8), Truncation(8, "head_tail")
    for _ in range(2):
        first, both = (tokenize(tokenizer, [LONG], rule, tmp_path)[0].tolist() for rule in rules)
        assert first == encode(tokenizer, [LONG], rules[0])[0].tolist()
        assert both == encode(tokenizer, [LONG], rules[1])[0].tolist() != first


def test_the_report_names_the_rule_and_counts_texts_without_their_middle() -> None:
    tokenizer, rule = load_tokenizer(shared_encoder("bert")), Truncation(8, "head_tail")
    tokens = {"train": encode(tokenizer, [LONG, "goal"], rule)}
    with notices.collecting(quiet=True):
        report = token_report(tokenizer, tokens, {"train": [LONG, "goal"]}, rule)["train"]
        text = " ".join(str(one["text"]) for one in notices.collected())
    assert (report["windows"], report["truncated"], report["tokens"]) == ("head_tail", 1, 8 + 3)
    assert "texts longer than 8 tokens lose their middle: 50.0% of train." in text


@pytest.mark.parametrize("text", [LONG, f"  {LONG.replace(' ', '   ')}  ", "goal/" * 20])
@pytest.mark.parametrize("length", [6, 9])
def test_no_word_reaches_into_the_middle_that_is_not_read(text: str, length: int) -> None:
    tokenizer, rule = load_tokenizer(shared_encoder("bert")), Truncation(length, "head_tail")
    found = split_words(tokenizer, text, rule)
    assert found.cut and found.ids == encode(tokenizer, [text], rule)[0].tolist()
    assert [place for place, word in enumerate(found.word_of) if word == -1] == [0, length - 1]
    read = "".join(found.words)
    head, _ = rule.head_tail
    first = found.words[: found.word_of[head - 1] + 1]
    assert text.startswith("".join(first)) and text.endswith(read[len("".join(first)) :])
    assert found.word_of[head] == len(first)  # the end begins with a word of its own
    assert len(read) < len(text) and found.gap == len(first)


def test_audits_use_only_what_is_read(tmp_path: Path) -> None:
    middle = " ".join(["word1 word2", *["goal"] * 40, "word3 word4"])
    context = examined(tmp_path, ([middle, "coach"], [0] * 2), spread([0] * 2, [0.9] * 2))
    data = context.recipe.data.model_copy(update={"max_length": 6, "windows": "head_tail"})
    context.__dict__["recipe"] = context.recipe.model_copy(update={"data": data})
    spans, other = visible_spans(context, [middle, "coach"])
    assert [middle[start:end] for start, end in spans] == ["word1 word2", "word3 word4"]
    assert other == [(0, 5)]
    shuffled = [
        one for one in out_of_domain_texts(context, AuditWords((), {}, {}, {})) if one.set == "shuffled"
    ]
    assert [sorted(one.text.split()) for one in shuffled] == [["word1", "word2", "word3", "word4"]]


def test_recipes_read_the_beginning_unless_they_ask_for_both_ends() -> None:
    recipe = Recipe.model_validate({"name": "long", "encoder": {"source": "e"}, "data": {"train": "t.csv"}})
    assert Truncation.of(recipe.data) == Truncation(128, "first")
    both = recipe.data.model_copy(update={"windows": "head_tail", "max_length": 512})
    assert Truncation.of(both) == Truncation(512, "head_tail")
