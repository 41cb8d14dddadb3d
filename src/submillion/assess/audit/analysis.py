"""The part "audit": counterfactual word swaps, subgroups that are served worse, and texts outside the domain."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from submillion.assess.audit import counterfactuals, effects, out_of_domain, subgroups, summary
from submillion.assess.audit.word_finder import Finder, Match
from submillion.assess.audit.wordlists import AuditWords, WordList, parse, read_words
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.slices import SMALLEST, Answers
from submillion.assess.visible_span import visible_spans
from submillion.errors import BadInput, Problem
from submillion.run_format.analysis_audit import Audit, AuditList
from submillion.run_format.interval import ALPHA
from submillion.run_format.predictions import Predictions

SAVED_AS = "audit"
"""Folder of the altered texts' predictions below `analysis/baselines`."""
SWAPS, DOMAIN = "swaps", "domain"
MAX_UNCHANGED = 30
"""Unaltered texts that are predicted again: answers that change there do not change because of a swap."""


def analyse(context: RunContext) -> Audit:
    """Audit the run on `context.split`; predicts at most about 1,600 texts and saves their probabilities.

    The words and texts are the package's own, overridden by those of `RUN/audit.yaml`; each level of a list
    adds at most 340 texts. Accuracy by length and truncation is in the part "errors".

    Raises:
        BadInput: predictions without labels, an `audit.yaml` of another shape, or data or encoder that are not
            the run's.
    """
    words, own = read_words(context.run)
    plan = _plan(context, words)
    parts = {SWAPS: plan.swapped, DOMAIN: [(one.id, one.text) for one in plan.outside]}
    probabilities = context.probabilities([text for texts in parts.values() for _, text in texts])
    start = 0
    for name, texts in parts.items():
        ids, hashes = [text_id for text_id, _ in texts], [_sha256(text) for _, text in texts]
        part = probabilities[start : start + len(texts)]
        predictions = Predictions.of(ids, hashes, None, part, context.labels)
        context.run.save_predictions(name, predictions, baseline=SAVED_AS)
        start += len(texts)
    policy = (context.run.read_analysis("confidence") or {}).get("policy") or {}
    return _report(context, plan, own, policy.get("threshold"))


def recheck(context: RunContext, saved: Mapping[str, Any]) -> Audit:
    """Recompute the part from the saved predictions of the altered texts; no model is run.

    The altered texts are made again from the split's verified texts, the lists and the seed, and must have the
    hashes of those that were predicted. Copied from `saved` are the lists and the policy's threshold, both of which may
    have changed since; the texts verify the lists.

    Raises:
        BadInput: other texts than those that were predicted, or a `saved` without what is copied.
    """
    where = str(context.run.analysis_file("audit"))
    try:
        threshold = saved["domain"]["policy_threshold"]
        threshold = None if threshold is None else float(threshold)
        own = [str(listed["kind"]) for listed in saved["lists"] if listed["own"]]
        words = parse(saved["words"], where)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        problem = Problem(
            where, "an audit with its word lists and threshold", f"{type(error).__name__}: {error}"
        )
        raise BadInput(problem) from error
    return _report(context, _plan(context, words), own, threshold)


@dataclass(frozen=True)
class _Plan:
    """Everything that is to be predicted."""

    words: AuditWords
    matches: dict[str, list[list[Match]]]
    """By list, the listed words in each text of the split."""
    unchanged: list[int]
    """Rows predicted again."""
    axes: list[counterfactuals.Axis]
    outside: list[out_of_domain.OutOfDomainText]
    swapped: list[tuple[str, str]]
    """(id, text) of the unchanged rows, then of every altered text."""


