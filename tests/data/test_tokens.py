"""Token ids equal the tokenizer's own, truncated texts are counted, and the cache returns what was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from submillion import notices
from submillion.data import token_cache
from submillion.data import tokens as tokens_module
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import Tokens, encode, from_rows, tokenize
from submillion.data.truncation import Truncation
from submillion.errors import BadInput
from submillion.files.tensor_file import PAGE
from support.tiny import tiny_encoder, tiny_texts

TEXTS = ["", "word1", "word1 word2 unknown", " ".join(f"word{i % 40}" for i in range(30)), "goal " * 6]


@pytest.fixture(scope="module", params=["roberta", "bert"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp(request.param), request.param, layers=1, hidden=16)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of texts that each real tokenization took."""
    calls: list[int] = []
    real = tokens_module._encoded

    def counting(tokenizer: Any, texts: Any, *rest: Any) -> Iterator[token_cache.Arrays]:
        calls.append(len(texts))
        return real(tokenizer, texts, *rest)

    monkeypatch.setattr(tokens_module, "_encoded", counting)
    return calls


def assert_own_ids(tokenizer: Any, texts: list[str], max_length: int) -> Tokens:
    tokens = encode(tokenizer, texts, Truncation(max_length))
    own = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    assert [row.tolist() for row in tokens] == own
    whole = tokenizer(texts, truncation=False)["input_ids"]
    assert tokens.full_lengths.tolist() == [len(ids) for ids in whole]
    assert tokens.ids.dtype == np.int32 and tokens.offsets.dtype == np.int64
    return tokens


@pytest.mark.parametrize("max_length", [4, 8, 9, 64])
@pytest.mark.parametrize("side", ["right", "left"])
def test_ids_are_the_tokenizers_own(folder: Path, max_length: int, side: str) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.truncation_side = side
    tokens = assert_own_ids(tokenizer, TEXTS, max_length)
    assert len(tokens[0]) == 2  # an empty text is its special tokens
    assert tokens.truncated == {4: 3, 8: 1, 9: 1, 64: 0}[max_length]


@pytest.mark.parametrize("max_length", [5, 16])
def test_byte_pair_tokens_of_roberta_are_its_own(shared_data: Path, max_length: int) -> None:
    texts = ["", "Hello  World!", "naïve 😀 </s> text", "a" * 300, *tiny_texts(40)[0]]
    assert_own_ids(load_tokenizer(shared_data / "roberta-base"), texts, max_length)


