"""Feeds every reader of files with mutated and hostile inputs; see `python -m tests.fuzz --help`."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
# `support` is on pytest's path; `python -m tests.fuzz` has only the current directory on its own.
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))
