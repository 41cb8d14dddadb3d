"""The files of a pushed repository: an allow-list; nothing else of a run is ever sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.cache import sha256_of
from submillion.errors import BadInput, Problem
from submillion.exporting.folder import AGAIN, PAGE_SETTINGS, REPORT, read_record, recorded_hashes
from submillion.exporting.thresholds import thresholds_of
from submillion.files import strict_json
from submillion.publication.encoder import HubEncoder, encoder_of
from submillion.publication.eval_results import FILE as EVAL_RESULTS
from submillion.publication.eval_results import eval_results
from submillion.publication.options import PushOptions
from submillion.report.card import Repository, card_figures, render_card
from submillion.run_format.export import EXPORT, ExportRecord
from submillion.rundir import RunDir
from submillion.ship.policy import fitted_temperature
from submillion.sources.adapter_files import CONFIG, HEAD, TENSORS
from submillion.sources.folder import TOKENIZER_EXTRAS, TOKENIZERS

CARD = "README.md"
EXPORTS = "exports"
"""Folder of the repository for an export, whose files would otherwise collide with the adapter's."""
FIGURES = "figures"
TOKENIZER_FILES = (*dict.fromkeys(name for names in TOKENIZERS for name in names), *TOKENIZER_EXTRAS)
OF_THE_MACHINE = ("name_or_path", "local_files_only", "is_local")
"""Settings of a saved tokenizer that describe the machine it was loaded on."""

Contents = Mapping[str, Path | bytes]
"""Each file by its path in the repository: a file of the run, or its bytes."""


def contents_of(
    run: RunDir, repository: str, options: PushOptions
) -> tuple[dict[str, Path | bytes], HubEncoder]:
    """Return the files to send, and the encoder that they name; nothing is written.

    Args:
        run: a finished run.
        repository: `name/repository`.
        options: of the push.

    Raises:
        BadInput: the run's files were changed, its encoder is not on the hub, or `exports` is no export of this run.
    """
    encoder = encoder_of(run, options.encoder)
    _check_unchanged(run)
    config = strict_json.read(run.adapter / CONFIG, "the configuration of an adapter", "Train the run again.")
    files: dict[str, Path | bytes] = {
        CONFIG: _json(config | {"base_model_name_or_path": encoder.id, "revision": encoder.revision})
    }
    files |= {name: run.adapter / name for name in (TENSORS, HEAD) if (run.adapter / name).is_file()}
    files |= _tokenizer(run)
    exports = {} if options.exports is None else _exports(run, Path(options.exports))
    adoptable = config.get("peft_type") == "LORA"
    about = Repository(repository, encoder.id, encoder.revision, bool(exports), adoptable)
    files[CARD] = render_card(run, about).encode()
    files |= {f"{FIGURES}/{file.name}": file for file in card_figures(run)}
    if options.eval_results is not None:
        files[EVAL_RESULTS] = eval_results(run, options.eval_results).encode()
    return files | exports, encoder


def stale(present: list[str], files: Contents) -> list[str]:
    """Return the files of a repository that an earlier push has left and this one does not replace.

    Only names that a push itself uses: the head, the tokenizer's files, the evaluation result, and files in `figures`
    and `exports`. transformers would read the words of an earlier `added_tokens.json` into the new tokenizer.
    """
    folders = (f"{FIGURES}/", f"{EXPORTS}/")
    names = (HEAD, EVAL_RESULTS, *TOKENIZER_FILES)
    own = [name for name in present if name in names or name.startswith(folders)]
    return sorted(set(own) - set(files))


def size_of(content: Path | bytes) -> int:
    """Return the size of a file to send in bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _check_unchanged(run: RunDir) -> None:
    """Refuse an adapter or tokenizer that is not the one whose scores the card states."""
    recorded = run.read_manifest().get("files", {})
    found = run.hashes(run.adapter, run.tokenizer)
    places = tuple(f"{place.name}/" for place in (run.adapter, run.tokenizer))
    expected = {name: sha256 for name, sha256 in recorded.items() if name.startswith(places)}
    if changed := sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name)):
        raise BadInput(
            Problem(
                str(run.path / changed[0]),
                "the file that the run was scored with",
                "another one, or none",
                "`verify` lists every file that was changed.",
            )
        )


def _tokenizer(run: RunDir) -> dict[str, Path | bytes]:
    """Return the files of the tokenizer, without what describes this machine."""
    files: dict[str, Path | bytes] = {}
    for name in TOKENIZER_FILES:
        file = run.tokenizer / name
        if not file.is_file():
            continue
        if name == "tokenizer_config.json":
            settings = strict_json.read(file, "the settings of a tokenizer", "Train the run again.")
            files[name] = _json({key: value for key, value in settings.items() if key not in OF_THE_MACHINE})
        else:
            files[name] = file
    return files


def _exports(run: RunDir, folder: Path) -> dict[str, Path | bytes]:
    """Return the files of an export by their path in the repository.

    Raises:
        BadInput: the folder is no export, one of another run, or a file of it is missing or was changed.
    """
    if not (folder / EXPORT).is_file():
        raise BadInput(
            Problem("@{exports}", f"a folder made by `export`, with {EXPORT}", f"none in '{folder}'")
        )
    record = read_record(folder)
    if record["run"]["files"] != run.hashes(run.recipe, run.adapter, run.tokenizer):
        found = f"one of another run or state ('{record['run']['name']}')"
        raise BadInput(Problem("@{exports}", "an export of this run", found, "Export this run again."))
    hashes = recorded_hashes(record)
    for name, sha256 in hashes.items():
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()):
            raise BadInput(Problem(str(folder / EXPORT), "files inside the export", f"'{name}'"))
        if not file.is_file() or sha256_of(file) != sha256:
            found = "another file, or none"
            raise BadInput(
                Problem(str(file), f"the file that {EXPORT} records", found, "Export this run again.")
            )
    if outdated := _outdated(run, folder, record):
        notices.emit(
            "export_outdated",
            f"the {outdated} of the export in '{folder}' is not the one that the run's report has now; to send that, "
            "export the run again.",
            part=outdated,
        )
    names = [*hashes, EXPORT, *(name for name in REPORT if (folder / name).is_file())]
    return {f"{EXPORTS}/{name}": folder / name for name in names}


def _outdated(run: RunDir, folder: Path, record: ExportRecord) -> str | None:
    """Return which part of an export `report` has chosen anew since; None if all of it is that of the run."""
    if record["thresholds"] != thresholds_of(run):
        return "table of thresholds per class"
    if PAGE_SETTINGS in recorded_hashes(record):
        page = strict_json.read(folder / PAGE_SETTINGS, "the settings of a classifier", AGAIN)
        if page.get("temperature") != fitted_temperature(run):
            return "temperature of the page"
    return None


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
