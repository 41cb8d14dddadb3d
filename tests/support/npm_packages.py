"""Packages of npm for the tests of exports, in the user's own cache; `python -m support.npm_packages` gets them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from submillion.cache import cache_root
from submillion.errors import BadInput
from submillion.ship.export.web.files import RUNTIME, TOKENIZERS
from submillion.sources.npm import fetch_package
from support import ROOT

# Read at import: each test has a cache of its own.
CACHE = cache_root() / "npm"
LOCKED = ROOT / "tests" / "ship" / "export" / "web" / "transformers.js"
TRANSFORMERS = CACHE / "transformers.js-tests"


def need_node() -> None:
    """Skip the test without node."""
    if shutil.which("node") is None:
        pytest.skip("no node on the PATH")


@functools.cache
def _fetched() -> str:
    """Fill the user's cache with the packages of a web export; return why that is impossible, or nothing."""
    os.environ.setdefault("npm_config_fetch_retries", "0")
    before = os.environ.get("SUBMILLION_CACHE")
    os.environ["SUBMILLION_CACHE"] = str(CACHE.parent)
    try:
        for package in (RUNTIME, TOKENIZERS):
            fetch_package(package, "to")
    except BadInput as error:
        return str(error)
    finally:
        if before is None:
            del os.environ["SUBMILLION_CACHE"]
        else:
            os.environ["SUBMILLION_CACHE"] = before
    return ""


def lend_packages(cache: Path) -> None:
    """Make the packages of a web export visible in another cache folder; skip the test if they cannot be had."""
    need_node()
    if reason := _fetched():
        pytest.skip(
            f"the packages of a web export are not in {CACHE}, and npm cannot download them: {reason}"
        )
    (cache / "npm").mkdir(parents=True, exist_ok=True)
    for package in (RUNTIME, TOKENIZERS):
        name = package.folder.name
        if not (cache / "npm" / name).exists():
            shutil.copytree(CACHE / name, cache / "npm" / name)


def transformers_js() -> Path:
    """Return a folder with node_modules of transformers.js; skip the test without it: no test downloads 475 MB."""
    need_node()
    if not (TRANSFORMERS / "node_modules").is_dir():
        pytest.skip("transformers.js is not installed: cd tests && python -m support.npm_packages")
    return TRANSFORMERS


def install() -> None:
    """Download everything."""
    if reason := _fetched():
        raise SystemExit(reason)
    TRANSFORMERS.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(LOCKED / name, TRANSFORMERS / name)
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is not installed")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=TRANSFORMERS, check=True)


if __name__ == "__main__":
    install()
