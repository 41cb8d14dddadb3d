"""Token counts: truncated and unknown tokens are counted, named above a small share, and refused above a bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from submillion import notices
from submillion.data.token_report import Unknown, check_known, token_report, unknown_tokens
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.errors import BadInput
from support.tiny import shared_encoder, tiny_texts

CHINESE = ["今天天气很好", "goal 今天 coach", "word1 word2"]


def report(texts: list[str], max_length: int = 8, folder: Path | None = None) -> dict[str, Any]:
    tokenizer = load_tokenizer(folder or shared_encoder("bert"))
    truncation = Truncation(max_length)
    tokens = {"train": encode(tokenizer, texts, truncation)}
    return token_report(tokenizer, tokens, {"train": texts}, truncation)["train"]


def codes() -> list[str]:
    return [notice["code"] for notice in notices.collected()]


def test_lengths_and_truncated_texts_are_counted() -> None:
    texts = ["", "word1", "word1 word2 goal", " ".join(f"word{i % 40}" for i in range(30)), "goal " * 6]
    assert report(texts) == {
        "rows": 5, "windows": "first", "tokens": 2 + 3 + 5 + 8 + 8, "mean": 10.0, "median": 5.0, "p99": 31.04,
        "longest": 32, "truncated": 1, "truncated_share": 0.2,
        "unknown": 0, "unknown_share": 0.0, "unknown_texts": 0,
        "characters_per_token": round(sum(map(len, texts)) / 40, 3),
    }  # fmt: skip
    assert [notice["text"] for notice in notices.collected()] == [
        "texts longer than 8 tokens are truncated: 20.0% of train."
    ]


def test_unknown_tokens_are_counted_without_the_special_ones() -> None:
    counted = report(CHINESE)
    assert (counted["unknown"], counted["unknown_share"], counted["unknown_texts"]) == (2, round(2 / 6, 6), 2)
    (notice,) = notices.collected()
    assert notice["text"] == (
        "33.3% of the tokens of the train texts are unknown to the encoder's tokenizer, in 2 of 3 texts; "
        "the classifier cannot tell them apart."
    )


def test_a_few_unknown_tokens_are_counted_without_a_notice() -> None:
    assert report([*tiny_texts(60)[0], "goal unheard"], 32)["unknown"] == 1
    assert codes() == []


def test_the_counts_of_chunks_add_up() -> None:
    tokenizer = load_tokenizer(shared_encoder("bert"))
    parts = [unknown_tokens(tokenizer, encode(tokenizer, [text], Truncation(8))) for text in CHINESE]
    assert sum(parts, Unknown()) == unknown_tokens(tokenizer, encode(tokenizer, CHINESE, Truncation(8)))
    assert unknown_tokens(tokenizer, encode(tokenizer, [], Truncation(8))) == Unknown()


def test_texts_that_the_tokenizer_does_not_know_are_refused_with_encoders_that_fit() -> None:
    counted = {"train": report(CHINESE), "test": report(["今天"])}
    check_known(counted, 0.34, "minilm")
    with pytest.raises(BadInput) as refused:
        check_known(counted, 0.3, "minilm")
    text = str(refused.value)
    assert (
        "the training texts with the encoder minilm: expected at most 30% of tokens that its tokenizer"
        in text
    )
    assert "found 33.3%, in 2 of 3 texts. Take an encoder that was pretrained on the language" in text
    assert "xlm-roberta-base (100 languages)" in text and "`data.max_unknown_tokens`" in text
    with pytest.raises(BadInput, match="these texts: another one, or one of the hub"):
        check_known(counted, 0.0, "xlm-roberta-base")


def byte_level(folder: Path) -> Path:
    """Write a tokenizer that knows bytes alone, as those of RoBERTa and ModernBERT do for foreign scripts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = {sign: number for number, sign in enumerate(["<unk>", *pre_tokenizers.ByteLevel.alphabet()])}
    tokenizer = Tokenizer(models.BPE(alphabet, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    return folder


def test_texts_that_are_spelled_in_bytes_are_named(tmp_path: Path) -> None:
    folder = byte_level(tmp_path)
    counted = report(["今天天气很好" * 50], 1000, folder)
    assert counted["unknown"] == 0 and counted["characters_per_token"] == pytest.approx(1 / 3, abs=1e-3)
    (notice,) = notices.collected()
    assert (
        "the train texts take 3.0 tokens per character: the encoder's tokenizer spells them in bytes"
        in (notice["text"])
    )


def test_latin_texts_are_not_called_spelled_in_bytes(tmp_path: Path) -> None:
    report(["plain words, naïve café " * 20], 600, byte_level(tmp_path))
    assert codes() == []
