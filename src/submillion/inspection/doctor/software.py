"""Examines versions, the packages that training needs, and the extras."""

from __future__ import annotations

import importlib
import platform
import re
from importlib import metadata

from submillion import environment
from submillion.inspection.doctor.section import Section
from submillion.version import __version__

NEEDED = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
    "sklearn",
    "pyarrow",
    "matplotlib",
)
"""Imported by every training."""
NO_EXTRAS = ("dev", "docs")
_EXTRA = re.compile(r"""extra\s*==\s*['"](?P<extra>[\w-]+)['"]""")
_NAME = re.compile(r"[\w.-]+")


def examine_versions() -> Section:
    """Return the versions that a result depends on, and the packages that cannot be imported."""
    section = Section("versions")
    section.facts |= {"submillion": __version__} | {
        name: version for name, version in environment.versions().items() if name != "submillion"
    }
    section.facts["platform"] = platform.platform()
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a broken package raises whatever it wants
            section.trouble(
                f"{name} cannot be imported ({type(error).__name__}: {error})",
                "Install submillion again: python -m pip install --force-reinstall submillion.",
                prevents_training=True,
            )
    return section


def examine_extras() -> Section:
    """Return each extra with the versions of its packages."""
    section = Section("extras")
    for extra, names in sorted(_extras().items()):
        found = {name: _version(name) for name in names}
        present = [f"{name} {version}" for name, version in found.items() if version]
        missing = [name for name, version in found.items() if not version]
        if not missing:
            section.facts[extra] = ", ".join(present)
        else:
            section.facts[extra] = f"not installed ({', '.join(missing)} missing)"
    return section


def _extras() -> dict[str, list[str]]:
    """Return the packages of each extra, from the metadata of the installation."""
    extras: dict[str, list[str]] = {}
    try:
        requirements = metadata.requires("submillion") or []
    except metadata.PackageNotFoundError:
        return {}
    for requirement in requirements:
        extra, name = _EXTRA.search(requirement), _NAME.match(requirement)
        if extra and name and extra["extra"] not in NO_EXTRAS:
            extras.setdefault(extra["extra"], []).append(name[0])
    return extras


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
