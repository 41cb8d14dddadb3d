"""Tests of notices.py: each call collects its own notices, also where calls nest or run in two threads."""

from __future__ import annotations

import threading

import pytest

from submillion import notices


def codes() -> list[str]:
    return [notice["code"] for notice in notices.collected()]


def test_a_notice_is_printed_and_recorded_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        notices.emit("limit", "only 5 rows are used.", rows=5)
    assert notices.collected() == [{"code": "limit", "text": "only 5 rows are used.", "rows": 5}]
    assert capsys.readouterr().err == "note: only 5 rows are used.\n"


def test_a_nested_call_has_its_own_notices() -> None:
    notices.emit("outer", "o")
    with notices.collecting():
        notices.emit("inner", "i")
        assert codes() == ["inner"]
    assert codes() == ["outer"]


def test_a_quiet_call_silences_the_calls_inside_it(capsys: pytest.CaptureFixture[str]) -> None:
    with notices.collecting(quiet=True), notices.collecting():
        notices.emit("inner", "i")
        assert codes() == ["inner"]
    assert capsys.readouterr().err == ""


def test_mute_and_suppressed(capsys: pytest.CaptureFixture[str]) -> None:
    with notices.suppressed():
        notices.emit("repeated", "r")
    assert codes() == []
    notices.mute()
    notices.emit("muted", "m")
    assert codes() == ["muted"]
    assert capsys.readouterr().err == ""


def test_restored_notices_are_not_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    notices.restore([{"code": "old", "text": "o"}])
    notices.emit("old", "o")
    assert codes() == ["old"]
    assert capsys.readouterr().err == ""


def test_threads_do_not_mix_their_notices() -> None:
    seen: dict[str, list[str]] = {}
    both_emitted = threading.Barrier(2)

    def call(name: str) -> None:
        with notices.collecting(quiet=True):
            notices.emit(name, name)
            both_emitted.wait(timeout=10)
            seen[name] = codes()

    threads = [threading.Thread(target=call, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"a": ["a"], "b": ["b"]}
    assert codes() == []


def test_outside_of_a_call_a_notice_is_only_printed(capsys: pytest.CaptureFixture[str]) -> None:
    collected: list[list[str]] = []

    def emit() -> None:  # a new thread starts without a collector
        notices.emit("alone", "a")
        notices.mute()
        notices.restore([{"code": "x", "text": "x"}])
        collected.append(codes())

    thread = threading.Thread(target=emit)
    thread.start()
    thread.join()
    assert collected == [[]]
    assert capsys.readouterr().err == "note: a\n"


def test_a_notice_that_quotes_a_file_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    with notices.collecting():
        notices.emit("classes", "class a\x1b[2J\nnote: all is well", classes=["a\x1b[2J"])
        assert notices.collected()[0]["classes"] == ["a\x1b[2J"]
    assert capsys.readouterr().err == "note: class a\\x1b[2J\\nnote: all is well\n"
