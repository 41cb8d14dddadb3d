"""The encoder that a pushed adapter names: its hub id, and whether the hub's weights are those of the run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from huggingface_hub import HfApi, errors

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.report.filters import last_part
from submillion.rundir import RunDir

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class HubEncoder:
    """An encoder on the hub."""

    id: str
    revision: str | None
    """The commit that the run was trained on, if it is known."""
    stated: bool
    """Whether the user named it, so that only the hashes say that it is the run's encoder."""


def encoder_of(run: RunDir, named: str | None) -> HubEncoder:
    """Return the encoder by which others can load the run's adapter.

    Args:
        run: the run.
        named: hub id that the user names; None takes the one that the run was trained on.

    Raises:
        BadInput: the encoder exists only as a folder, or `named` is no hub id.
    """
    entry = run.read_manifest()["encoder"]
    if named is not None:
        if not _ID.fullmatch(named):
            raise BadInput(Problem("@{encoder}", "the id of an encoder on the hub: name/repository", named))
        revision = entry["revision"] if named == entry["origin"] else None
        return HubEncoder(named, revision, stated=named != entry["origin"])
    if entry["via"] == "folder":
        raise BadInput(
            Problem(
                str(run.path),
                "a run of an encoder that others can load from the hub",
                f"one of the folder '{last_part(entry['origin'])}', which exists on this machine alone",
                "Name a repository with the same weights with @{encoder}; to make one: "
                "hf upload NAME/REPOSITORY FOLDER.",
            )
        )
    return HubEncoder(entry["origin"], entry["revision"], stated=False)


def check_weights(api: HfApi, run: RunDir, encoder: HubEncoder) -> None:
    """Compare the SHA-256 of the weights on the hub with those that the run was trained on.

    Raises:
        BadInput: no such repository, no access to it, or other weights than the run's.
    """
    expected = run.read_manifest()["encoder"]["sha256"]
    try:
        info = api.model_info(encoder.id, revision=encoder.revision, files_metadata=True)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        at = f" at commit {encoder.revision}" if encoder.revision else ""
        raise BadInput(
            Problem(
                "@{encoder}",
                "an encoder on the hub, by which others can load the adapter",
                f"no repository {encoder.id}{at} that the token may read",
            )
        ) from error
    on_hub = {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs is not None}
    weights = [name for name in expected if name.endswith(WEIGHTS)]
    differing = [name for name in weights if name in on_hub and on_hub[name] != expected[name]]
    unknown = [name for name in weights if name not in on_hub]
    if differing and encoder.stated:
        name = differing[0]
        raise BadInput(
            Problem(
                "@{encoder}",
                f"the weights of the run's encoder ({name} with SHA-256 {expected[name]})",
                f"others in {encoder.id} (SHA-256 {on_hub[name]})",
            )
        )
    if differing or unknown:
        which = "differ from" if differing else "cannot be compared with"
        notices.emit(
            "encoder_unconfirmed",
            f"the bytes of the encoder's weights in {encoder.id} {which} those of the training; the card states the "
            "SHA-256 of the latter.",
            files=differing or unknown,
        )
