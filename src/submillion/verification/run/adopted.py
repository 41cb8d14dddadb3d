"""Checks of an adopted run: its adapter against the original, its budget by the file, and the list of unknown facts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.assess import registry
from submillion.budget.saved import count_saved
from submillion.cache import sha256_of
from submillion.model.adopted_adapter import adopt
from submillion.model.foreign import read_foreign
from submillion.sources.adapter_files import CONFIG, HEAD, TENSORS
from submillion.verification.run.budget import adapter_shapes
from submillion.verification.run.case import Case
from submillion.verification.run.files import failed_parts, unfinished
from submillion.verification.run.retraining import recorded_threads
from submillion.verification.verdict import Check, compared, stated
from submillion.wording import printable


def layout(case: Case) -> list[Check]:
    """Check that the files of an adopted run are present; recipe, history and checkpoint are unknown and absent.

    Detects: missing files. Cannot detect: changed content; `hashes` and the other checks do.
    """
    run, evaluated = case.run, "test" in case.manifest.get("evaluations", {})
    expected = [run.adapter / CONFIG, run.adapter / TENSORS, run.tokenizer / "tokenizer_config.json"]
    expected += [run.adapter / HEAD] if case.family.headless else []
    expected += [run.card, run.report]
    if evaluated:
        failed = failed_parts(case)
        parts = [part for part in registry.quick_parts(adopted=True) if part not in failed]
        expected += [run.metrics, run.prediction_file("test"), *map(run.analysis_file, parts)]
    missing = [
        Check("layout", False, run.in_run(file), "a file of every adopted run", "no such file")
        for file in expected
        if not file.is_file()
    ]
    missing += unfinished(case)
    if case.manifest.get("status") != "complete":
        missing.append(
            Check("layout", False, "manifest.json: status", "complete", f"{case.manifest.get('status')}")
        )
    return missing or [Check("layout", True, "adopted", found=f"{len(expected)} files")]


def adapter(case: Case) -> list[Check]:
    """Adopt the original again, where it is still present, and compare the adapter's files byte by byte.

    Detects: an adapter that is not the one that the manifest names, and class names in another order than recorded.
    Cannot detect: anything if the original is gone or has changed, which is stated.
    """
    entry = case.manifest["adopted"]
    place = Path(case.run.located(entry["source"]))
    files = {name: place / name for name in entry["sha256"]}
    same = all(file.is_file() and sha256_of(file) == entry["sha256"][name] for name, file in files.items())
    where = f"adapter/{TENSORS}"
    if not same:
        text = f"the original, {printable(entry['origin'], 80)}, is not here to compare with"
        return [stated("adapter", where, text)]
    folder = Path(tempfile.mkdtemp(dir=case.scratch))
    foreign = read_foreign(place, case.family)
    with notices.suppressed():
        adopt(foreign, case.encoder.path, case.manifest["labels"], case.encoder.origin, folder)
    claimed = case.run.hashes(case.run.adapter)
    actual = {f"adapter/{file.name}": sha256_of(file) for file in sorted(folder.iterdir())}
    return compared("adapter", "adapter/", claimed, actual, summary="{leaves} files, adopted again")


def budget(case: Case) -> list[Check]:
    """Count the values in the adapter's file again, part by part.

    Detects: a budget in the manifest that does not follow from the file. Cannot detect: parameters that were trained
    and are not in the file.
    """
    claimed: dict[str, Any] = case.manifest["budget"]
    headless = case.family.headless
    counted = count_saved(
        adapter_shapes(case), case.config, len(case.manifest["labels"]), claimed["budget"], headless=headless
    ).to_json()
    summary = f"{counted['trainable']:,} values, counted from the adapter's tensors"
    return compared(
        "budget", f"manifest.json: budget, against adapter/{TENSORS}", claimed, counted, 0.0, summary
    )


def statements(case: Case) -> list[Check]:
    """Name the facts that are unknown of an adopted run, and those that only the run states."""
    entry = case.manifest["adopted"]
    origin = f"{printable(entry['origin'], 80)}, sha256 of {len(entry['sha256'])} files"
    threads = recorded_threads(case.manifest)
    checks = [
        stated("statements", "manifest.json: adopted", f"the adapter comes from {origin}"),
        stated(
            "statements",
            "manifest.json: machine, versions, created",
            f"those of the adoption ({threads} threads); measured once",
        ),
    ]
    checks += [Check("training", None, "the training", found=f"unknown: {fact}") for fact in entry["unknown"]]
    if case.options.retrain:
        text = "it cannot be repeated: the recipe and the training rows are unknown"
        checks.append(Check("retraining", None, "the training", found=text))
    return checks
