"""A headless Chromium driven by playwright, with axe-core; tests are skipped without them."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update")
MATTERS = ("serious", "critical")
TIMEOUT = 60_000
"""Milliseconds for one step, on a machine that is busy."""


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield a playwright browser; skip the test if there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: it comes with submillion[dev]")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, chromium_sandbox=False, args=list(FLAGS))
        yield browser
        browser.close()


def violations(page: Any) -> list[Any]:
    """Return what axe-core finds on an open page that is serious or critical."""
    files = importlib.metadata.files("axe-playwright-python") or []
    script = next(file for file in files if file.name == "axe.min.js")
    # Evaluated through the debugger, which the policy of the page does not concern.
    page.evaluate(Path(str(script.locate())).read_text(encoding="utf-8") + "; 0")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert "color-contrast" in [rule["id"] for rule in found["passes"]]
    return [
        (rule["id"], [node["html"][:200] for node in rule["nodes"]])
        for rule in found["violations"]
        if rule["impact"] in MATTERS
    ]
