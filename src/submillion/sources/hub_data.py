"""Data sets of the Hugging Face hub, loaded by `datasets` and kept as one parquet file per split."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants

from submillion.atomic import write_json
from submillion.cache import cache_root
from submillion.errors import BadInput, Problem, SubmillionError
from submillion.sources import store
from submillion.sources.folder import SPLIT_WORDS
from submillion.sources.hub import Repo, Unreachable, answers, bars, licence_text, no_answer, say_unreachable

COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch_dataset(repo: Repo, progress: bool) -> tuple[Path, dict[str, Any]]:
    """Load a data set of the hub with `datasets` and keep each split as a parquet file in our cache.

    Returns:
        The folder and its receipt; `facts` in it are `splits` (file name by split), `left_out` (other
        splits), `labels` and `label` (class names and their column, where just one column has them),
        `commit` and `licence`.

    Raises:
        BadInput: no such repository, revision or configuration, no access to it, no answer, or no data in it.
    """
    home = cache_root() / "data" / repo.id.replace("/", "--")
    try:
        commit, licence = _resolved(repo, home)
    except Unreachable as error:
        return _without_hub(repo, home, progress, error)
    target = _folder(home, repo, commit)
    receipt = store.kept(target, lambda folder: _materialise(repo, commit, licence, folder, progress))
    _remember(home, repo, commit)
    return target, receipt


def _folder(home: Path, repo: Repo, commit: str) -> Path:
    return home / (f"{commit}-{repo.config}" if repo.config else commit)


def _resolved(repo: Repo, home: Path) -> tuple[str, str | None]:
    """Return the commit that the revision names now, and the licence; a cached commit needs no question."""
    commit = repo.revision if repo.revision and COMMIT.fullmatch(repo.revision) else None
    if commit and (receipt := store.intact(_folder(home, repo, commit))):
        return commit, receipt["facts"]["licence"]
    with answers(repo):
        info = HfApi().dataset_info(repo.id, revision=repo.revision)
    if info.sha is None:
        raise BadInput(Problem(repo.asked, "a commit as the hub's answer", "none", "Name one: ID@COMMIT."))
    return info.sha, licence_text(info.card_data.get("license")) if info.card_data else None


def _without_hub(repo: Repo, home: Path, progress: bool, error: Unreachable) -> tuple[Path, dict[str, Any]]:
    """Return what our cache or that of `datasets` has; the original error where neither has it."""
    commit = _remembered(home).get(repo.revision or "main")
    receipt = store.intact(_folder(home, repo, commit)) if commit else None
    if commit is None or receipt is None:
        if not constants.HF_HUB_OFFLINE:
            raise error  # `datasets` would ask the hub once more, for a long time
        try:
            loaded = _load(repo, repo.revision, progress)
        except BadInput:
            raise error from None
        commit = _commit_of(loaded)
        if commit is None or (repo.revision and COMMIT.fullmatch(repo.revision) and commit != repo.revision):
            raise error
        found = commit
        target = _folder(home, repo, found)
        receipt = store.kept(target, lambda folder: _save(loaded, repo, found, None, folder))
        _remember(home, repo, commit)
    say_unreachable(repo, commit)
    return _folder(home, repo, commit), receipt


def _remembered(home: Path) -> dict[str, str]:
    """Return the commit that each revision named when the hub last answered."""
    try:
        return dict(json.loads((home / "revisions.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _remember(home: Path, repo: Repo, commit: str) -> None:
    known = _remembered(home)
    if known.get(repo.revision or "main") != commit:
        with contextlib.suppress(
            SubmillionError
        ):  # only needed without the hub; the data itself is in the cache
            write_json(home / "revisions.json", known | {repo.revision or "main": commit})


def _materialise(
    repo: Repo, commit: str, licence: str | None, folder: Path, progress: bool
) -> dict[str, Any]:
    loaded = _load(repo, commit, progress)
    # When a download breaks, `datasets` takes whatever version its cache has.
    if (got := _commit_of(loaded)) != commit:
        raise Unreachable(no_answer(repo, f"a broken download, and another version in the cache ({got})"))
    return _save(loaded, repo, commit, licence, folder)


def _load(repo: Repo, revision: str | None, progress: bool) -> Any:
    import datasets
    from datasets.exceptions import DatasetsError

    with answers(repo), bars(progress), bars(progress, "datasets"):
        try:
            return datasets.load_dataset(repo.id, name=repo.config, revision=revision)
        except (DatasetsError, ValueError, RuntimeError) as error:
            said = f"{error} {error.__cause__ or ''}".split("Example of usage")[0]
            found = " ".join(said.split())
            remedy = f"Name one of its configurations: {repo.id}:CONFIGURATION." if "onfig" in found else ""
            raise BadInput(
                Problem(repo.asked, "a data set that `datasets` can load", found, remedy)
            ) from error


def _commit_of(loaded: Mapping[str, Any]) -> str | None:
    """Return the commit a loaded data set comes from; `datasets` names the folder of its files after it."""
    files = [file["filename"] for split in loaded.values() for file in split.cache_files]
    commits = {part for file in files for part in Path(file).parts if COMMIT.fullmatch(part)}
    return commits.pop() if len(commits) == 1 else None


def _save(
    loaded: Mapping[str, Any], repo: Repo, commit: str, licence: str | None, folder: Path
) -> dict[str, Any]:
    """Write the splits that a run can use as parquet; return what else is known."""
    named: dict[str, str] = {}
    for name in loaded:
        for split, words in SPLIT_WORDS.items():
            if name.lower() in words:
                named.setdefault(split, name)
    if not named and len(loaded) == 1:
        named = {"train": next(iter(loaded))}
    if not named:
        raise BadInput(Problem(repo.asked, "a split named train, validation or test", ", ".join(loaded)))
    with bars(False, "datasets"):
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
