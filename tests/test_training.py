"""Tests of training.py: labelled texts, decisions and recipes are trained by one function."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

import submillion as sm
from submillion import BadInput
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.training import train
from support.tiny import LABELS, shared_encoder, tiny_recipe, tiny_texts
from support.trained import two_classes

FIELDS = [
    f"encoder.source={shared_encoder()}",
    "train.steps=4",
    "train.threads=1",
    "data.folds=2",
    "lora.r=2",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    texts, numbers = tiny_texts(40, 0)
    lines = ["text,label", *(f"{text},{LABELS[number]}" for text, number in zip(texts, numbers, strict=True))]
    (folder / "reviews.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(project: Path) -> RunDir:
    return train(project / "reviews.csv", project / "runs" / "reviews", overrides=FIELDS, quiet=True).run


def test_a_file_is_trained_by_the_recipe_that_was_decided(run: RunDir) -> None:
    manifest, recipe = run.read_manifest(), run.read_recipe()
    assert (manifest["name"], recipe.train.steps) == ("reviews", 4)
    reasons = {choice["field"]: choice["reason"] for choice in manifest["decision"]["choices"]}
    assert reasons["train.steps"] == "your setting"
    assert reasons["data.validation"] == "40 rows: all are trained on"
    assert run.read_metrics()["validation"]["rows"] == 40


def test_its_recipe_repeats_the_run(run: RunDir, project: Path) -> None:
    again = train(run.recipe, project / "again", report=False, quiet=True).run
    assert "decision" not in again.read_manifest()
    assert again.hashes(again.adapter) == run.hashes(run.adapter)


def test_verify_holds(run: RunDir) -> None:
    verdict = sm.verify(run.path)
    assert verdict.holds, verdict.render()


def test_the_card_and_the_page_name_the_data_and_no_recipe_of_ours(run: RunDir) -> None:
    card, page = ((run.path / name).read_text("utf-8") for name in ("README.md", "report.html"))
    for text in (card, page):
        assert "reviews" in text
        assert "quickstart" not in text


def test_an_existing_run_is_refused_before_the_texts_are_read(project: Path, run: RunDir) -> None:
    with pytest.raises(BadInput, match="overwrite"):
        train(project / "reviews.csv", run.path, overrides=["data.text=absent"], quiet=True)


def test_the_table_is_printed_unless_quiet(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("submillion.pipeline.train", lambda recipe, out, rows, **others: (out, others))
    monkeypatch.chdir(project)
    _, others = train("reviews.csv", project / "table", overrides=FIELDS)
    assert "setting" in capsys.readouterr().err
    assert others["decision"]["choices"]
    train("reviews.csv", project / "table", overrides=FIELDS, quiet=True)
    assert capsys.readouterr().err == ""


def test_the_run_is_named_by_the_data(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("submillion.pipeline.train", lambda recipe, out, rows, **others: out)
    monkeypatch.chdir(tmp_path)
    assert train(project / "reviews.csv", overrides=FIELDS, quiet=True) == Path("runs/reviews")
    assert train(project / "reviews.csv", overrides=[*FIELDS, "name=mine"], quiet=True) == Path("runs/mine")


def test_auto_takes_texts_from_memory_and_a_decision_keeps_them(project: Path) -> None:
    texts, labels = two_classes(20)
    decision = sm.decide(texts=texts, labels=labels, overrides=FIELDS, quiet=True)
    one = sm.train(decision, project / "decided", report=False, quiet=True)
    two = sm.train(
        "auto", project / "auto", texts=texts, labels=labels, overrides=FIELDS, report=False, quiet=True
    )
    assert one.recipe.name == two.recipe.name == "auto"
    assert one.classes_.tolist() == [0, 1]
    assert (one.predict_proba(texts) == two.predict_proba(texts)).all()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        pytest.param(
            ["quickstart"], {"minutes": 3.0}, "labelled texts, whose recipe is decided", id="minutes"
        ),
        pytest.param(["quickstrat"], {}, "Did you mean 'quickstart'", id="word"),
        pytest.param(["auto"], {}, "labelled texts", id="auto"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    arguments: list[str], options: dict[str, float], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        train(*arguments, **options, quiet=True)


def test_a_recipe_takes_no_decision_and_a_decision_no_changes(project: Path) -> None:
    decision = sm.decide(project / "reviews.csv", overrides=FIELDS, quiet=True)
    assert isinstance(decision.recipe, Recipe)
    with pytest.raises(BadInput, match="changes of it"):
        train(decision, project / "never", overrides=["lora.r=3"], quiet=True)
    assert not (project / "never").exists()


def test_the_collector_spares_the_libraries_until_a_training_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    during: list[tuple[bool, int]] = []

    def record(*_: object, **__: object) -> None:
        during.append((gc.isenabled(), gc.get_freeze_count()))

    monkeypatch.setattr("submillion.pipeline.train", record)
    gc.unfreeze()  # what the session of tests has frozen
    try:
        train(tiny_recipe(shared_encoder()))
        assert during[0][0] and during[0][1] > 1000
        assert gc.get_freeze_count() == 0
    finally:
        gc.freeze()
