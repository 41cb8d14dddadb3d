"""Encoders of the Hugging Face hub, through its own library, with its mirrors, cache and offline mode."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import (
    HfApi,
    constants,
    errors,
    hf_hub_download,
    metadata_load,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.file_download import repo_folder_name

from submillion import notices
from submillion.cache import cache_root
from submillion.errors import BadInput, Problem, SubmillionError, did_you_mean
from submillion.sources import store
from submillion.sources.catalog import DATASETS, ENCODERS
from submillion.sources.folder import ENCODER_PATTERNS, POOLING, encoder_files, pools_by_mean, read_config


class Unreachable(BadInput):
    """The hub does not answer, and the cache does not have the repository."""


@dataclass(frozen=True)
class Repo:
    """A repository of the hub, and the user's name for it."""

    id: str
    """`organisation/name`."""
    kind: str
    """`model` or `dataset`, as the hub calls them."""
    revision: str | None
    """Branch, tag or commit; None is the main branch."""
    requested: str
    """As the user named it."""
    config: str | None = None
    """One of a data set's configurations, if it has several."""

    @property
    def field(self) -> str:
        """The recipe field that can name a folder instead."""
        return "encoder.source" if self.kind == "model" else "data.train"


class AdapterRepo(Repo):
    """A repository that holds an adapter."""

    @property
    def field(self) -> str:
        """The argument that can name a folder instead."""
        return "adapter"


@dataclass(frozen=True)
class Snapshot:
    """An encoder's repository at one commit, in the hub's cache."""

    path: Path
    commit: str
    sha256: dict[str, str]
    licence: str | None


def encoder_config(repo: Repo) -> dict[str, Any]:
    """Return the config.json of an encoder on the hub.

    Raises:
        BadInput: see `fetch_encoder`.
    """
    file = _downloaded(repo, partial(hf_hub_download, repo.id, "config.json", revision=repo.revision), False)
    return read_config(file.parent, repo.requested)


def trained_with_mean(repo: Repo) -> bool:
    """Return whether an encoder on the hub was trained with the mean of its last states.

    Raises:
        BadInput: the hub refuses, or it does not answer and its cache does not tell.
    """
    try:
        file = _downloaded(repo, partial(hf_hub_download, repo.id, POOLING, revision=repo.revision), False)
    except Unreachable:
        known = try_to_load_from_cache(repo.id, POOLING, revision=repo.revision)
        if known is not None:  # the hub has answered before that there is no such file
            return False
        raise BadInput(
            Problem(
                "head.pooling",
                f"first or mean, since neither the hub nor its cache tells how {repo.requested} was trained",
                "auto",
                "Use @{head.pooling=mean} for a sentence encoder that was trained with it, else @{head.pooling=first}.",
            )
        ) from None
    except BadInput as error:
        if isinstance(error.__cause__, errors.RemoteEntryNotFoundError):
            return False
        raise
    return pools_by_mean(file)


def fetch_encoder(repo: Repo, progress: bool) -> Snapshot:
    """Download configuration, tokenizer and safetensors weights into the hub's own cache.

    Raises:
        BadInput: no such repository or revision, no access to it, no answer, or no encoder in it.
    """
    patterns = [*ENCODER_PATTERNS, POOLING, "README.md"]
    download = partial(snapshot_download, repo.id, revision=repo.revision, allow_patterns=patterns)
    path = _downloaded(repo, download, progress)
    weights = any(path.glob("*.safetensors"))
    names = encoder_files(path, repo.requested, () if weights else _listing(repo, path.name))
    sha256 = store.hashes(path, names, _receipt(repo, path.name))
    _check_blobs(path, sha256)
    return Snapshot(path, path.name, sha256, _licence(path / "README.md"))


def fetch_files(repo: Repo, patterns: list[str], progress: bool) -> tuple[Path, str, str | None]:
    """Download files of a repository into the hub's own cache.

    Returns:
        The folder, the commit, and the licence in the repository's card.

    Raises:
        BadInput: no such repository or revision, no access to it, or no answer.
    """
    wanted = [*patterns, "README.md"]
    download = partial(snapshot_download, repo.id, revision=repo.revision, allow_patterns=wanted)
    path = _downloaded(repo, download, progress)
    return path, path.name, _licence(path / "README.md")


def _downloaded(repo: Repo, download: Callable[..., str], progress: bool) -> Path:
    """Return what a function of the hub's library downloads, or finds in its cache if the hub does not answer."""
    try:
        # Asked first, because the download itself would silently fall back to the cache.
        with hub_errors(repo):
            commit = HfApi().model_info(repo.id, revision=repo.revision).sha or ""
    except Unreachable as error:
        try:
            path = Path(download(local_files_only=True))
        except OSError:
            raise error from None
        notice_unreachable(repo, path.name if path.is_dir() else path.parent.name)
        return path
    with hub_errors(repo), progress_bars(progress and not _receipt(repo, commit).exists()):
        return Path(download())


def _receipt(repo: Repo, commit: str) -> Path:
    return cache_root() / "hub" / repo.id.replace("/", "--") / f"{commit}.json"


def is_cached(repo: Repo) -> bool:
    """Return whether the hub's cache holds any weights of a repository."""
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo.id, repo_type=repo.kind)
    return any(folder.glob("snapshots/*/*.safetensors"))


