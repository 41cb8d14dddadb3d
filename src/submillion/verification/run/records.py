"""Checks of a run's notices, and the facts that a run states and nothing here can confirm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from submillion.sources.catalog import DATASETS, find
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, stated
from submillion.version import __version__
from submillion.wording import listed, plural, printable

OF_THE_MACHINE = (
    "path_over_name",
    "waiting",
    "hub_unreachable",
    "token_cache",
    "prefix_cache",
    "int8",
    "prefix_int8",
)
"""Codes of notices that depend on the folder, the caches or the moment."""
OF_FILES = ("text_column",)
"""Codes of notices that only a file gives: rows from memory had none, and are read from a file of the run now."""
MEASURED = "measured once; nothing here can confirm it"


def notices(case: Case) -> list[Check]:
    """Read and tokenize the data again, and look for each notice that this gives among those of the run.

    The execution and the number format that the manifest records must have a notice too. Detects: removed and changed
    notices. Cannot detect: removed notices of the training itself, such as the prefix cache's; `retraining` does.
    """
    recorded = case.manifest.get("notices", [])
    missing = missing_notices(case, case.data_notices, recorded)
    codes = {notice["code"] for notice in recorded}
    missing += [code for code in ("precision", "execution") if code not in codes]
    where = "manifest.json: notices"
    if missing:
        return [
            Check("notices", False, where, "every notice of the run", f"none of {text}") for text in missing
        ]
    count = len(case.data_notices)
    return [
        Check("notices", True, where, found=f"{plural(count, 'notice')} of reading and tokenizing the data")
    ]


def missing_notices(
    case: Case, expected: Iterable[Mapping[str, Any]], recorded: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Return those notices that the run should have recorded and has not, each as it should read.

    Texts are compared if this version of submillion wrote the run and its training rows are not from memory, whose
    notices name no file; else only the codes.
    """
    from_memory = case.run.training_rows.is_file()
    by_text = case.manifest.get("submillion") == __version__ and not from_memory
    ignored = (*OF_THE_MACHINE, *OF_FILES) if from_memory else OF_THE_MACHINE
    codes = {notice["code"] for notice in recorded}
    texts = {(notice["code"], notice["text"]) for notice in recorded}
    return [
        f"'{printable(notice['text'])}'"
        for notice in case.run.relative(list(expected))
        if notice["code"] not in ignored
        and (
            notice["code"] not in codes
            or (by_text and _repeats(notice) and (notice["code"], notice["text"]) not in texts)
        )
    ]


def _repeats(notice: Mapping[str, Any]) -> bool:
    """Return whether a notice reads the same in every folder and at every time: it has no path and no measured time."""
    return "/" not in notice["text"] and "seconds" not in notice


def statements(case: Case) -> list[Check]:
    """Name the facts that a run states and that no computation can confirm; none of them counts as proof.

    They are times, memory and speed; machine and versions; the losses of the training, unless it is trained again;
    fields of the recipe that change nothing; and that the data files are the published ones.
    """
    manifest = case.manifest
    training, machine = manifest.get("training", {}), manifest.get("machine", {})
    times = [name for name in training if name.endswith(("_seconds", "_per_second", "_mb"))]
    processor = printable(machine.get("processor"), 60)
    fields = f"track {case.recipe.track}, train.threads {case.recipe.train.threads}"
    facts = {
        "manifest.json: training": f"{listed(times)}: {MEASURED}",
        "history.jsonl and analysis/": f"seconds and speeds: {MEASURED}",
        "manifest.json: machine, versions, git, created": f"{processor} and the rest: {MEASURED}",
        "recipe.yaml": f"{fields}: no result depends on them",
    }
    if not case.options.retrain:
        facts["history.jsonl"] = (
            "losses, gradient norms, evaluations but the best; training again compares them"
        )
    return [*(stated("statements", where, text) for where, text in facts.items()), *_data_files(case)]


def _data_files(case: Case) -> list[Check]:
    """Name the data files that no catalog pins, by their sha256: whoever has the published ones can compare them."""
    checks = []
    for split, source in case.manifest["data"]["sources"].items():
        if find(DATASETS, str(source["name"])) is not None:
            continue
        for file, sha256 in source["sha256"].items():
            text = f"{printable(file, 60)}, sha256 {printable(sha256, 64)}: compare it with that of the published file"
            checks.append(stated("statements", f"manifest.json: data.sources.{split}", text))
    return checks
