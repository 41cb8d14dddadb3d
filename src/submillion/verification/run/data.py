"""Whether a run's data is what it says: counts, findings, fingerprints, tokens, and the rows predicted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from submillion import notices
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, at_most, compared

if TYPE_CHECKING:
    from submillion.data.corpus import Split

MOST_ROWS = 5  # differing rows of one split that are told one by one
UNKNOWN = "its texts are not known to the run"


def data(case: Case) -> list[Check]:
    """Read the data again as the recipe says, and compare all that the manifest keeps of it.

    Finds: other rows, labels or order in any split (by fingerprint), other files (sha256), counts, class
    names, and findings (duplicates, overlaps, conflicts) that do not follow from the data.
    Cannot find: what is wrong with the data itself, or a source that always gave these rows.
    """
    claimed = {name: value for name, value in case.manifest["data"].items() if name != "tokens"}
    found = json.loads(json.dumps(case.corpus.report))  # through JSON and back, as the manifest went
    checks = compared("data", "manifest.json: data", claimed, found, said="{leaves} facts, read again")
    names = case.manifest.get("labels")
    return checks + compared(
        "data", "manifest.json: labels", names, case.corpus.label_names, said="{leaves} classes"
    )


def tokens(case: Case) -> list[Check]:
    """Tokenize every split again with the run's tokenizer, and compare the counts.

    Finds: another tokenizer, another `max_length`, invented counts of tokens or of texts that were cut.
    """
    from submillion.data.tokens import truncation_report

    with notices.suppressed():
        found = truncation_report(case.tokens)
    claimed = case.manifest["data"].get("tokens")
    return compared(
        "tokens", "manifest.json: data.tokens", claimed, found, said="{leaves} counts, tokenized again"
    )


def predicted_rows(case: Case) -> list[Check]:
    """Compare ids, text hashes and labels of the run's own predictions with the data.

    Finds: predictions of other texts, changed labels, rows left out, added or put in another order.
    Cannot find: anything about splits that `evaluate` made, whose texts the run does not keep.
    """
    checks: list[Check] = []
    for name in case.run.prediction_splits():
        where = f"predictions/{name}.parquet"
        split = case.splits.get(name)
        if split is None or name == "train":
            checks.append(Check("rows", None, where, found=UNKNOWN))
        else:
            checks += _rows_of(case, where, split)
    return checks


def _rows_of(case: Case, where: str, split: Split) -> list[Check]:
    saved = case.run.load_predictions(split.name)
    names = case.corpus.label_names
    if saved["label_names"] != names:
        return compared("rows", f"{where}: classes", saved["label_names"], names)
    if len(saved["ids"]) != len(split):
        return [Check("rows", False, where, f"{len(saved['ids']):,} rows", f"{len(split):,} in the data")]
    labels = [None] * len(split) if saved["labels"] is None else saved["labels"].tolist()
    claimed = zip(saved["ids"], saved["text_sha256"], labels, strict=True)
    found = zip(split.ids, map(split.text_sha256, range(len(split))), split.labels, strict=True)
    differing = [
        Check(
            "rows", False, f"{where}: row {row}, {what}", _told(what, one, names), _told(what, other, names)
        )
        for row, (before, now) in enumerate(zip(claimed, found, strict=True))
        for what, one, other in zip(("id", "text_sha256", "label"), before, now, strict=True)
        if one != other
    ]
    if differing:
        return list(at_most(differing, MOST_ROWS, "rows", where))
    return [
        Check("rows", True, where, found=f"{len(split):,} ids, text hashes and labels are those of the data")
    ]


def _told(what: str, value: object, names: list[str]) -> str:
    known = what == "label" and isinstance(value, int) and 0 <= value < len(names)
    return f"{value} ({names[value]})" if known else f"{value}"  # type: ignore[call-overload]
