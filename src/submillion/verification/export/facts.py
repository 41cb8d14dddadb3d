"""The checks of what an export says about its run and its files, without an answer of any of them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from submillion.assess.run_context import RunContext
from submillion.cache import sha256_of
from submillion.data.tokenizer import load_tokenizer
from submillion.exporting.folder import AGAIN, PAGE_SETTINGS
from submillion.exporting.record import count_longer, facts_of
from submillion.exporting.rows import NOW, Joined, Rows, accuracy_of
from submillion.files import strict_json
from submillion.run_format.export import EXPORT, ExportRecord
from submillion.ship.export.web.files import FOLDER, GRAPH, VENDOR_SHA256
from submillion.ship.export.web.page import write_page
from submillion.ship.policy import fitted_temperature
from submillion.verification.verdict import Check, compared
from submillion.version import __version__

TOKENIZER = "tokenizer_config.json"
HASHES = ("files", "predictions", "encoder")
"""Entries of the run that are compared before the others: with another run, nothing else is."""
ACCURACY = 0.005
"""Of answers that another processor has given again."""


def has_page(record: ExportRecord) -> bool:
    """Return whether an export has the page for browsers."""
    return f"{FOLDER}/{GRAPH}" in record["files"]


def check_files(folder: Path, record: ExportRecord) -> list[Check]:
    """Compare what the files themselves say about classes, name and longest input with export.json."""
    config = strict_json.read(folder / "config.json", "the configuration of a model", AGAIN)
    names = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
    labels, longest = record["labels"], record["max_length"]
    checks = _unequal("labels", "config.json: id2label", labels, names)
    checks += _unequal(
        "labels",
        "config.json: label2id",
        {name: index for index, name in enumerate(labels)},
        config["label2id"],
    )
    checks += _unequal("labels", f"{TOKENIZER}: model_max_length", longest, _longest(folder / TOKENIZER))
    if has_page(record):
        page = strict_json.read(folder / PAGE_SETTINGS, "the settings of a classifier", AGAIN)
        claimed = {"name": record["run"]["name"], "labels": labels, "longest input": longest}
        found = {
            "name": page["name"],
            "labels": page["labels"],
            "longest input": page["tokenizer"]["max_length"],
        }
        checks += _unequal("labels", PAGE_SETTINGS, claimed, found)
    return checks or [Check("labels", True, "config.json", found=f"{len(names)} classes")]


def check_page(folder: Path) -> list[Check]:
    """Compare the page for browsers with the one of this version, byte for byte, and the packages that it runs."""
    with tempfile.TemporaryDirectory() as scratch:
        write_page(Path(scratch))
        names = sorted(
            file.relative_to(scratch).as_posix() for file in Path(scratch).rglob("*") if file.is_file()
        )
        differing = [
            name
            for name in names
            if not (folder / FOLDER / name).is_file()
            or (folder / FOLDER / name).read_bytes() != (Path(scratch) / name).read_bytes()
        ]
    differing += [
        name
        for name, sha256 in VENDOR_SHA256.items()
        if not (folder / FOLDER / name).is_file() or sha256_of(folder / FOLDER / name) != sha256
    ]
    return [
        Check("pages", False, f"{FOLDER}/{name}", "the same bytes as this version's", "others")
        for name in differing
    ]


def check_facts(
    folder: Path, record: ExportRecord, context: RunContext, rows: dict[str, Rows]
) -> list[Check]:
    """Compare every statement about the run with the run."""
    found: dict[str, Any] = dict(facts_of(context))
    claimed: dict[str, Any] = {name: dict(record).get(name, False) for name in found}
    for side in (claimed, found):
        side["run"] = {name: value for name, value in side["run"].items() if name not in HASHES}
    # Another version may write other metadata, and may lack the columns.
    if record["submillion"] != __version__:
        claimed |= {name: found[name] for name in ("metadata", "text_columns")}
    every = Joined.of(rows)
    tokenizer = load_tokenizer(context.run.tokenizer)
    claimed["longer_rows"] = record["longer_rows"]
    found["longer_rows"] = count_longer(tokenizer, every.texts, found["max_length"])
    thresholds = claimed.pop("thresholds"), found.pop("thresholds")
    summary = "{leaves} statements about the run"
    checks = compared("facts", EXPORT, claimed, found, summary=summary)
    if thresholds != (None, None):
        where, summary = f"{EXPORT}: thresholds", "the thresholds per class of the run"
        checks += compared("thresholds", where, *thresholds, summary=summary)
    checks += _accuracy(record["reference"]["accuracy"], every, rows)
    if has_page(record):
        page = strict_json.read(folder / PAGE_SETTINGS, "the settings of a classifier", AGAIN)
        temperature = fitted_temperature(context.run)
        checks += _unequal("facts", f"{PAGE_SETTINGS}: temperature", page["temperature"], temperature)
    return checks


def _accuracy(claimed: float | None, every: Joined, rows: dict[str, Rows]) -> list[Check]:
    """Compare the accuracy of the run, from which those of the files are subtracted."""
    found = accuracy_of(every)
    reach = ACCURACY if any(part.source == NOW for part in rows.values()) else 1e-9
    if claimed == found or (claimed is not None and found is not None and abs(claimed - found) <= reach):
        return []
    return [Check("facts", False, f"{EXPORT}: reference.accuracy", f"{claimed}", f"{found}")]


def _longest(file: Path) -> Any:
    return strict_json.read(file, "the settings of a tokenizer", AGAIN).get("model_max_length")


def _unequal(name: str, where: str, claimed: Any, found: Any) -> list[Check]:
    """Return one failing check per leaf that differs."""
    return [check for check in compared(name, where, claimed, found) if not check.holds]
