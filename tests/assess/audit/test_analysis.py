"""The part "audit": planted bias is detected, its absence too; saved answers reproduce it, changed ones do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submillion.assess import registry
from submillion.assess.audit import analysis
from submillion.assess.audit.wordlists import OWN
from submillion.assess.run_context import RunContext
from submillion.errors import BadInput
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from support.analysis import confidence_of
from support.examined import again, examined, spread
from support.tiny_run import NAMES

WOMEN, MEN = ("Mary", "Linda", "Susan", "Fatima"), ("James", "Robert", "Kevin", "Hassan")
ROWS = 120


def the_texts() -> list[str]:
    names = [name for pair in zip(WOMEN, MEN, strict=True) for name in pair]
    return [f"{names[row % 8]} said word{row % 40} treaty goal number {row}" for row in range(ROWS)]


def number_of(text: str) -> int:
    return next((int(word) for word in text.split() if word.isdecimal()), 0)


def by_gender(text: str, women: frozenset[str]) -> int:
    return int(bool(women & set(text.split())))


def every_woman(context: RunContext) -> frozenset[str]:
    listed = next(one for one in analysis.read_words(context.run)[0].lists if one.kind == "given_names")
    return frozenset(word.name for word in listed.words if word.place[1] == "women")


def planted(context: RunContext, answer: Callable[[str], int], monkeypatch: pytest.MonkeyPatch) -> RunContext:
    """Let a rule answer in the place of the run's classifier, to its test rows and to all others."""
    texts, labels = context.texts("test"), context.predictions("test").labels.tolist()
    made = again(context.run, (texts, labels), of_rule(answer, texts))
    monkeypatch.setattr(RunContext, "probabilities", lambda self, texts: of_rule(answer, texts))
    return made


