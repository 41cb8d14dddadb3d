"""Tests of console.py: nothing that comes from a file or a library can control the terminal."""

from __future__ import annotations

import io
import logging
import os
import pty
import sys
import warnings

import pytest

from submillion.terminal.console import for_terminal, guarded, say

HOSTILE = "\x1b]0;owned\x07\x9b2J\u202espam"
VISIBLE = r"\x1b]0;owned\x07\x9b2J\u202espam"


def test_lines_stay_and_escape_sequences_become_visible(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"first\n{HOSTILE}")
    say(HOSTILE, err=True)
    printed = capsys.readouterr()
    assert printed.out == f"first\n{VISIBLE}\n"
    assert printed.err == f"{VISIBLE}\n"


def test_a_narrow_encoding_and_a_lone_surrogate_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    say("naïve \ud800")
    assert written.getvalue() == b"na\\xefve \\ud800\n"


def test_warnings_logs_and_tracebacks_that_quote_a_text_are_safe_to_print(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger("a.library").addHandler(handler)
    before = warnings.formatwarning
    with guarded():
        sys.stderr.write(warnings.formatwarning(HOSTILE, UserWarning, "a.py", 1, ""))
        logging.getLogger("a.library").warning("class %s", HOSTILE)
        sys.excepthook(ValueError, ValueError(HOSTILE), None)
    logging.getLogger("a.library").removeHandler(handler)
    assert log.getvalue() == f"class {VISIBLE}\n"
    printed = capsys.readouterr().err
    assert f"UserWarning: {VISIBLE}" in printed
    assert f"ValueError: {VISIBLE}" in printed
    assert warnings.formatwarning is before


def test_a_terminal_receives_no_control_characters_and_a_pipe_all_of_them() -> None:
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w", encoding="utf-8") as terminal:
        for_terminal(terminal).write(f"id\t{HOSTILE}\n")
        terminal.flush()
        assert os.read(reader, 1000) == f"id\t{VISIBLE}\r\n".encode()  # the terminal's own line end
    os.close(reader)
    pipe = io.StringIO()
    for_terminal(pipe).write(HOSTILE)
    assert pipe.getvalue() == HOSTILE


def test_a_terminal_of_another_encoding_receives_escapes() -> None:
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w", encoding="latin-1") as terminal:
        for_terminal(terminal).write("grün ζ")
        terminal.flush()
        assert os.read(reader, 1000) == b"gr\xfcn \\u03b6"
    os.close(reader)
