"""Sources that texts credit: found by where a name stands and how often, never by a list."""

from __future__ import annotations

import pytest

from submillion.assess.errors.news_credits import Credits

LEARNT = [
    *(f"Prices rise {day} (Ourwire) Ourwire - Prices rose." for day in range(6)),
    *(f"OSLO, Norway {day} (New Press) -- It rained." for day in range(5)),
    *(f"Ice melts on day {day}. (IceNews.org)" for day in range(5)),
    *(f"somepaper.com - Story {day}" for day in range(5)),
    *(f"Shares of Acme (ACM) fell by {day}." for day in range(9)),  # in brackets, but not where credits stand
    *(f"Rare {day} (Seldom) - too few" for day in range(4)),
    *(f"Football - match {day}" for day in range(9)),
    *(f"Late {day} (15:00 GMT) - nor a time" for day in range(9)),
]


@pytest.fixture(scope="module")
def credits() -> Credits:
    return Credits(LEARNT)


def test_names_are_learnt_from_their_place_and_number(credits: Credits) -> None:
    assert set(credits.names.values()) == {"Ourwire", "New Press", "IceNews.org", "somepaper.com"}


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("New title (Ourwire) Ourwire - New text", "Ourwire"),
        ("ROME (OURWIRE) \u2013 New text", "Ourwire"),
        ("ROME ( new  press ) -- New text", "New Press"),
        ("Ourwire - New text", "Ourwire"),
        ("It ended. Ourwire - Today it rained", "Ourwire"),
        ("Snow (IceNews.org).", "IceNews.org"),
        ("Early (New Press) in the text and no dash", "New Press"),
        ("somepaper.com -- Another", "somepaper.com"),
        ("Ourwire is named, not credited", None),
        ("The firm (ACM) - fell", None),
        ("Football - match", None),
        ("", None),
    ],
)
def test_a_credit_is_found(credits: Credits, text: str, source: str | None) -> None:
    assert credits.of(text) == source


def test_the_credit_before_a_dash_comes_first(credits: Credits) -> None:
    assert credits.of("As told (Ourwire) by them. PARIS (New Press) - It is") == "New Press"


def test_in_many_texts_a_name_must_come_more_often() -> None:
    filler = [f"plain text {row}" for row in range(20_000)]
    assert Credits(LEARNT + filler).names == {}
    assert Credits([]).names == {}
