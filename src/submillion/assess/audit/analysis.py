"""The audit of a run: what exchanging names does, whom it serves worse, and what it says outside its domain."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from submillion.assess.audit import counterfactuals, effects, out_of_domain, subgroups, summary
from submillion.assess.audit.word_finder import Finder, Match
from submillion.assess.audit.wordlists import AuditWords, WordList, parse, read_words
from submillion.assess.statistics.slices import SMALLEST, Answers
from submillion.assess.visible_span import seen_spans
from submillion.errors import BadInput, Problem
from submillion.run_format.interval import ALPHA
from submillion.run_format.predictions import Predictions

if TYPE_CHECKING:
    import numpy as np

    from submillion.assess.run_context import RunContext

SAVED_AS = "audit"  # the altered texts' predictions lie in analysis/baselines/audit
SWAPPED, STRANGE = "swaps", "domain"
MOST_UNCHANGED = 30  # texts predicted once more as they are: what changes then is not the exchange's doing
_ANEW = "Make the audit again: submillion report RUN --with audit."


def analyse(context: RunContext) -> dict[str, Any]:
    """Audit the run on `context.split`; predicts at most some 1,600 texts and saves their probabilities.

    The words and texts are the package's own and, over them, those of `RUN/audit.yaml`; each level of a list
    adds at most 340 texts. Accuracy by length, source and cut is in the part "errors".

    Returns:
        `split`, `rows`, `accuracy` (of all rows), `read` (texts that the classifier read for the audit),
        `smallest` (fewer texts or rows are not judged), `alpha` (significance level of the tests), `lists`: [{`kind`, `title`,
        `source`, `own` (audit.yaml has a part in it), `words`, `groups` ({group of the first level: words})}],
        and `words`: all lists and texts that were used, as the yaml files say them, so that a later package or
        audit.yaml changes nothing here.

        `unchanged`: {`texts`, `flips`, `largest_difference` (of a probability)} of rows that were predicted once
        more as they are.

        `swaps`: for each level of each list what `flips.measured` and `flips.judge` return.

        `classes`: how each class is answered, and how sure and right each answer is, see `mentions.by_class`.
        `mentions`: rows by the listed words they mention, see `mentions.by_mention`, and `mention_tests`:
        {`judged`, `too_small`} groups of them.

        `domain`: see `domain.measured`.

        `summary`: sentences made of these numbers; `limits`: sentences, what the audit does not show.

    Raises:
        BadInput: predictions without labels, an `audit.yaml` of another shape, or data or encoder that are not
            the run's.
    """
    words, own = read_words(context.run)
    plan = _plan(context, words)
    parts = {SWAPPED: plan.swapped, STRANGE: [(one.id, one.text) for one in plan.strange]}
    probabilities = context.probabilities([text for texts in parts.values() for _, text in texts])
    start = 0
    for name, texts in parts.items():
        context.run.save_predictions(
            name,
            Predictions.of(
                [known for known, _ in texts],
                [_sha256(text) for _, text in texts],
                None,
                probabilities[start : start + len(texts)],
                context.labels,
            ),
            baseline=SAVED_AS,
        )
        start += len(texts)
    policy = (context.run.read_analysis("confidence") or {}).get("policy") or {}
    return _report(context, plan, own, policy.get("threshold"))


def recheck(context: RunContext, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same object again from the saved predictions of the altered texts; no model is run.

    The altered texts are made again from the split's proven texts, the lists and the seed, and must have the
    hashes of those that were predicted. Copied from `found` are the lists, which may have been changed since,
    and the policy's threshold, which may have been chosen anew; the texts prove the lists.

    Raises:
        BadInput: other texts than those that were predicted, or a `found` without what is copied.
    """
    where = str(context.run.analysis_file("audit"))
    try:
        threshold = found["domain"]["policy_threshold"]
        known = None if threshold is None else float(threshold)
        own = [str(listed["kind"]) for listed in found["lists"] if listed["own"]]
        words = parse(found["words"], where)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        problem = Problem(
            where, "an audit with its word lists and threshold", f"{type(error).__name__}: {error}"
        )
        raise BadInput(problem) from error
    return _report(context, _plan(context, words), own, known)


@dataclass(frozen=True)
class _Plan:
    """Everything that is to be predicted, before it is."""

    words: AuditWords
    matches: dict[str, list[list[Match]]]
    """By list, the listed words in each text of the split."""
    unchanged: list[int]
    """Rows predicted once more."""
    axes: list[counterfactuals.Axis]
    strange: list[out_of_domain.Strange]
    swapped: list[tuple[str, str]]
    """(id, text) of the unchanged rows, then of every altered text."""


