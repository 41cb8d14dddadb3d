"""Token words: joined, they are the text as read, whatever the tokenizer does with spaces."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.assess.attribution.token_words import split_words
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation

SEEN = [
    "the goal of the season",
    "shares and profits rise",
    "the orbit of a satellite, they said",
    "日本語の文",
]


@cache
def tokenizer(kind: str, side: str = "right") -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "</s>", "<unk>", "<mask>"]
    if kind == "byte pairs":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer: Any = trainers.BpeTrainer(
            vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
        made.decoder = decoders.ByteLevel()
    elif kind == "unigram":
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=special, unk_token="<unk>")
    else:
        made = Tokenizer(models.WordPiece(unk_token="<unk>"))
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=special)
    made.train_from_iterator(SEEN, trainer)
    start, end = made.token_to_id("<s>"), made.token_to_id("</s>")
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", start), ("</s>", end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        truncation_side=side,
    )


KINDS = ("byte pairs", "unigram", "word pieces")


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_belong_to_the_words_between_spaces(kind: str) -> None:
    text = "  the  season's goal,\nthey rise "
    found = split_words(tokenizer(kind), text, Truncation(64))
    assert found.words == ["  the  ", "season's ", "goal,\n", "they ", "rise "]
    assert "".join(found.words) == text
    assert not found.cut
    assert found.ids == encode(tokenizer(kind), [text], Truncation(64))[0].tolist()
    assert [flag for flag in found.special if flag] == [True, True]
    assert (found.word_of[0], found.word_of[-1]) == (-1, -1)
    inner = found.word_of[1:-1]
    assert inner == sorted(inner)
    assert set(inner) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_has_only_its_own_tokens(kind: str) -> None:
    made = tokenizer(kind)
    text = "goal season profits"
    found = split_words(made, text, Truncation(64))
    for place, word in enumerate(text.split()):
        own = [token for token, at in zip(found.ids, found.word_of, strict=True) if at == place]
        alone = made.decode(own).replace(" ##", "").replace("\u2581", " ")
        assert "".join(alone.split()) == word


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_truncated_text_is_in_no_word(kind: str, side: str) -> None:
    text = "the goal of the season and shares and profits rise and rise and rise"
    made = tokenizer(kind, side)
    found = split_words(made, text, Truncation(8))
    read = "".join(found.words)
    assert found.cut
    assert len(found.ids) == 8
    assert found.ids == encode(made, [text], Truncation(8))[0].tolist()
    assert read != text
    assert text.startswith(read) if side == "right" else text.endswith(read)


def test_scripts_without_spaces_and_very_long_words_split_at_tokens() -> None:
    found = split_words(tokenizer("word pieces"), "日本語の文 rise", Truncation(64))
    assert found.words == ["日", "本", "語", "の", "文 ", "rise"]
    endless = "goal/" * 20
    parts = split_words(tokenizer("word pieces"), f"the {endless} rise", Truncation(128)).words
    assert len(parts) > 10
    assert (parts[0], parts[-1]) == ("the ", "rise")


@pytest.mark.parametrize("text", ["", "   ", "\u200b"])
def test_texts_without_words(text: str) -> None:
    found = split_words(tokenizer("word pieces"), text, Truncation(16))
    assert found.special[0]
    assert found.special[-1]
    assert len(found.word_of) == len(found.ids)
    assert max(found.word_of) < max(len(found.words), 1)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(KINDS), st.text(max_size=60), st.integers(4, 40))
def test_the_words_joined_are_the_text(kind: str, text: str, limit: int) -> None:
    found = split_words(tokenizer(kind), text, Truncation(limit))
    assert found.ids == encode(tokenizer(kind), [text], Truncation(limit))[0].tolist()
    assert all(
        (place == -1) == flag or not found.words
        for place, flag in zip(found.word_of, found.special, strict=True)
    )
    if found.words and not found.cut:
        assert "".join(found.words) == text
    assert all(-1 <= place < len(found.words) for place in found.word_of) or not found.words