def _plan(context: RunContext, words: AuditWords) -> _Plan:
    """Make all texts from the split's texts, the lists and the seed alone."""
    saved, _ = context.labelled_predictions()
    texts = context.texts(context.split)
    matches: dict[str, list[list[Match]]] = {}
    axes: list[counterfactuals.Axis] = []
    for listed in words.lists:
        finder = Finder(listed)
        matches[listed.kind] = [finder.find(text) for text in texts]
        rows = [row for row, mentioned in enumerate(matches[listed.kind]) if mentioned]
        spans = dict(zip(rows, visible_spans(context, [texts[row] for row in rows]), strict=True))
        axes += counterfactuals.build_axes(listed, texts, matches[listed.kind], spans, context.seed)
    rng = np.random.default_rng((context.seed, 2))
    unchanged = sorted(rng.permutation(len(texts))[:MAX_UNCHANGED].tolist())
    repeated = [(f"unchanged | {saved.ids[row]}", texts[row]) for row in unchanged]
    swapped = [*repeated, *counterfactuals.altered_texts(axes, saved.ids)]
    outside = out_of_domain.out_of_domain_texts(context, words)
    return _Plan(words, matches, unchanged, axes, outside, swapped)


def _report(context: RunContext, plan: _Plan, own: Sequence[str], threshold: float | None) -> Audit:
    """Return the part, from the saved predictions."""
    saved, _ = context.labelled_predictions()
    names, inside = context.labels, saved.probabilities
    altered = _saved_probabilities(context, SWAPS, plan.swapped)
    outside = _saved_probabilities(context, DOMAIN, [(one.id, one.text) for one in plan.outside])
    start = len(plan.unchanged)
    before, after = inside[plan.unchanged], altered[:start]
    swaps = []
    for axis in plan.axes:
        rng = counterfactuals.generator(context.seed, f"intervals of {axis.name}")
        swaps.append(effects.axis_effect(axis, inside, altered[start:], names, rng))
        start += swaps[-1]["altered"]
    effects.add_significance(swaps)
    answers = Answers.of(saved)
    mentions = [
        level
        for listed in plan.words.lists
        for level in subgroups.by_mention(listed, plan.matches[listed.kind], answers)
    ]
    slices = [part for level in mentions for part in level["slices"]]
    audit: Audit = {
        "split": context.split,
        "rows": len(inside),
        "accuracy": float(answers.right.mean()),
        "read": len(plan.swapped) + len(plan.outside),
        "smallest": SMALLEST,
        "alpha": ALPHA,
        "lists": [_list(listed, listed.kind in own) for listed in plan.words.lists],
        "words": plan.words.values,
        "unchanged": {
            "texts": len(before),
            "flips": int((before.argmax(axis=1) != after.argmax(axis=1)).sum()),
            "largest_difference": float(np.abs(after.astype(np.float64) - before).max()),
        },
        "swaps": swaps,
        "classes": subgroups.by_class(answers, saved.predicted, names),
        "mentions": mentions,
        "mention_tests": {
            "judged": sum(part["p_same_classes"] is not None for part in slices),
            "too_small": sum(part["too_small"] for part in slices),
        },
        "domain": out_of_domain.domain_confidence(plan.outside, outside, inside, names, threshold),
    }
    return {**audit, "summary": summary.sentences(audit), "limits": list(summary.LIMITS)}


def _saved_probabilities(context: RunContext, name: str, texts: Sequence[tuple[str, str]]) -> np.ndarray:
    """Return the saved probabilities of these texts, float32 [N, C]; raises BadInput if they are of others."""
    saved = context.run.load_predictions(name, baseline=SAVED_AS)
    expected = [text_id for text_id, _ in texts], [_sha256(text) for _, text in texts], context.labels
    if (saved.ids, saved.text_sha256, saved.label_names) != expected:
        raise BadInput(
            Problem(
                str(context.run.prediction_file(name, SAVED_AS)),
                "predictions of the altered texts that follow from seed, texts and word lists",
                "ids or hashes of others",
                "Compute the part 'audit' again with `report`.",
            )
        )
    return saved.probabilities


def _list(words: WordList, own: bool) -> AuditList:
    groups = {group: sum(word.place[0] == group for word in words.words) for group in words.groups(0)}
    return {
        "kind": words.kind,
        "title": words.title,
        "source": words.source,
        "own": own,
        "words": len(words.words),
        "groups": groups,
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