def _plan(context: RunContext, words: AuditWords) -> _Plan:
    """Make all texts, from the split's texts, the lists and the seed alone."""
    import numpy as np

    ids = _labelled(context).ids
    texts = context.texts(context.split)
    matches, axes = {}, []
    for listed in words.lists:
        finder = Finder(listed)
        found = [finder.find(text) for text in texts]
        rows = [row for row, named in enumerate(found) if named]
        spans = dict(zip(rows, seen_spans(context, [texts[row] for row in rows]), strict=True))
        matches[listed.kind] = found
        axes += counterfactuals.build_axes(listed, texts, found, spans, context.seed)
    rng = np.random.default_rng((context.seed, 2))
    unchanged = sorted(rng.permutation(len(texts))[:MOST_UNCHANGED].tolist())
    again = [(f"unchanged | {ids[row]}", texts[row]) for row in unchanged]
    swapped = [*again, *counterfactuals.altered_texts(axes, ids)]
    return _Plan(words, matches, unchanged, axes, out_of_domain.build_domain(context, words), swapped)


def _report(context: RunContext, plan: _Plan, own: Sequence[str], threshold: float | None) -> dict[str, Any]:
    """Put together what is written, from the saved predictions."""
    import numpy as np

    saved, names = _labelled(context), context.labels
    inside = saved.probabilities
    altered = _saved(context, SWAPPED, plan.swapped)
    strange = _saved(context, STRANGE, [(one.id, one.text) for one in plan.strange])
    start = len(plan.unchanged)
    before, after = inside[plan.unchanged], altered[:start]
    exchanges = []
    for axis in plan.axes:
        rng = counterfactuals.generator(context.seed, f"intervals of {axis.name}")
        exchanges.append(effects.measured(axis, inside, altered[start:], names, rng))
        start += exchanges[-1]["altered"]
    effects.judge(exchanges)
    answers = Answers.of(saved)
    mentioned = [
        level
        for listed in plan.words.lists
        for level in subgroups.by_mention(listed, plan.matches[listed.kind], answers)
    ]
    slices = [part for level in mentioned for part in level["slices"]]
    found = {
        "split": context.split,
        "rows": len(inside),
        "accuracy": float(answers.right.mean()),
        "read": len(plan.swapped) + len(plan.strange),
        "smallest": SMALLEST,
        "alpha": ALPHA,
        "lists": [_list(listed, listed.kind in own) for listed in plan.words.lists],
        "words": plan.words.values,
        "unchanged": {
            "texts": len(before),
            "flips": int((before.argmax(axis=1) != after.argmax(axis=1)).sum()),
            "largest_difference": float(np.abs(after.astype(np.float64) - before).max()),
        },
        "swaps": exchanges,
        "classes": subgroups.by_class(answers, saved.predicted, names),
        "mentions": mentioned,
        "mention_tests": {
            "judged": sum(part["p_same_classes"] is not None for part in slices),
            "too_small": sum(part["too_small"] for part in slices),
        },
        "domain": out_of_domain.measured(plan.strange, strange, inside, names, threshold),
    }
    return found | {"summary": summary.sentences(found), "limits": list(summary.LIMITS)}


def _saved(context: RunContext, name: str, texts: Sequence[tuple[str, str]]) -> np.ndarray:
    """Return the saved probabilities of these texts, float32 [N, C]; raises BadInput if they are of others."""
    saved = context.run.load_predictions(name, baseline=SAVED_AS)
    expected = [known for known, _ in texts], [_sha256(text) for _, text in texts], context.labels
    if (saved.ids, saved.text_sha256, saved.label_names) != expected:
        raise BadInput(
            Problem(
                str(context.run.prediction_file(name, SAVED_AS)),
                "predictions of the altered texts that seed, texts and word lists give",
                "ids or hashes of others",
                _ANEW,
            )
        )
    probabilities: np.ndarray = saved.probabilities
    return probabilities


def _labelled(context: RunContext) -> dict[str, Any]:
    """Return the split's predictions; raises BadInput where answers cannot be judged, or there are none."""
    saved = context.predictions(context.split)
    if saved.labels is None or not saved.ids:
        where = str(context.run.prediction_file(context.split))
        found = "unlabelled rows" if saved.ids else "no rows"
        raise BadInput(Problem(where, "labelled rows, to judge answers by", found))
    return saved


def _list(words: WordList, own: bool) -> dict[str, Any]:
    groups = {group: sum(entry.place[0] == group for entry in words.entries) for group in words.groups(0)}
    return {
        "kind": words.kind,
        "title": words.title,
        "source": words.source,
        "own": own,
        "words": len(words.entries),
        "groups": groups,
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
