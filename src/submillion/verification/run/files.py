"""Checks of a run's files: all are present, none has changed, and the encoder is the recorded one."""

from __future__ import annotations

from submillion.assess import registry
from submillion.sources.adapter_files import CONFIG, HEAD, TENSORS
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, compared, stated

FAILED_PART = "not_analysed"
"""Code of the notice that names a part of the analysis that failed."""


def layout(case: Case) -> list[Check]:
    """Check that the files of a finished run are present, the analysis that every training makes among them.

    A part that failed is named by a notice of the run, and is then only stated to have failed; `retraining` tries
    again. Detects: missing files, and a run that never finished. Cannot detect: changed content, and parts of the
    analysis that are made on request and were removed.
    """
    run, status = case.run, case.manifest.get("status")
    held_back = bool(case.manifest.get("test_held_back"))
    scored = status == "complete" and not held_back
    splits = ["validation"] + ["test"] * ("test" in case.manifest["data"]["splits"] and scored)
    expected = [
        run.recipe,
        run.history,
        run.metrics,
        run.adapter / CONFIG,
        run.adapter / TENSORS,
        run.tokenizer / "tokenizer_config.json",
        *map(run.prediction_file, splits),
    ]
    if case.recipe.head.pooling == "mean":
        expected.append(run.adapter / HEAD)
    excused = failed_parts(case)
    if not held_back:  # which has neither analysis nor report yet
        parts = [part for part in registry.quick_parts(case.context.cross_validated) if part not in excused]
        expected += [*map(run.analysis_file, parts), run.card, run.report]
    checks = [
        Check("layout", False, file.relative_to(run.path).as_posix(), "a file of every run", "no such file")
        for file in expected
        if not file.is_file()
    ]
    checks += [
        stated("layout", f"analysis/{part}.json", "the run states that this part of its analysis failed")
        for part in registry.quick_parts(case.context.cross_validated)
        if part in excused and not run.analysis_file(part).is_file()
    ]
    checks += unfinished(case)
    if status == "interrupted":
        checks.append(
            Check("layout", None, "manifest.json: status", found="interrupted: the test rows were not scored")
        )
        if run.prediction_file("test").is_file():
            text = "test predictions, which only a complete run has"
            checks.append(Check("layout", False, "manifest.json: status", "interrupted", text))
    elif status != "complete":
        checks.append(Check("layout", False, "manifest.json: status", "complete", f"{status}"))
    if not any(check.holds is False for check in checks):
        checks.append(Check("layout", True, f"{status}", found=f"{len(expected)} files"))
    return checks


def failed_parts(case: Case) -> set[str | None]:
    """Return the parts of the analysis that failed, each named by a notice of the run."""
    found = case.manifest.get("notices", [])
    return {notice.get("part") for notice in found if notice["code"] == FAILED_PART}


def unfinished(case: Case) -> list[Check]:
    """Return a failed check if a command was killed while it wrote."""
    task = case.manifest.get("unfinished")
    if not task:
        return []
    text = f"`{task['task']}` was killed; `resume` completes it"
    return [Check("layout", False, "manifest.json: unfinished", "files that agree", text)]


def hashes(case: Case) -> list[Check]:
    """Compare the files with their sha256 in the manifest.

    Detects: any changed byte, missing files, and files that were not recorded.
    Cannot detect: a file that was changed together with its hash; the other checks are for that.
    """
    run, checks = case.run, []
    now = run.hashes()
    for entry, of_analysis in (("files", False), ("analysis_files", True)):
        recorded = case.manifest.get(entry)
        present = {name: sha for name, sha in now.items() if name.startswith("analysis/") == of_analysis}
        where = f"manifest.json: {entry}"
        if not isinstance(recorded, dict):
            if present:
                text = f"none recorded for {len(present)} files"
                checks.append(Check("hashes", False, where, "the sha256 of every file", text))
            continue
        checks += compared("hashes", where, recorded, present, summary="{leaves} files, sha256")
    return checks


def encoder(case: Case) -> list[Check]:
    """Compare the encoder on this machine with the one that the manifest records.

    Detects: weights, configuration, tokenizer, revision, origin or licence that differ from the record.
    Cannot detect: that the run was trained on other weights than recorded; `predictions` does.
    """
    recorded, here = case.manifest["encoder"], case.encoder
    names = ("source", "revision", "name", "origin", "via", "licence", "model_type", "sha256")
    actual = {
        "source": case.recipe.encoder.source,
        "revision": here.revision,
        "name": here.name,
        "origin": here.origin,
        "via": here.via,
        "licence": here.licence,
        "model_type": case.config["model_type"],
        "sha256": here.sha256,
    }
    claimed = {name: recorded[name] for name in names if name in recorded}
    summary = f"{here.name}, {len(here.sha256)} files, sha256"
    actual = case.run.relative(actual)  # as the manifest names what is beside the run
    return compared("encoder", "manifest.json: encoder", claimed, actual, summary=summary)
