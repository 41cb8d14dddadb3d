"""Tests of packages from npm: pinned by hash, named members alone, one clear message without npm or its registry."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from submillion import notices
from submillion.errors import BadInput
from submillion.sources.npm import NpmPackage, fetch_package, is_cached

CONTENT = b"export const answer = 42;\n"


def archive(folder: Path, members: dict[str, bytes]) -> Path:
    file = folder / "thing-1.0.0.tgz"
    with tarfile.open(file, "w:gz") as packed:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return file


def package(file: Path) -> NpmPackage:
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()}"
    return NpmPackage("@scope/thing", "1.0.0", integrity, "MIT", {"dist/thing.mjs": "thing.js"})


def fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an `npm` on the PATH that runs a shell script."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return archive(tmp_path, {"package/dist/thing.mjs": CONTENT, "package/../../escaped": b"x"})


def test_a_package_is_downloaded_once_and_its_named_files_are_extracted(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = package(packed)
    fake_npm(tmp_path / "bin", f'[ "$1 $2" = "pack @scope/thing@1.0.0" ] && cp {packed} "$5"', monkeypatch)
    assert not is_cached(wanted)
    folder = fetch_package(wanted, "to")
    assert (folder / "thing.js").read_bytes() == CONTENT
    assert sorted(file.name for file in folder.iterdir()) == ["submillion.json", "thing.js"]
    assert not (tmp_path / "escaped").exists()
    monkeypatch.setenv("PATH", "")
    assert is_cached(wanted)
    assert fetch_package(wanted, "to") == folder


def test_another_archive_than_the_pinned_one_is_refused(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = package(packed)
    packed.write_bytes(archive(tmp_path, {"package/dist/thing.mjs": b"something else"}).read_bytes())
    fake_npm(tmp_path / "bin", f'cp {packed} "$5"', monkeypatch)
    with pytest.raises(BadInput, match="serves another archive than the pinned one"):
        fetch_package(wanted, "to")
    assert not is_cached(wanted)


def test_a_registry_that_does_not_answer_is_one_message_with_the_cause(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path / "bin", "echo 'npm error code ENOTFOUND' >&2; exit 1", monkeypatch)
    with pytest.raises(BadInput, match="code ENOTFOUND") as raised:
        fetch_package(package(packed), "to")
    assert "npm config set registry URL" in str(raised.value)


def test_without_npm_the_message_names_it(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with notices.collecting(), pytest.raises(BadInput, match=r"Install Node\.js 20"):
        fetch_package(package(packed), "to")
