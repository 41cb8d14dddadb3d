"""Tests of sources/addresses.py: the remedy for a source that is an address or a pattern."""

from __future__ import annotations

import pytest

from submillion.sources.addresses import remedy_for

FOLDER = "Put the files into one folder, and name the folder."
DOWNLOAD = "Download it, and name the file."


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("https://huggingface.co/datasets/fancyzhx/ag_news", "fancyzhx/ag_news"),
        ("https://huggingface.co/datasets/fancyzhx/ag_news/viewer/default/train?p=1", "fancyzhx/ag_news"),
        ("https://huggingface.co/roberta-base/tree/main", "roberta-base"),
        ("hf://datasets/dair-ai/emotion", "dair-ai/emotion"),
    ],
)
def test_a_page_of_the_hub_has_an_id(source: str, remedy: str) -> None:
    assert remedy_for(source) == f"On the hub, name it by its id: {remedy}."
    assert remedy_for(source, hub=False) == DOWNLOAD


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("https://example.org/reviews.csv", DOWNLOAD),
        ("https:/example.org/reviews.csv", DOWNLOAD),  # as a Path writes it
        ("s3://bucket/reviews-*.parquet", DOWNLOAD),
        ("https://huggingface.co/datasets/me/reviews/resolve", DOWNLOAD),
        ("data/*.csv", FOLDER),
        ("part-[0-9].csv", FOLDER),
        ("reviews.csv", ""),
        ("C:/data/reviews.csv", ""),
        ("me/reviews:config@main", ""),
    ],
)
def test_other_sources_are_downloaded_gathered_or_left_alone(source: str, remedy: str) -> None:
    assert remedy_for(source) == remedy
