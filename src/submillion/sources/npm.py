"""Files from packages of the npm registry: downloaded by npm, checked by hash, never installed or run by npm."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.cache import cache_root
from submillion.errors import BadInput, Problem
from submillion.sources import store


@dataclass(frozen=True)
class NpmPackage:
    """One version of a package, pinned as npm's own lock files pin it."""

    name: str
    version: str
    integrity: str
    """`sha512-` and the hash of the archive in base64 (https://www.w3.org/TR/SRI/)."""
    licence: str
    files: Mapping[str, str]
    """Our name by the file's path in the package."""

    @property
    def requirement(self) -> str:
        """The package as npm names it."""
        return f"{self.name}@{self.version}"

    @property
    def folder(self) -> Path:
        """Its place in the cache."""
        return cache_root() / "npm" / f"{self.name.rpartition('/')[2]}-{self.version}"


def is_cached(package: NpmPackage) -> bool:
    """Return whether the files of a package are on this machine."""
    return store.intact(package.folder) is not None


def fetch_package(package: NpmPackage, field: str) -> Path:
    """Return the folder with the files of a package; npm downloads it unless it is in the cache.

    npm takes the registry's address, a proxy and a password from its own configuration. `npm pack` runs no script of
    the package and installs nothing.

    Args:
        package: to fetch.
        field: the argument that needs it, for messages.

    Raises:
        BadInput: npm is not installed, the registry cannot be reached, or it serves another archive.
    """
    store.cached_folder(package.folder, lambda folder: _fill(package, folder, field))
    return package.folder


def _fill(package: NpmPackage, folder: Path, field: str) -> dict[str, Any]:
    # With its path: on Windows npm is a .cmd file, which a bare name does not start.
    npm = shutil.which("npm")
    if npm is None:
        remedy = "Install Node.js 20 or later, which includes npm."
        raise BadInput(
            Problem(f"@{{{field}}}", f"npm, to download {package.requirement}", "none on the PATH", remedy)
        )
    notices.emit("npm_download", f"downloading {package.requirement} with npm.", package=package.requirement)
    with tempfile.TemporaryDirectory(prefix="submillion-npm-") as temporary:
        # In a folder of its own, so that no .npmrc of a project changes the registry.
        done = subprocess.run(
            [npm, "pack", package.requirement, "--ignore-scripts", "--pack-destination", temporary],
            cwd=temporary,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        archives = sorted(Path(temporary).glob("*.tgz"))
        if done.returncode or not archives:
            raise _unreachable(package, field, done.stderr)
        _check(package, archives[0])
        _extract(package, archives[0], folder)
    return {"package": package.requirement, "integrity": package.integrity, "licence": package.licence}


def _check(package: NpmPackage, archive: Path) -> None:
    with archive.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha512").digest()
    got = f"sha512-{base64.b64encode(digest).decode()}"
    if got != package.integrity:
        remedy = (
            "Try again once, in case a proxy truncated the download. If the hash is wrong again, the registry serves "
            "another archive than the pinned one: do not use it."
        )
        raise BadInput(Problem(package.requirement, f"the integrity {package.integrity}", got, remedy))


def _extract(package: NpmPackage, archive: Path, folder: Path) -> None:
    """Write the named members alone, under our names, so that no path of the archive reaches the disk."""
    with tarfile.open(archive) as opened:
        for member, name in package.files.items():
            content = opened.extractfile(f"package/{member}")
            if content is None:
                raise BadInput(Problem(package.requirement, f"the file {member}", "another kind of entry"))
            with content, (folder / name).open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)


def _unreachable(package: NpmPackage, field: str, output: str) -> BadInput:
    lines = re.findall(r"^npm (?:error|ERR!) (.+)$", output, flags=re.MULTILINE)
    cause = "; ".join(lines[:2])
    return BadInput(
        Problem(
            f"@{{{field}}}",
            f"{package.requirement} from npm's registry (tried: npm pack)",
            cause or "neither an archive nor an error",
            "Two remedies: (1) point npm to a registry that answers: npm config set registry URL; (2) run this command "
            f"on a machine with network, and copy its folder {package.folder.name} into {package.folder.parent}.",
        )
    )
