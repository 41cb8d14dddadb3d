"""Pushes a run to the Hugging Face hub in one commit: everything is checked before anything is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, errors, get_token
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, not in __all__

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.publication.contents import CARD, contents_of, size_of, stale
from submillion.publication.encoder import check_weights
from submillion.publication.options import PushOptions
from submillion.publication.refusals import LOG_IN, refusals
from submillion.rundir import RunDir
from submillion.sources.adapter_files import CONFIG
from submillion.sources.hub import progress_bars
from submillion.terminal.text_table import align_columns
from submillion.version import __version__
from submillion.wording import byte_count, listed

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*")
OF_AN_EMPTY_ONE = (".gitattributes", ".gitignore", "readme.md", "license", "license.md", "license.txt")
"""Files, in lower case, that a repository without a model may hold."""


@dataclass(frozen=True, repr=False)
class Pushed:
    """What a push has sent, or would send."""

    repository: str
    files: dict[str, int]
    """Size in bytes by path in the repository."""
    card: str
    """The README.md of the repository."""
    url: str | None = None
    """Of the repository; None after a dry run."""
    commit: str | None = None
    removed: list[str] = field(default_factory=list)
    """Files of an earlier push that the commit has removed."""

    def __repr__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return the files with their sizes, and the address; of a dry run the card, too."""
        rows = [[name, byte_count(size)] for name, size in self.files.items()]
        total = byte_count(sum(self.files.values()))
        lines = align_columns([["file", "size"], *rows])
        if self.removed:
            lines.append(f"Removed, because an earlier push had left them: {', '.join(self.removed)}.")
        if self.url is None:
            lines += [f"{len(rows)} files, {total}; nothing was sent.", "", f"{CARD}:", "", self.card]
        else:
            lines.append(f"{len(rows)} files, {total}: {self.url}, commit {self.commit}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the push as a JSON object; the card is in it after a dry run only."""
        sent = {"repository": self.repository, "url": self.url, "commit": self.commit}
        lists: dict[str, Any] = {"files": self.files, "removed": self.removed}
        return sent | lists | ({"card": self.card} if self.url is None else {})


@dataclass(frozen=True)
class _Present:
    """A repository before a push."""

    files: list[str]
    commit: str | None
    """The commit that the push follows; the hub refuses it if another one came in between."""


def push(path: str | Path, repository: str, options: PushOptions, progress: bool = False) -> Pushed:
    """Send a run to a repository of the hub, in one commit; peft loads its adapter from there.

    The order is: everything that can be refused here, then everything that the hub can refuse without a change, then
    the repository if it is new, then one commit of all files. A push that fails leaves the earlier state of the
    repository, or a new and empty one.

    Args:
        path: a finished run.
        repository: `name/repository`.
        options: of the push.
        progress: show the upload on standard error.

    Raises:
        BadInput: an unfinished or changed run, an encoder that is not on the hub, an export of another run, no token,
            a repository that holds something else or is public in place of private, or a refusal of the hub.
    """
    _check_name(repository)
    options.check()
    run = RunDir.open(path)
    run.check_trained()
    files, encoder = contents_of(run, repository, options)
    card = files[CARD]
    text = card.decode() if isinstance(card, bytes) else ""
    pushed = Pushed(repository, {name: size_of(content) for name, content in files.items()}, text)
    if options.dry_run:
        return pushed
    token = get_token()
    if token is None:
        raise BadInput(Problem(repository, "a token of the hub", "none", LOG_IN))
    api = HfApi(token=token, library_name="submillion", library_version=__version__)
    with refusals(repository, options.revision), progress_bars(progress):
        check_weights(api, run, encoder)
        present = _present(api, repository, options)
        removed = stale(present.files if present else [], files)
        if present is None:
            api.create_repo(repository, private=options.private or None)
        operations: list[Any] = [CommitOperationAdd(name, content) for name, content in files.items()]
        operations += [CommitOperationDelete(name) for name in removed]
        message = f"submillion push: {run.read_manifest()['name']}"
        try:
            commit = api.create_commit(
                repository,
                operations,
                commit_message=message,
                revision=options.revision,
                parent_commit=present.commit if present else None,
            )
        except BaseException:
            if present is None:
                notices.emit(
                    "repository_created", f"{repository} was created before the failure, and is empty."
                )
            raise
    return Pushed(repository, pushed.files, text, str(commit.repo_url), commit.oid, removed)


def _check_name(repository: str) -> None:
    """Refuse a name that the hub has no repository of; a dry run refuses it, too.

    Raises:
        BadInput: another type, another form than name/repository, or one that the hub does not allow.
    """
    found = None
    if not isinstance(repository, str) or not _REPOSITORY.fullmatch(repository):
        found = repr(repository)
    else:
        try:
            validate_repo_id(repository)
        except errors.HFValidationError as error:
            found = " ".join(str(error).split()).removesuffix(".")
    if found is not None:
        raise BadInput(Problem("@{repository}", "name/repository", found))


def _present(api: HfApi, repository: str, options: PushOptions) -> _Present | None:
    """Return the state of a repository, None if the token can see none; refuse one that does not fit.

    Raises:
        BadInput: a new repository with a branch, a public one in place of a private one, or one that holds a model of
            another kind.
    """
    try:
        info = api.model_info(repository, revision=options.revision)
    except errors.RepositoryNotFoundError:
        if options.revision is not None:
            found = f"no repository {repository} that the token can see"
            raise BadInput(Problem("@{revision}", "a branch of an existing repository", found)) from None
        return None
    if options.private and not info.private:
        raise BadInput(
            Problem(
                "@{private}",
                "a new or a private repository",
                f"{repository}, which is public",
                "Make it private on its page, or name another repository.",
            )
        )
    names = [file.rfilename for file in info.siblings or []]
    others = [name for name in names if name.lower() not in OF_AN_EMPTY_ONE]
    if others and CONFIG not in names:
        raise BadInput(
            Problem(
                repository,
                "a new or empty repository, or one that holds an adapter",
                f"one with {listed(others[:4])}",
                "Name another repository.",
            )
        )
    return _Present(names, info.sha)