def of_rule(answer: Callable[[str], int], texts: Sequence[str]) -> np.ndarray:
    return spread([answer(text) for text in texts], [0.8] * len(texts)).astype(np.float32)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose test texts each begin with a name; half of its labels are 0, half 1."""
    folder = tmp_path_factory.mktemp("run")
    texts = the_texts()
    examined(folder, (texts, [row // 2 % 2 for row in range(ROWS)]), of_rule(lambda text: 0, texts))
    return folder


@pytest.fixture
def context(home: Path, tmp_path: Path) -> Iterator[RunContext]:
    shutil.copytree(home / "run", tmp_path / "run")
    texts = the_texts()
    run = RunDir.open(tmp_path / "run")
    yield again(run, (texts, [row // 2 % 2 for row in range(ROWS)]), of_rule(lambda text: 0, texts))


def audited(context: RunContext) -> dict[str, Any]:
    registry.compute_parts(context, ["audit"])
    found = context.run.read_analysis("audit")
    assert found is not None
    found.pop("cost")
    return found


def axis_of(found: dict[str, Any], name: str) -> dict[str, Any]:
    axis: dict[str, Any] = next(one for one in found["swaps"] if one["axis"] == name)
    return axis


def test_a_classifier_that_answers_by_gender_is_detected(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    women = every_woman(context)
    found = audited(planted(context, lambda text: by_gender(text, women), monkeypatch))
    gender, region = (axis_of(found, f"given_names.{level}") for level in ("gender", "region"))
    assert gender["carrying"] == {"women": 60, "men": 60}
    for part in (gender["overall"], *gender["groups"]):
        assert (part["flip_rate"], part["control_rate"], part["beyond_chance"]) == (1.0, 0.0, True)
    moved = {one["class"]: one["shift_difference"]["value"] for one in gender["groups"][0]["class_shifts"]}
    assert gender["groups"][0]["group"] == "women" and moved[NAMES[1]] > 0.5 > -0.5 > moved[NAMES[0]]
    assert region["overall"]["flips"] == region["overall"]["control_flips"] == 0
    assert not any(part["beyond_chance"] for part in region["groups"] if not part["too_small"])
    assert axis_of(found, "companies.sector")["overall"] == {"group": None, "texts": 0, "too_small": True}
    summary = "\n".join(found["summary"])
    assert "Given names, by gender: a word of another group changed 120 of 120 (100.0%" in summary
    assert "the group matters. Towards women: 60 of 60" in summary
    assert (
        "Company names, by sector: too few texts to judge (0 texts have a listed word that can be swapped, at least 30"
        in summary
    )


def test_a_classifier_that_ignores_names_is_cleared(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = audited(planted(context, lambda text: number_of(text) % 4, monkeypatch))
    judged = [
        part
        for axis in found["swaps"]
        for part in (axis["overall"], *axis["groups"])
        if not part["too_small"]
    ]
    assert len(judged) > 4
    assert all((part["flips"], part["control_flips"], part["p"]) == (0, 0, 1.0) for part in judged)
    assert "the group matters" not in "\n".join(found["summary"])
    assert found["unchanged"] == {"texts": 30, "flips": 0, "largest_difference": 0.0}


def test_texts_of_women_that_are_answered_worse_are_found(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    women = every_woman(context)

    def answer(text: str) -> int:
        number = number_of(text)
        return 2 if by_gender(text, women) and number % 6 > 1 else number // 2 % 2

    found = audited(planted(context, answer, monkeypatch))
    (level,) = (one for one in found["mentions"] if one["axis"] == "given_names.gender")
    part = next(one for one in level["slices"] if one["name"] == "women")
    assert part["rows"] == 60 and part["accuracy"] == pytest.approx(1 / 3)
    assert part["beyond_chance"] and part["beyond_chance_same_classes"] and part["gap_beyond_chance"]
    summary = "\n".join(found["summary"])
    assert (
        "Texts that mention women (given names, by gender): accuracy 33.3% on 60 rows, \N{MINUS SIGN}66.7 points"
        in summary
    )


def test_outside_the_domain_and_the_policy(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planted(context, lambda text: 2 if "treaty" in text else 3, monkeypatch)
    made.run.write_analysis("confidence", confidence_of(0.9, 0.75))
    found = audited(made)
    sets = {part["set"]: part for part in found["domain"]["sets"]}
    assert set(sets) == {"inside", "outside", "foreign", "shuffled", "empty"}
    assert found["domain"]["policy_threshold"] == 0.75
    assert sets["outside"]["answered"]["share"] == 1.0 and sets["outside"]["above"]["texts"] == 0
    assert sets["outside"]["answers"] == {NAMES[3]: sets["outside"]["texts"]}
    assert sets["shuffled"]["kept"]["share"] == 1.0
    assert found["read"] == (
        30
        + sum(axis["altered"] for axis in found["swaps"])
        + sum(part["texts"] for name, part in sets.items() if name != "inside")
    )
    # Another policy since changes nothing of what was found.
    made.run.write_analysis("confidence", confidence_of(0.9, 0.9))
    assert analysis.recheck(made, found) == found


def test_recheck_gives_the_same_audit_and_detects_changed_answers(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    women = every_woman(context)
    made = planted(context, lambda text: by_gender(text, women), monkeypatch)
    found = audited(made)
    monkeypatch.setattr(RunContext, "probabilities", None)  # no model is run
    own = made.predictions("test")
    fresh = again(made.run, (made.texts("test"), own.labels.tolist()), own.probabilities)
    assert json.loads(json.dumps(analysis.recheck(fresh, found))) == found

    saved = made.run.load_predictions("swaps", baseline="audit")
    place = next(index for index, known in enumerate(saved.ids) if "women > men" in known)
    forged = saved.probabilities.copy()
    forged[place] = forged[place][[1, 0, 2, 3]]
    made.run.save_predictions(
        "swaps", Predictions.of(saved.ids, saved.text_sha256, None, forged, NAMES), baseline="audit"
    )
    assert analysis.recheck(fresh, found) != found

    made.run.save_predictions(
        "swaps",
        Predictions.of(saved.ids, saved.text_sha256[::-1], None, saved.probabilities, NAMES),
        baseline="audit",
    )
    with pytest.raises(BadInput, match="ids or hashes of others"):
        analysis.recheck(fresh, found)


def test_later_changes_of_the_lists_do_not_change_the_audit(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = context.run.path / OWN
    own.write_text(
        "words: {companies: null, countries: null}\noutside: {odd: [One text.]}\n", encoding="utf-8"
    )
    made = planted(context, lambda text: 0, monkeypatch)
    found = audited(made)
    assert [(one["kind"], one["own"]) for one in found["lists"]] == [("given_names", False)]
    assert found["words"]["outside"]["odd"] == ["One text."]
    own.unlink()
    assert analysis.recheck(made, found) == found
    # What is copied is proven by the texts that were predicted.
    found["words"]["words"]["given_names"]["groups"]["Arab world"]["women"].append("Zaynab")
    with pytest.raises(BadInput, match="ids or hashes of others"):
        analysis.recheck(made, found)
    del found["words"]
    with pytest.raises(BadInput, match="word lists and threshold"):
        analysis.recheck(made, found)


def test_a_users_list_is_audited(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    (context.run.path / OWN).write_text(
        "words:\n  verbs:\n    title: verbs\n    source: ours\n    levels: [tone]\n"
        "    groups: {calm: [said, noted], loud: [shouted, yelled]}\n",
        encoding="utf-8",
    )
    found = audited(planted(context, lambda text: int("shouted" in text or "yelled" in text), monkeypatch))
    verbs = axis_of(found, "verbs.tone")
    assert verbs["carrying"] == {"calm": ROWS, "loud": 0}
    calm, loud = verbs["groups"]
    assert calm["too_small"] and loud["flip_rate"] == 1.0 and loud["beyond_chance"]
    assert next(one for one in found["lists"] if one["kind"] == "verbs")["own"]


def test_the_runs_own_classifier_answers(context: RunContext) -> None:
    """Nothing is planted here: the tiny encoder reads all texts, the empty and the foreign ones among them."""
    texts, labels = ["Mary said word1 goal", "", "x", "Juan met Olga in China"], [0, 1, 2, 3]
    made = again(context.run, (texts, labels), spread([0, 0, 1, 1], [0.4] * 4))
    probabilities = made.probabilities(texts)
    made = again(context.run, (texts, labels), probabilities)
    found = audited(made)
    assert found["unchanged"]["texts"] == 4 and found["unchanged"]["largest_difference"] < 1e-5
    assert all(axis["too_small"] for axis in found["swaps"])
    assert json.loads(json.dumps(analysis.recheck(made, found), allow_nan=False)) == found


def test_rows_without_labels_are_refused(context: RunContext) -> None:
    saved = context.run.load_predictions("test")
    context.run.save_predictions(
        "test", Predictions.of(saved.ids, saved.text_sha256, None, saved.probabilities, NAMES)
    )
    with pytest.raises(BadInput, match="expected labelled rows, found unlabelled rows"):
        analysis.analyse(RunContext.open(context.run.path))
