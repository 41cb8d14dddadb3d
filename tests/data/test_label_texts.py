"""Tests of the texts that the names of the labels become."""

from __future__ import annotations

import pytest

from submillion.data.label_texts import FRAMES, label_texts


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Sports", "Sports"),
        ("Sci/Tech", "Sci Tech"),
        ("comp.os.ms-windows.misc", "comp os ms windows misc"),
        ("not_spam", "not spam"),
        ("ForSale", "For Sale"),
        ("Öl und Gas", "Öl und Gas"),
        ("新闻", "新闻"),
    ],
)
def test_names_become_words(name: str, words: str) -> None:
    assert label_texts([name, "other"])[0] == words


def test_sentences_follow_one_another_and_each_has_all_labels_in_order() -> None:
    texts = label_texts(["good", "bad"])
    assert texts[:4] == ["good", "bad", "This text is about good.", "This text is about bad."]
    assert len(texts) == 2 * len(FRAMES)


@pytest.mark.parametrize("names", [["1", "2"], ["good", "0"], ["A", "B"], ["good", "-"], ["class 1", "2"]])
def test_there_are_no_texts_if_a_name_has_no_word(names: list[str]) -> None:
    assert label_texts(names) == []
