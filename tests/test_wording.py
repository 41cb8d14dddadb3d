"""Tests of number and list formatting."""

from __future__ import annotations

import pytest

from submillion import wording


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x00\x7f\x85\x9b", r"\x00\x7f\x85\x9b"),
        ("\u2028\u2029\u202e\u2066\ufeff", r"\u2028\u2029\u202e\u2066\ufeff"),
        ("\ud800", r"\ud800"),
        ("naïve 日本語 שלום 👩\u200d🔬", "naïve 日本語 שלום 👩\u200d🔬"),
    ],
)
def test_control_characters_are_shown_and_all_scripts_are_unchanged(text: str, shown: str) -> None:
    assert wording.printable(text) == shown
    assert wording.printable(shown) == shown


def test_a_printable_text_has_a_maximum_length_and_retains_our_own_newlines() -> None:
    assert wording.printable("\x1b" * 10_000_000, longest=9) == r"\x1b\x1b…"
    assert wording.printable("abcdef", longest=6) == "abcdef"
    assert wording.printable("a\n\x1b", keep="\n") == "a\n\\x1b"


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (0.5, 1, "50.0%"),
        (0.9158, 2, "91.58%"),
        (0, 1, "0.0%"),
        (1, 1, "100.0%"),
        (0.0004, 1, "<0.1%"),
        (0.9996, 1, ">99.9%"),
        (0.99999, 0, ">99%"),
        (0.001, 0, "<1%"),
    ],
)
def test_a_percentage_is_rounded_to_none_or_all_only_if_it_is_exact(
    share: float, decimals: int, text: str
) -> None:
    assert wording.percent(share, decimals) == text


def test_the_sign_of_a_percentage_interval_is_written_once() -> None:
    assert wording.percent_range(0.9042, 0.9222, 2) == "90.42 to 92.22%"


def test_an_interval_without_limits_is_not_defined() -> None:
    assert wording.percent_interval({"low": 0.9042, "high": 0.9222}, 2) == "90.42 to 92.22%"
    assert wording.percent_interval({"low": None, "high": None}) == "not defined"


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.0143, "+1.43"), (-0.0031, "\N{MINUS SIGN}0.31"), (0, "0.00"), (-0.00001, "0.00"), (0.00001, "0.00")],
)
def test_a_difference_has_a_true_minus_and_zero_has_no_sign(difference: float, text: str) -> None:
    assert wording.points(difference) == text


@pytest.mark.parametrize(
    ("p", "cell", "words"),
    [
        (1.0, "1", "p = 1"),
        (0.0496, "0.0496", "p = 0.0496"),
        (0.0001, "0.0001", "p = 0.0001"),
        (0.00009, "< 0.0001", "p < 0.0001"),
        (0.0, "< 0.0001", "p < 0.0001"),
    ],
)
def test_p_values(p: float, cell: str, words: str) -> None:
    assert (wording.p_value(p), wording.p_equals(p)) == (cell, words)


@pytest.mark.parametrize(
    ("items", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c"), ([1, 2], "1 and 2")],
)
def test_a_list_in_words(items: list[object], text: str) -> None:
    assert wording.listed(items) == text


def test_a_noun_agrees_with_its_count() -> None:
    assert wording.plural(1, "row") == "1 row"
    assert wording.plural(0, "row") == "0 rows"
    assert wording.plural(2189, "class", "classes") == "2,189 classes"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0.50 s"),
        (0.996, "1.0 s"),
        (9.96, "10 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min 0 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def test_sizes_are_in_powers_of_a_thousand() -> None:
    assert [wording.byte_count(size) for size in (999, 1_000, 2_500_000, 3e9)] == [
        "999 bytes",
        "1.0 kB",
        "2.5 MB",
        "3.0 GB",
    ]


def test_long_names_are_cut_in_the_middle_unless_they_would_become_equal() -> None:
    assert wording.shorten(["a" * 30 + "b", "c"], 10) == ["aaaaa…aaab", "c"]
    assert wording.shorten(["a" * 30, "b", "a" * 300], 10) == ["aaaaa… (1)", "b", "aaaaa… (3)"]


def test_clock_of_progress() -> None:
    assert [wording.clock(seconds) for seconds in (0, 59.6, 3725)] == ["0:00:00", "0:01:00", "1:02:05"]