def notice_unreachable(repo: Repo, commit: str) -> None:
    """Emit a notice that the cache is used instead of the hub, unless the user requested offline mode."""
    if not constants.HF_HUB_OFFLINE:
        notices.emit(
            "hub_unreachable",
            f"{repo.requested}: the hub does not answer; commit {commit} from the cache is used.",
        )


def _listing(repo: Repo, commit: str) -> list[str]:
    """Return all file names of a repository, for messages; none if the hub does not answer."""
    try:
        return HfApi().list_repo_files(repo.id, revision=commit)
    except connection_errors():
        return []


def _check_blobs(path: Path, sha256: Mapping[str, str]) -> None:
    """Reject a large file that does not have the hash in its name in the hub's cache."""
    problems = []
    for name, got in sha256.items():
        # The cache links to files named by their sha256 (large files) or their git hash (40 digits, small files).
        blob = (path / name).resolve()
        if re.fullmatch(r"[0-9a-f]{64}", blob.name) and blob.name != got:
            problems.append(
                Problem(str(path / name), f"sha256 {blob.name}", got, f"Delete {blob} and run this again.")
            )
    if problems:
        raise BadInput(problems)


def _licence(readme: Path) -> str | None:
    """Return the licence in a repository's card."""
    try:
        card = metadata_load(readme) or {}
    except (OSError, ValueError, yaml.YAMLError):
        return None  # a card without metadata is not an error
    return licence_text(card.get("license"))


def licence_text(licence: Any) -> str | None:
    """Return a card's licence entry, a name or several, as one string."""
    return ", ".join(map(str, licence)) if isinstance(licence, list) else licence and str(licence)


@contextlib.contextmanager
def progress_bars(progress: bool, library: str = "huggingface_hub") -> Iterator[None]:
    """Show or hide the progress bars of `huggingface_hub` or `datasets`."""
    tqdm = import_module(f"{library}.utils.tqdm")
    if progress or tqdm.are_progress_bars_disabled():
        yield
        return
    tqdm.disable_progress_bars()
    try:
        yield
    finally:
        tqdm.enable_progress_bars()


def connection_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of a broken connection, for every HTTP library that huggingface_hub uses."""
    return (errors.HTTPError, OSError)  # type: ignore[attr-defined]


@contextlib.contextmanager
def hub_errors(repo: Repo) -> Iterator[None]:
    """Convert the errors of the hub's libraries.

    Raises:
        Unreachable: the hub does not answer, and its cache does not have the repository.
        BadInput: the hub refuses.
    """
    try:
        yield
    except errors.GatedRepoError as error:
        raise BadInput(
            Problem(
                repo.requested,
                f"a {repo.kind} that you may read",
                f"the gated repository {repo.id}",
                "Accept its terms on its page, then log in: hf auth login (or set HF_TOKEN).",
            )
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise BadInput(
            Problem(
                repo.requested,
                f"a folder here, or a {repo.kind} on the hub",
                f"no such folder, and no public repository {repo.id}",
                _suggestion(repo) + "If it is private, log in: hf auth login (or set HF_TOKEN).",
            )
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BadInput(
            Problem(
                repo.requested,
                f"a branch, tag or commit of {repo.id}",
                f"no revision '{repo.revision}' in it",
            )
        ) from error
    except errors.HFValidationError as error:
        raise BadInput(Problem(repo.requested, "a repository's id on the hub", str(error))) from error
    except errors.RemoteEntryNotFoundError as error:
        raise BadInput(
            Problem(
                repo.requested,
                "an encoder with config.json",
                "none in the repository",
                "If it holds an adapter (adapter_config.json), name the encoder that this was trained on.",
            )
        ) from error
    except connection_errors() as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise SubmillionError(f"the hub's cache could not be written: {error}") from error
        raise Unreachable(unreachable_problem(repo, _cause(error))) from error


def _suggestion(repo: Repo) -> str:
    catalog = ENCODERS if repo.kind == "model" else DATASETS
    names = [name for entry in catalog.values() for name in (entry.name, entry.hub) if name]
    known = did_you_mean(repo.id, names) or did_you_mean(repo.id.split("/")[-1], names)
    return f"{known} " if known else ""


def _cause(error: BaseException) -> str:
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE set, and nothing complete in the cache"
    return f"no answer ({' '.join(str(error).split())[:200]})"


def unreachable_problem(repo: Repo, found: str) -> Problem:
    """Return the problem of an unreachable hub, with three remedies."""
    if repo.kind == "model":
        copy = f"run: hf download {repo.id}, and copy its cache folder to {constants.HF_HUB_CACHE}"
    else:
        call = f"from submillion.sources.fetch import fetch_data; fetch_data('{repo.requested}')"
        copy = f'run: python -c "{call}", and copy its cache folder to {cache_root()}'
    return Problem(
        repo.requested,
        f"the {repo.kind} {repo.id} from the hub (tried: {constants.ENDPOINT}, then the caches)",
        found,
        f"Three remedies: (1) name a local folder or file with @{{{repo.field}}}; (2) name a mirror that "
        f"answers: HF_ENDPOINT=URL; (3) on a machine with network {copy} here (then set HF_HUB_OFFLINE=1).",
    )
