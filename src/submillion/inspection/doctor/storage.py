"""Examines memory, disks and caches."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from submillion.cache import cache_root
from submillion.files.atomic import nearest_folder
from submillion.inspection.cache_entries import KINDS, listing, size_of
from submillion.inspection.doctor.section import Section
from submillion.limits import memory
from submillion.wording import byte_count

LITTLE_MEMORY = 2 * 10**9
"""The quickstart takes about 1 GB, roberta-base about 2 GB."""
LITTLE_DISK = 2 * 10**9
"""A base encoder takes 0.5 GB, twice that while it is unpacked, and the output of its frozen layers often more."""


def examine_memory() -> Section:
    """Return memory, and the limit of a container or service."""
    section = Section("memory")
    found = memory()
    section.facts["machine"] = byte_count(found.total)
    section.facts["limit"] = "none" if found.limit is None else f"{byte_count(found.limit)} (control group)"
    section.facts["available"] = byte_count(found.available)
    if found.available < LITTLE_MEMORY:
        section.trouble(
            f"{byte_count(found.available)} of memory are available",
            "Close other programs, raise the limit of the container, or choose a small encoder such as minilm.",
        )
    return section


def examine_disks() -> Section:
    """Return the free space for the cache folder and the current folder, and whether they can be written to."""
    section = Section("disk")
    root = cache_root()
    _examine_folder(
        section,
        f"cache folder ({root})",
        nearest_folder(root),
        "Name another cache folder with the environment variable SUBMILLION_CACHE.",
    )
    _examine_folder(section, "current folder", Path.cwd(), "Change to a folder that you may write to.")
    return section


def examine_caches() -> Section:
    """Return the sizes of the cache's parts, and of the hub's own cache."""
    section = Section("caches")
    found = listing()
    for kind, size in found.sizes().items():
        section.facts[kind] = f"{byte_count(size)}, {KINDS[kind]}"
    section.facts["together"] = byte_count(found.size)
    hub = hub_cache()
    with suppress(OSError):
        section.facts[f"cache of the hub ({hub})"] = byte_count(size_of(hub)) if hub.is_dir() else "absent"
    return section


def hub_cache() -> Path:
    """Return the folder in which huggingface_hub stores files."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _examine_folder(section: Section, name: str, folder: Path, remedy: str) -> None:
    try:
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(os.urandom(1))
            probe.flush()
    except OSError as error:
        section.facts[name] = f"cannot be written to ({error.strerror or error})"
        section.trouble(f"the {name} cannot be written to", remedy, prevents_training=True)
        return
    section.facts[name] = f"{byte_count(free)} free"
    if free < LITTLE_DISK:
        section.trouble(
            f"the disk of the {name} has {byte_count(free)} free",
            "Free some space: `submillion cache prune` deletes what is no longer used. Or name another folder.",
        )
