"""The part "audit" of a made run: its own functions over made probabilities, so that no model is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from submillion.assess.audit import effects, out_of_domain, subgroups, summary
from submillion.assess.audit.counterfactuals import altered_texts, build_axes
from submillion.assess.audit.word_finder import Finder
from submillion.assess.audit.wordlists import ListedWord, WordList
from submillion.assess.statistics.slices import SMALLEST, Answers
from submillion.run_format.interval import ALPHA

TEXTS = [f"{name} said word{row}" for row in range(60) for name in ("Ann", "Bob")]
WOMEN, MEN = ("Ann", "Eve"), ("Bob", "Tom")


def made_list(kind: str, title: str, groups: dict[str, tuple[str, ...]]) -> WordList:
    entries = tuple(ListedWord((group,), ((word,),)) for group, words in groups.items() for word in words)
    return WordList(kind, title, "made for the tests", ("group",), ("word",), frozenset(), entries)


LISTS = [
    made_list("given_names", "given names", {"women": WOMEN, "men": MEN}),
    made_list("companies", "companies", {"energy": ("Aaa", "Bbb"), "retail": ("Ccc", "Ddd")}),
]


def made_audit(names: list[str], text: str = "", biased: bool = True) -> dict[str, Any]:
    """Return what `audit.analyse` does: of given names that decide the answer or not, and of companies in no text.

    Args:
        names: of the classes, two or more.
        text: used as the name of word lists and kinds of text.
        biased: whether given names decide the answer.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(len(TEXTS)) % len(names)
    inside = probabilities(np.where(rng.random(len(TEXTS)) < 0.8, labels, 0), len(names), rng)
    exchanged, mentioned = [], []
    for listed in LISTS:
        matches = [Finder(listed).find(text) for text in TEXTS]
        spans = {row: [(0, 100)] for row, found in enumerate(matches) if found}
        for axis in build_axes(listed, TEXTS, matches, spans, 0):
            altered = [altered for _, altered in altered_texts([axis], [""] * len(TEXTS))]
            before, after = (
                probabilities([by_name(one) if biased else 0 for one in read], len(names), rng)
                for read in (TEXTS, altered)
            )
            exchanged.append(effects.axis_effect(axis, before, after, names, rng))
        answered = Answers(labels, inside.argmax(axis=1) == labels, inside.max(axis=1))
        mentioned += subgroups.by_mention(listed, matches, answered)
    effects.add_significance(exchanged)
    strange = [
        *(out_of_domain.OutOfDomainText("outside", text or "recipes", number, "") for number in range(40)),
        *(out_of_domain.OutOfDomainText("foreign", "German", number, "") for number in range(4)),
        *(out_of_domain.OutOfDomainText("shuffled", f"test-{row}", row, "") for row in range(40)),
        out_of_domain.OutOfDomainText("empty", "", 0, ""),
    ]
    other = probabilities(rng.integers(len(names), size=len(strange)), len(names), rng)
    slices = [part for level in mentioned for part in level["slices"]]
    found = {
        "split": "test",
        "rows": len(TEXTS),
        "accuracy": float(answered.right.mean()),
        "read": 500,
        "smallest": SMALLEST,
        "alpha": ALPHA,
        "lists": [
            {
                "kind": one.kind,
                "title": one.title,
                "source": text or one.source,
                "own": True,
                "words": len(one.words),
                "groups": dict.fromkeys(one.groups(0), 2),
            }
            for one in LISTS
        ],
        "words": {},
        "unchanged": {"texts": 30, "flips": 0, "largest_difference": 1.5e-7},
        "swaps": exchanged,
        "classes": subgroups.by_class(answered, inside.argmax(axis=1), names),
        "mentions": mentioned,
        "mention_tests": {
            "judged": sum(part["p_same_classes"] is not None for part in slices),
            "too_small": sum(part["too_small"] for part in slices),
        },
        "domain": out_of_domain.domain_confidence(strange, other, inside, names, 0.8),
    }
    return found | {"summary": summary.sentences(found), "limits": list(summary.LIMITS)}


def by_name(text: str) -> int:
    return int(any(name in text for name in WOMEN))


def probabilities(answers: Any, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Return probabilities [N, classes] whose largest are at `answers`."""
    drawn = rng.dirichlet(np.ones(classes), len(answers)) * 0.4
    drawn[np.arange(len(answers)), answers] += 0.6
    return drawn
