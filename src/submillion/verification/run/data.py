"""Checks of a run's data: counts, fingerprints, token counts, and the rows that were predicted."""

from __future__ import annotations

import json

from submillion import notices
from submillion.data.corpus import Split
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, at_most, compared, stated

MAX_ROWS = 5  # differing rows of a split that are listed one by one
GONE = "rows that `evaluate` added; the file is gone or has changed, so nothing but the run itself knows them"


def data(case: Case) -> list[Check]:
    """Read the recipe's data again and compare it with everything that the manifest records about it.

    Detects: other rows, labels or order in any split (by fingerprint), other files (sha256), and counts, class
    names, duplicates, overlaps or conflicts that do not follow from the data.
    Cannot detect: errors in the data itself.
    """
    claimed = {name: value for name, value in case.manifest["data"].items() if name != "tokens"}
    # The manifest went through JSON too.
    report = json.loads(json.dumps(case.run.relative(case.corpus.report)))
    checks = compared("data", "manifest.json: data", claimed, report, summary="{leaves} facts, read again")
    names = case.manifest.get("labels")
    return checks + compared(
        "data", "manifest.json: labels", names, case.corpus.label_names, summary="{leaves} classes"
    )


def tokens(case: Case) -> list[Check]:
    """Tokenize every split again with the run's tokenizer and compare the counts.

    Detects: another tokenizer, another `max_length`, and wrong counts of tokens or truncated texts.
    """
    with notices.suppressed():
        report = case.count_tokens()
    claimed = case.manifest["data"].get("tokens")
    return compared(
        "tokens", "manifest.json: data.tokens", claimed, report, summary="{leaves} counts, tokenized again"
    )


def predicted_rows(case: Case) -> list[Check]:
    """Compare ids, text hashes and labels of the predictions with the data, and with the files given to `evaluate`.

    Detects: predictions of other texts, changed labels, and missing, added or reordered rows. Cannot detect: anything
    about a split that `evaluate` added and whose file is gone; it is only stated.
    """
    checks: list[Check] = []
    for name in case.run.prediction_splits():
        where = f"predictions/{name}.parquet"
        split = case.known_splits.get(name)
        if split is None:
            checks.append(stated("rows", where, GONE))
        else:
            checks += _rows_of(case, where, split)
    return checks


def _rows_of(case: Case, where: str, split: Split) -> list[Check]:
    saved = case.run.load_predictions(split.name)
    names = case.label_names
    if saved.label_names != names:
        return compared("rows", f"{where}: classes", saved.label_names, names)
    if len(saved.ids) != len(split):
        return [Check("rows", False, where, f"{len(saved.ids):,} rows", f"{len(split):,} in the data")]
    labels = [None] * len(split) if saved.labels is None else saved.labels.tolist()
    claimed = zip(saved.ids, saved.text_sha256, labels, strict=True)
    actual = zip(split.ids, map(split.text_sha256, range(len(split))), split.labels, strict=True)
    differing = [
        Check(
            "rows",
            False,
            f"{where}: row {row}, {field}",
            _shown(field, one, names),
            _shown(field, other, names),
        )
        for row, (before, now) in enumerate(zip(claimed, actual, strict=True))
        for field, one, other in zip(("id", "text_sha256", "label"), before, now, strict=True)
        if one != other
    ]
    if differing:
        return at_most(differing, MAX_ROWS, "rows", where)
    return [Check("rows", True, where, found=f"{len(split):,} ids, text hashes and labels, as in the data")]


def _shown(field: str, value: object, names: list[str]) -> str:
    known = field == "label" and isinstance(value, int) and 0 <= value < len(names)
    return f"{value} ({names[value]})" if known else f"{value}"  # type: ignore[call-overload]
