"""Fixtures that several tests share: tiny encoders, small data sets, run directories and stand-ins."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
SRC = ROOT / "src"