def test_truncation_and_padding_of_a_tokenizer_file_are_switched_off(folder: Path, tmp_path: Path) -> None:
    """Sentence encoders come with `truncation: 128` and padding to 128 in their tokenizer.json."""
    shutil.copytree(folder, tmp_path / "encoder")
    file = tmp_path / "encoder" / "tokenizer.json"
    values = json.loads(file.read_text())
    values["truncation"] = {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0}
    values["padding"] = {
        "strategy": {"Fixed": 6},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 1,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    file.write_text(json.dumps(values))
    spoilt, clean = load_tokenizer(tmp_path / "encoder"), load_tokenizer(folder)
    assert spoilt.backend_tokenizer.truncation is not None
    assert (
        encode(spoilt, TEXTS, Truncation(20)).lengths.tolist()
        == encode(clean, TEXTS, Truncation(20)).lengths.tolist()
        == [2, 3, 5, 20, 8]
    )


def test_a_megabyte_in_one_text(folder: Path) -> None:
    tokens = encode(load_tokenizer(folder), ["word1 " * 170_000, "goal"], Truncation(16))
    assert tokens.lengths.tolist() == [16, 3] and tokens.full_lengths.tolist() == [170_002, 3]


def test_rows_are_taken_in_the_given_order() -> None:
    tokens = from_rows([[1], [2, 2], [3, 3, 3]], full_lengths=[1, 9, 3])
    some = tokens.take([2, 1])
    assert [row.tolist() for row in some] == [[3, 3, 3], [2, 2]]
    assert some.full_lengths.tolist() == [3, 9] and some.truncated == 1 and len(some) == 2
    assert len(tokens.take([])) == 0


@pytest.mark.parametrize("token_id", [999_999_999, 4_294_967_295, 64])
def test_ids_beyond_the_embeddings_are_refused(folder: Path, tmp_path: Path, token_id: int) -> None:
    shutil.copytree(folder, tmp_path / "encoder")
    file = tmp_path / "encoder" / "tokenizer.json"
    values = json.loads(file.read_text())
    values["model"]["vocab"]["goal"] = token_id
    file.write_text(json.dumps(values))
    with pytest.raises(
        BadInput,
        match="the tokenizer: expected (token ids .*, found id|one that can tokenize .* out of bounds)",
    ):
        encode(load_tokenizer(tmp_path / "encoder"), ["goal"], Truncation(8)).check_fits(64, 8)


def test_ids_and_lengths_of_any_tokens_are_bounded() -> None:
    from_rows([[0, 63], [5]]).check_fits(64, 2)
    from_rows([]).check_fits(1, 0)
    for rows, message in (([[64]], "id 64"), ([[3, -1]], "id -1"), ([[1, 2, 3]], "one of 3")):
        with pytest.raises(BadInput, match=f"found {message}"):
            from_rows(rows).check_fits(64, 2)


# -- the cache ----------------------------------------------------------------------------------------------


def test_the_second_call_reads_the_cache(folder: Path, tmp_path: Path, counted: list[int]) -> None:
    first = tokenize(folder, TEXTS, Truncation(8), tmp_path)
    again = tokenize(load_tokenizer(folder), TEXTS, Truncation(8), tmp_path)
    assert counted == [len(TEXTS)]
    for name in ("ids", "offsets", "full_lengths"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert getattr(first, name).dtype == getattr(again, name).dtype


def test_everything_that_decides_the_ids_decides_the_cache_file(
    folder: Path, tmp_path: Path, counted: list[int]
) -> None:
    tokenizer = load_tokenizer(folder)
    tokenize(tokenizer, TEXTS, Truncation(8), tmp_path)
    tokenize(tokenizer, TEXTS, Truncation(9), tmp_path)
    tokenize(tokenizer, [*TEXTS[:-1], "goal"], Truncation(8), tmp_path)
    tokenize(tokenizer, ["ab", "c"], Truncation(8), tmp_path)
    tokenize(tokenizer, ["a", "bc"], Truncation(8), tmp_path)
    tokenizer.truncation_side = "left"
    tokenize(tokenizer, TEXTS, Truncation(8), tmp_path)
    tokenizer.add_tokens(["word1 word2"])
    tokenize(tokenizer, TEXTS, Truncation(8), tmp_path)
    assert len(counted) == len(list(tmp_path.iterdir())) == 7


def spoil(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "other kinds":
        ids, lengths, full = np.zeros(4, np.int32), np.full(len(TEXTS), 0.8), np.full(len(TEXTS), 4, np.int32)
        spoilt = token_cache.file_of(file.stem, file.parent)
        key = json.loads(content[8:PAGE])["__metadata__"]["key"]

        def fill(handle: Any) -> Any:
            for values in (ids, lengths, full):
                handle.write(values.data)
            n = len(TEXTS)
            return {"ids": ("I32", (4,)), "lengths": ("F64", (n,)), "full_lengths": ("I32", (n,))}

        replace(spoilt, key=key).write(fill)
        return
    if how == "other rows":
        rows = from_rows([[1, 2]])
        spoilt = token_cache.file_of(file.stem, file.parent)
        key = json.loads(content[8:PAGE])["__metadata__"]["key"]
        token_cache.write(replace(spoilt, key=key), [(rows.ids, rows.lengths, rows.full_lengths)])
        return
    if how in ("header", "ids", "lengths"):
        content[{"header": 9, "ids": PAGE + 4, "lengths": -30}[how]] ^= 1
    else:
        content = {"cut": content[:-4], "longer": content + b"x", "empty": bytearray()}[how]
    file.write_bytes(content)


SPOILT = ["header", "ids", "lengths", "cut", "longer", "empty", "other rows", "other kinds"]


@pytest.mark.parametrize("how", SPOILT)
def test_a_damaged_cache_file_is_replaced_after_a_notice(
    folder: Path, tmp_path: Path, counted: list[int], how: str
) -> None:
    good = encode(load_tokenizer(folder), TEXTS, Truncation(8))
    tokenize(folder, TEXTS, Truncation(8), tmp_path)
    spoil(next(tmp_path.iterdir()), how)
    before = len(counted)
    again = tokenize(folder, TEXTS, Truncation(8), tmp_path)
    assert np.array_equal(good.ids, again.ids) and len(counted) == before + 1
    assert "are damaged" in notices.collected()[0]["text"]
    tokenize(folder, TEXTS, Truncation(8), tmp_path)
    assert len(counted) == before + 1


def test_cached_ids_are_pages_of_the_file(folder: Path, tmp_path: Path) -> None:
    """The ids of a million texts take some 200 MB; the system can drop these pages and share them among processes."""
    tokens = tokenize(folder, TEXTS, Truncation(8), tmp_path)
    assert not tokens.ids.flags.writeable and not tokens.ids.flags.owndata
    (file,) = tmp_path.iterdir()
    assert np.array_equal(np.fromfile(file, np.int32, tokens.ids.size, offset=PAGE), tokens.ids)
    assert np.array_equal(load_file(file)["ids"], tokens.ids)  # any reader of safetensors opens it


def test_no_texts_are_no_tokens(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        tokens = tokenize(folder, [], Truncation(8), tmp_path)
        assert len(tokens) == 0 and tokens.ids.dtype == np.int32 and tokens.offsets.tolist() == [0]
    assert notices.collected() == []


def test_a_cache_that_cannot_be_written_costs_time_only(folder: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert len(tokenize(folder, TEXTS, Truncation(8), blocked)) == len(TEXTS)
    assert "the tokens are not kept for the next run" in notices.collected()[0]["text"]


def test_the_default_folder_is_the_users_cache(folder: Path, own_cache: Path) -> None:
    tokenize(folder, TEXTS, Truncation(8))
    assert len(list((own_cache / "tokens").iterdir())) == 1


def test_a_length_without_room_is_refused(folder: Path) -> None:
    with pytest.raises(BadInput, match="expected room for a token beside the special ones, found 2"):
        encode(load_tokenizer(folder), ["x"], Truncation(2))
