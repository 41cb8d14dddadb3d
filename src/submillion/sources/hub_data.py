"""Data sets of the Hugging Face hub, loaded by `datasets` and cached as one parquet file per split."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants

from submillion.cache import cache_root
from submillion.errors import BadInput, Problem, SubmillionError
from submillion.files.atomic import write_json
from submillion.sources import store
from submillion.sources.data_folder import SPLIT_WORDS
from submillion.sources.hub import (
    Repo,
    Unreachable,
    hub_errors,
    licence_text,
    notice_unreachable,
    progress_bars,
    unreachable_problem,
)

COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch_dataset(repo: Repo, progress: bool) -> tuple[Path, dict[str, Any]]:
    """Load a data set of the hub with `datasets` and cache each split as a parquet file.

    Args:
        repo: the data set.
        progress: show downloads on standard error.

    Returns:
        The folder and its receipt, whose `facts` are `splits` (file name by split), `left_out` (other splits),
        `labels` and `label` (class names and their column, if exactly one column has them), `commit` and `licence`.

    Raises:
        BadInput: no such repository, revision or configuration, no access to it, no answer, or no data.
    """
    home = cache_root() / "data" / repo.id.replace("/", "--")
    try:
        commit, licence = _resolved(repo, home)
    except Unreachable as error:
        return _without_hub(repo, home, progress, error)
    target = _folder(home, repo, commit)
    receipt = store.cached_folder(
        target, lambda folder: _materialise(repo, commit, licence, folder, progress)
    )
    _record_commit(home, repo, commit)
    return target, receipt


def _folder(home: Path, repo: Repo, commit: str) -> Path:
    return home / (f"{commit}-{repo.config}" if repo.config else commit)


def _resolved(repo: Repo, home: Path) -> tuple[str, str | None]:
    """Return the commit that the revision names now, and the licence; a cached commit needs no request."""
    commit = repo.revision if repo.revision and COMMIT.fullmatch(repo.revision) else None
    if commit and (receipt := store.intact(_folder(home, repo, commit))):
        return commit, receipt["facts"]["licence"]
    with hub_errors(repo):
        info = HfApi().dataset_info(repo.id, revision=repo.revision)
    if info.sha is None:
        raise BadInput(
            Problem(repo.requested, "a commit in the hub's answer", "none", "Name a commit: ID@COMMIT.")
        )
    return info.sha, licence_text(info.card_data.get("license")) if info.card_data else None


def _without_hub(repo: Repo, home: Path, progress: bool, error: Unreachable) -> tuple[Path, dict[str, Any]]:
    """Return the folder in our cache or a copy from the cache of `datasets`; raise `error` if neither has the data."""
    commit = _known_commits(home).get(repo.revision or "main")
    receipt = store.intact(_folder(home, repo, commit)) if commit else None
    if commit is None or receipt is None:
        if not constants.HF_HUB_OFFLINE:
            raise error  # `datasets` would retry the hub for a long time
        try:
            loaded = _load(repo, repo.revision, progress)
        except BadInput:
            raise error from None
        commit = _commit_of(loaded)
        if commit is None or (repo.revision and COMMIT.fullmatch(repo.revision) and commit != repo.revision):
            raise error
        resolved = commit
        target = _folder(home, repo, resolved)
        receipt = store.cached_folder(target, lambda folder: _save(loaded, repo, resolved, None, folder))
        _record_commit(home, repo, commit)
    notice_unreachable(repo, commit)
    return _folder(home, repo, commit), receipt


def _known_commits(home: Path) -> dict[str, str]:
    """Return the commit of each revision as of the hub's last answer."""
    try:
        return dict(json.loads((home / "revisions.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _record_commit(home: Path, repo: Repo, commit: str) -> None:
    known = _known_commits(home)
    if known.get(repo.revision or "main") != commit:
        # Needed only without the hub; the data itself is in the cache.
        with contextlib.suppress(SubmillionError):
            write_json(home / "revisions.json", known | {repo.revision or "main": commit})


def _materialise(
    repo: Repo, commit: str, licence: str | None, folder: Path, progress: bool
) -> dict[str, Any]:
    loaded = _load(repo, commit, progress)
    # If a download breaks, `datasets` uses any version in its cache.
    if (got := _commit_of(loaded)) != commit:
        raise Unreachable(
            unreachable_problem(repo, f"a broken download, and another version in the cache ({got})")
        )
    return _save(loaded, repo, commit, licence, folder)


def _load(repo: Repo, revision: str | None, progress: bool) -> Any:
    import datasets
    from datasets.exceptions import DatasetsError

    with hub_errors(repo), progress_bars(progress), progress_bars(progress, "datasets"):
        try:
            return datasets.load_dataset(repo.id, name=repo.config, revision=revision)
        except (DatasetsError, ValueError, RuntimeError) as error:
            lines = f"{error} {error.__cause__ or ''}".split("Example of usage")[0]
            message = " ".join(lines.split())
            remedy = f"Name one of its configurations: {repo.id}:CONFIGURATION." if "onfig" in message else ""
            raise BadInput(
                Problem(repo.requested, "a data set that `datasets` can load", message, remedy)
            ) from error


def _commit_of(loaded: Mapping[str, Any]) -> str | None:
    """Return the commit of a loaded data set, which is in the path of its files; None if there is not exactly one."""
    files = [file["filename"] for split in loaded.values() for file in split.cache_files]
    commits = {part for file in files for part in Path(file).parts if COMMIT.fullmatch(part)}
    return commits.pop() if len(commits) == 1 else None


def _save(
    loaded: Mapping[str, Any], repo: Repo, commit: str, licence: str | None, folder: Path
) -> dict[str, Any]:
    """Write the splits that a run can use as parquet; return the facts of the receipt."""
    named: dict[str, str] = {}
    for name in loaded:
        for split, words in SPLIT_WORDS.items():
            if name.lower() in words:
                named.setdefault(split, name)
    if not named and len(loaded) == 1:
        named = {"train": next(iter(loaded))}
    if not named:
        raise BadInput(Problem(repo.requested, "a split named train, validation or test", ", ".join(loaded)))
    with progress_bars(False, "datasets"):
        for split, name in named.items():
            loaded[name].to_parquet(folder / f"{split}.parquet")
    features = loaded[next(iter(named.values()))].features
    classes = {name: feature.names for name, feature in features.items() if hasattr(feature, "names")}
    label, labels = classes.popitem() if len(classes) == 1 else (None, None)
    return {
        "splits": {split: f"{split}.parquet" for split in named},
        "left_out": sorted(set(loaded) - set(named.values())),
        "label": label,
        "labels": labels,
        "commit": commit,
        "licence": licence,
    }
