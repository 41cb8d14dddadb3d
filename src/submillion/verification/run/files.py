"""Whether the files of a run are there, are those that were written, and name the encoder that is here."""

from __future__ import annotations

from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, compared


def layout(case: Case) -> list[Check]:
    """Look for the files of a finished run.

    Finds: a part that is gone, and a run that never finished. Cannot find: what a file holds.
    """
    from submillion.model.adapter import CONFIG, TENSORS

    run, status = case.run, case.manifest.get("status")
    scored = status == "complete" and not case.manifest.get("test_held_back")
    splits = ["validation"] + ["test"] * ("test" in case.manifest["data"]["splits"] and scored)
    expected = [
        run.recipe,
        run.history,
        run.metrics,
        run.adapter / CONFIG,
        run.adapter / TENSORS,
        run.tokenizer / "tokenizer_config.json",
        *map(run.prediction_file, splits),
        run.card,
        run.report,
    ]
    checks = [
        Check("layout", False, file.relative_to(run.path).as_posix(), "a file of every run", "no such file")
        for file in expected
        if not file.is_file()
    ]
    if status == "interrupted":
        checks.append(
            Check("layout", None, "manifest.json: status", found="interrupted: no test rows were scored")
        )
    elif status != "complete":
        checks.append(Check("layout", False, "manifest.json: status", "complete", f"{status}"))
    return checks or [Check("layout", True, "complete", found=f"{len(expected)} files")]


def hashes(case: Case) -> list[Check]:
    """Compare the files with the sha256 that the manifest keeps of them.

    Finds: any change of a byte, by accident or by hand, and files that are gone or that nobody recorded.
    Cannot find: a file that was changed together with its hash; that is what the other checks are for.
    """
    run, checks = case.run, []
    now = run.hashes()
    for entry, of_analysis in (("files", False), ("analysis_files", True)):
        recorded = case.manifest.get(entry)
        found = {name: sha for name, sha in now.items() if name.startswith("analysis/") == of_analysis}
        where = f"manifest.json: {entry}"
        if not isinstance(recorded, dict):
            told = f"none recorded of {len(found)} files"
            if found:
                checks.append(Check("hashes", False, where, "the sha256 of every file", told))
            continue
        checks += compared("hashes", where, recorded, found, said="{leaves} files, sha256")
    return checks


def encoder(case: Case) -> list[Check]:
    """Compare the encoder on this machine with the one that the manifest names.

    Finds: other weights, another configuration or tokenizer, another origin or licence than recorded.
    Cannot find: that the run was trained on still other weights; `again` would, by its predictions.
    """
    recorded, here = case.manifest["encoder"], case.encoder
    names = ("source", "name", "origin", "licence", "model_type", "sha256")
    found = {
        "source": case.recipe.encoder.source,
        "name": here.name,
        "origin": here.origin,
        "licence": here.licence,
        "model_type": case.config["model_type"],
        "sha256": here.sha256,
    }
    claimed = {name: recorded[name] for name in names if name in recorded}
    said = f"{here.name}, {len(here.sha256)} files, sha256"
    return compared("encoder", "manifest.json: encoder", claimed, found, said=said)
