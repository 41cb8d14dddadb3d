"""Finds an adapter that another program trained: a folder, or a repository of the hub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from submillion.cache import sha256_of
from submillion.errors import BadInput, Problem
from submillion.sources.adapter_files import CONFIG, HEAD, PICKLED, TENSORS
from submillion.sources.folder import TOKENIZER_EXTRAS, TOKENIZERS
from submillion.sources.locate import looks_like_a_path

CLASSES = "config.json"
"""Some programs save the encoder's configuration with the class names beside the adapter."""
FILES = (
    CONFIG,
    TENSORS,
    HEAD,
    CLASSES,
    *dict.fromkeys(name for names in TOKENIZERS for name in names),
    *TOKENIZER_EXTRAS,
)
"""The files of an adapter that are read; the rest of its folder is not needed."""


@dataclass(frozen=True)
class FetchedAdapter:
    """An adapter on this machine."""

    path: Path
    name: str
    """As the user named it."""
    origin: str
    """Hub id, or the folder's absolute path."""
    revision: str | None
    """The hub's commit."""
    licence: str | None
    sha256: dict[str, str]
    """By file name, of those of FILES that are there."""

    @property
    def class_names(self) -> list[str] | None:
        """The class names by index in the adapter's own config.json; None if it has none, or placeholders."""
        return class_names(self.path / CLASSES)


def fetch_adapter(source: str, revision: str | None = None, progress: bool = True) -> FetchedAdapter:
    """Find an adapter on this machine, or download it.

    Args:
        source: folder or hub id, tried in this order.
        revision: of the hub's repository: branch, tag or commit.
        progress: show downloads on standard error.

    Raises:
        BadInput: it cannot be found or reached, or it is no adapter in the safetensors format.
    """
    path = Path(source).expanduser()
    if path.exists() or looks_like_a_path(source):
        if revision is not None:
            raise BadInput(Problem("@{revision}", "none with a folder", revision))
        return _checked(path.resolve(), source, str(path.resolve()), None, None)
    from submillion.sources import hub  # noqa: PLC0415  # huggingface_hub takes a second to load

    repo = hub.AdapterRepo(source, "model", revision, source)
    path, commit, licence = hub.fetch_files(repo, [*FILES, PICKLED], progress)
    return _checked(path, source, source, commit, licence)


def class_names(file: Path) -> list[str] | None:
    """Return the class names by index in a config.json; None if it has none, or placeholders such as LABEL_0.

    A file that cannot be read has none: the names only serve as a check.
    """
    try:
        names = {
            int(index): str(name)
            for index, name in json.loads(file.read_text(encoding="utf-8"))["id2label"].items()
        }
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    listed = [names.get(index, "") for index in range(len(names))]
    placeholders = [f"LABEL_{index}" for index in range(len(names))]
    return listed if all(listed) and listed != placeholders else None


def _checked(path: Path, name: str, origin: str, revision: str | None, licence: str | None) -> FetchedAdapter:
    expected = f"an adapter of peft: a folder with {CONFIG} and {TENSORS}, or its id on the hub"
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing there"
        raise BadInput(Problem(name, expected, found))
    missing = [file for file in (CONFIG, TENSORS) if not (path / file).is_file()]
    if TENSORS in missing and (path / PICKLED).exists():
        raise BadInput(
            Problem(
                name,
                f"tensors in {TENSORS}",
                f"{PICKLED}, a pickle, which can run code that its author chose",
                "If you trust it, load it with peft and save it with save_pretrained(FOLDER), which writes "
                f"{TENSORS}; then name this folder.",
            )
        )
    if missing:
        raise BadInput(Problem(name, expected, f"no {' and no '.join(missing)}"))
    sha256 = {file: sha256_of(path / file) for file in sorted(FILES) if (path / file).is_file()}
    return FetchedAdapter(path, name, origin, revision, licence, sha256)
