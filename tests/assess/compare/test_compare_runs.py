"""Comparing runs: rows are matched by hashes, seeds are grouped, and sentences follow from the tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submillion.assess.compare.align_predictions import align, open_all
from submillion.assess.compare.compare_runs import compare_runs
from submillion.assess.metrics import metrics_of
from submillion.assess.statistics.multiple_tests import holm
from submillion.assess.statistics.paired_tests import paired
from submillion.errors import BadInput
from submillion.recipe import Recipe
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from submillion.wording import points_range
from support.intervals import limits
from support.run import NEWS, made_manifest, made_predictions, save_split

LABELS = np.repeat(np.arange(4), 150)


def answers(skill: float, seed: int) -> np.ndarray:
    """Return probabilities that are right on about this share of LABELS' rows."""
    rng = np.random.default_rng(seed)
    right = rng.random(len(LABELS)) < skill
    predicted = np.where(right, LABELS, (LABELS + 1) % 4)
    return (0.1 + 0.6 * np.eye(4)[predicted]).astype(np.float32)


def run_of(
    path: Path,
    probabilities: np.ndarray,
    settings: Sequence[str] = (),
    names: Sequence[str] = NEWS,
    labels: np.ndarray = LABELS,
) -> RunDir:
    """Make a run with a test split of these predictions and a recipe with these settings."""
    recipe = Recipe.load("agnews-reference", list(settings))
    run = RunDir.create(path)
    run.write_text(run.recipe, recipe.to_yaml())
    run.write_json(run.manifest, made_manifest(names, seed=recipe.seed))
    save_split(run, "test", labels, probabilities, names)
    return run


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("runs")
    return [run_of(home / "good", answers(0.95, 1)).path, run_of(home / "poor", answers(0.85, 2)).path]


# -- results ----------------------------------------------------------------------------------------------


def test_two_runs_side_by_side(two: list[Path]) -> None:
    found = compare_runs(two).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["split"], found["rows"]) == ("test", 600)
    saved = [RunDir.open(path).load_predictions("test") for path in two]
    for run, one in zip(found["runs"], saved, strict=True):
        metrics = metrics_of(one.labels, one.probabilities, NEWS)
        assert run["accuracy"] == metrics["accuracy_interval"]
        assert run["macro_f1"]["value"] == pytest.approx(metrics["macro_f1"])
    [pair] = found["pairs"]
    direct = paired(LABELS, saved[0].predicted, saved[1].predicted, 4, np.random.default_rng(0))
    assert (pair["a"], pair["b"]) == ("good", "poor")
    assert (pair["only_a"], pair["only_b"]) == (direct["only_a"], direct["only_b"])
    for key in ("difference", "difference_interval", "p"):
        assert pair["accuracy"][key] == direct["accuracy"][key]
    assert pair["accuracy"]["p_holm"] == pair["accuracy"]["p"] < 1e-4
    assert pair["macro_f1"]["difference_interval"] == pytest.approx(
        direct["macro_f1"]["difference_interval"], abs=3e-3
    )
    assert pair["shown"]
    assert pair["same_recipe"], "they do not differ in their recipe, nor in their seed"
    assert compare_runs(two).to_json() == found


def test_the_sentence_of_a_shown_difference_has_its_interval(two: list[Path]) -> None:
    found = compare_runs(two).to_json()["pairs"][0]
    low, high = limits(found["accuracy"]["difference_interval"])
    assert found["sentence"].startswith("good against poor: more accurate, +")
    assert f"({points_range(low, high, 1)} points; p " in found["sentence"]
    back = compare_runs(two[::-1]).to_json()["pairs"][0]
    assert back["sentence"].startswith("poor against good: less accurate, \N{MINUS SIGN}")
    assert f"({points_range(-high, -low, 1)} points" in back["sentence"]


def test_without_a_shown_difference_the_sentence_names_the_rows_needed(tmp_path: Path) -> None:
    paths = [run_of(tmp_path / f"run{seed}", answers(0.9, seed)).path for seed in (13, 14)]
    [pair] = compare_runs(paths).to_json()["pairs"]
    span = points_range(*limits(pair["accuracy"]["difference_interval"]), 1)
    assert not pair["shown"]
    assert f"run13 against run14: no difference shown: {span} points" in pair["sentence"]
    assert "rows at 80% power" in pair["sentence"]
    assert pair["rows_needed"] > 600


def test_runs_that_are_right_on_the_same_rows(tmp_path: Path) -> None:
    paths = [run_of(tmp_path / name, answers(0.9, 5)).path for name in ("here", "there")]
    comparison = compare_runs(paths)
    [pair] = comparison.to_json()["pairs"]
    assert pair["rows_needed"] is None
    assert (
        "right and wrong on the same rows; no difference shown: \N{MINUS SIGN}0.3 to +0.3 points"
        in pair["sentence"]
    )
    assert pair["sentence"] in comparison.render()


def test_p_values_are_corrected_for_their_number(two: list[Path], tmp_path: Path) -> None:
    third = run_of(tmp_path / "third", answers(0.92, 6)).path
    pairs = compare_runs([*two, third]).to_json()["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [
        ("good", "poor"),
        ("good", "third"),
        ("poor", "third"),
    ]
    for measure in ("accuracy", "macro_f1"):
        assert [pair[measure]["p_holm"] for pair in pairs] == holm([pair[measure]["p"] for pair in pairs])


def test_the_sentence_names_the_correction_if_it_decides(tmp_path: Path) -> None:
    # One alone is right on 14 rows, the other on 4: p 0.031, and 0.093 as one of three.
    def sample(wrong: Sequence[int]) -> np.ndarray:
        predicted = LABELS.copy()
        predicted[list(wrong)] = (predicted[list(wrong)] + 1) % 4
        return np.eye(4, dtype=np.float32)[predicted]

    paths = [
        run_of(tmp_path / name, sample(wrong)).path
        for name, wrong in (("a", range(4)), ("b", range(4, 18)), ("c", range(3, 12)))
    ]
    first = compare_runs(paths).to_json()["pairs"][0]
    assert first["accuracy"]["p"] < 0.05 < first["accuracy"]["p_holm"]
    assert "no difference shown after correction for 3 comparisons: +" in first["sentence"]


# -- seeds ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("seeds")
    return [
        run_of(home / f"r{r}-{seed}", answers(skill, 10 * r + seed), [f"lora.r={r}", f"seed={seed}"]).path
        for r, skill in ((16, 0.97), (4, 0.80))
        for seed in (1, 2, 3)
    ]


def test_runs_that_differ_in_their_seed_alone_are_one_recipe(seeds: list[Path]) -> None:
    found = compare_runs(seeds).to_json()
    assert [group["runs"] for group in found["groups"]] == [
        ["r16-1", "r16-2", "r16-3"],
        ["r4-1", "r4-2", "r4-3"],
    ]
    values = [run["accuracy"]["value"] for run in found["runs"]]
    first = found["groups"][0]["accuracy"]
    assert first["mean"] == pytest.approx(np.mean(values[:3]))
    assert first["deviation"] == pytest.approx(np.std(values[:3], ddof=1))
    assert found["differs"] == {"lora.r": [16, 16, 16, 4, 4, 4]}
    [between] = found["between"]
    assert between["accuracy"]["difference"] == pytest.approx(np.mean(values[:3]) - np.mean(values[3:]))
    assert between["accuracy"]["p_holm"] < 0.05
    assert "over seeds: more accurate, +" in between["sentence"]
    assert sum(pair["same_recipe"] for pair in found["pairs"]) == 6


def test_names_logging_and_trackers_do_not_make_another_recipe(seeds: list[Path], tmp_path: Path) -> None:
    renamed = run_of(
        tmp_path / "renamed",
        answers(0.97, 3),
        ["lora.r=16", "seed=9", "name=other", "track=[wandb]", "train.log_every=50"],
    ).path
    [group] = compare_runs([seeds[0], renamed]).to_json()["groups"]
    assert group["runs"] == ["r16-1", "renamed"]


def test_a_duplicate_seed_counts_once(seeds: list[Path], tmp_path: Path) -> None:
    again = run_of(tmp_path / "again", answers(0.97, 99), ["lora.r=16", "seed=2"]).path
    comparison = compare_runs([*seeds[:2], again])
    [group] = comparison.to_json()["groups"]
    assert (group["runs"], group["repeated"], group["accuracy"]["runs"]) == (["r16-1", "r16-2"], ["again"], 2)
    assert "excluded (duplicate seed): again" in comparison.render()
    assert compare_runs([seeds[1], again]).to_json()["groups"] == []


def test_runs_without_a_recipe_do_not_form_a_group(two: list[Path], tmp_path: Path) -> None:
    copies = []
    for seed, path in enumerate(two):
        copies.append(Path(shutil.copytree(path, tmp_path / path.name)))
        run = RunDir.open(copies[-1])
        run.recipe.unlink()
        run.update_manifest(seed=seed)
    found = compare_runs(copies).to_json()
    assert found["groups"] == []
    assert not found["pairs"][0]["same_recipe"]


def test_the_rendered_text_has_the_numbers(seeds: list[Path]) -> None:
    comparison = compare_runs(seeds)
    found, text = comparison.to_json(), comparison.render()
    assert "test: 600 rows, the same for every run" in text
    for run in found["runs"]:
        assert f"{run['accuracy']['value']:.2%}" in text
    for entry in (*found["pairs"], *found["between"]):
        assert entry["sentence"] in text
    assert f"deviation {found['groups'][0]['accuracy']['deviation']:.2%}" in text
    assert "lora.r: 16, 16, 16, 4, 4, 4" in text


# -- rows ----------------------------------------------------------------------------------------------------


def test_rows_and_classes_in_another_order_are_matched(two: list[Path], tmp_path: Path) -> None:
    saved = RunDir.open(two[1]).load_predictions("test")
    rows = np.random.default_rng(0).permutation(600)
    classes = [2, 0, 3, 1]  # the new place of each old class
    names = [NEWS[classes.index(place)] for place in range(4)]
    turned = RunDir.create(tmp_path / "poor")
    turned.write_json(turned.manifest, made_manifest(names))
    turned.save_predictions(
        "test",
        Predictions.of(
            [saved.ids[row] for row in rows],
            [saved.text_sha256[row] for row in rows],
            np.array(classes)[saved.labels][rows],
            saved.probabilities[rows][:, np.argsort(classes)],
            names,
        ),
    )
    there, here = compare_runs([two[0], turned.path]).to_json(), compare_runs(two).to_json()
    assert there["pairs"][0]["accuracy"] == here["pairs"][0]["accuracy"]
    assert there["runs"] == [
        run | {"recipe": other["recipe"]} for run, other in zip(here["runs"], there["runs"], strict=True)
    ]


def test_texts_that_occur_twice_are_matched_by_their_labels(tmp_path: Path) -> None:
    runs = []
    for name, order in (("a", [0, 1, 2, 3]), ("b", [3, 2, 1, 0])):
        run = RunDir.create(tmp_path / name)
        run.write_json(run.manifest, made_manifest(["x", "y"]))
        hashes, labels = np.array(["t", "t", "t", "u"])[order], np.array([0, 1, 1, 0])[order]
        run.save_predictions(
            "test", Predictions.of(list("0123"), hashes.tolist(), labels, np.eye(2)[[0, 0, 0, 0]], ["x", "y"])
        )
        runs.append(run)
    found = align(runs)
    assert found.labels.tolist() == [0, 1, 1, 0]
    assert [one.tolist() for one in found.predicted] == [[0] * 4] * 2


def test_classes_of_the_same_value_are_one_class(tmp_path: Path) -> None:
    runs = []
    for name, classes, labels in (
        ("a", ["-1.0", "0.0", "1.0"], [0, 1, 2]),
        ("b", ["0", "1", "-1"], [2, 0, 1]),
    ):
        run = RunDir.create(tmp_path / name)
        run.write_json(run.manifest, made_manifest(classes))
        probabilities = np.eye(3)[labels]
        run.save_predictions("test", Predictions.of(list("012"), list("tuv"), labels, probabilities, classes))
        runs.append(run)
    found = align(runs)
    assert found.label_names == ["-1.0", "0.0", "1.0"]
    assert [one.tolist() for one in [found.labels, *found.predicted]] == [[0, 1, 2]] * 3


def test_validation_is_compared_if_one_run_has_no_test_split(two: list[Path], tmp_path: Path) -> None:
    import shutil

    copies = [Path(shutil.copytree(path, tmp_path / path.name)) for path in two]
    for path in copies:
        save_split(RunDir.open(path), "validation", *made_predictions((9, 9, 9, 9), 3.0), NEWS)
    assert compare_runs(copies).to_json()["split"] == "test"
    assert compare_runs(copies, split="validation").to_json()["rows"] == 36
    RunDir.open(copies[1]).prediction_file("test").unlink()
    assert compare_runs(copies).to_json()["split"] == "validation"
    with pytest.raises(BadInput, match="saved predictions of 'test'"):
        compare_runs(copies, split="test")


def changed(home: Path, kind: str) -> Path:
    """Make a run that differs from `good` in one way."""
    probabilities, labels, names = answers(0.9, 7), LABELS.copy(), list(NEWS)
    if kind == "labels":
        labels[:3] = 3
    elif kind == "rows":
        probabilities, labels = probabilities[:590], labels[:590]
    elif kind == "classes":
        names[3] = "Science"
    run = run_of(home / kind, probabilities, names=names, labels=labels)
    if kind == "texts":
        saved = run.load_predictions("test")
        hashes = ["f" * 64, *saved.text_sha256[1:]]
        run.save_predictions("test", Predictions.of(saved.ids, hashes, labels, probabilities, names))
    if kind == "unlabelled":
        save_split(run, "test", None, probabilities, names)
    return run.path


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("labels", "found 3 with another label"),
        ("rows", "found 10 of them missing"),
        ("texts", "found 1 of them missing, 1 others"),
        ("classes", r"found classes without Sci/Tech and with Science"),
        ("unlabelled", "expected labelled predictions, found no labels"),
    ],
)
def test_runs_scored_on_other_rows_are_refused(
    two: list[Path], tmp_path: Path, kind: str, found: str
) -> None:
    with pytest.raises(BadInput, match=rf"{kind}/predictions/test\.parquet: .*{found}"):
        compare_runs([two[0], changed(tmp_path, kind)])


def test_the_error_lists_every_run_that_differs(two: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        compare_runs([*two, changed(tmp_path, "rows"), changed(tmp_path, "labels")])
    assert [problem.where.split("/")[-3] for problem in refused.value.problems] == ["rows", "labels"]


def test_one_run_or_the_same_one_twice_is_refused(two: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="two runs or more, found 1"):
        open_all(two[:1])
    with pytest.raises(BadInput, match="different runs, found .*good more than once"):
        open_all([two[0], two[1], two[0]])
    with pytest.raises(BadInput, match="expected a run directory"):
        open_all([two[0], tmp_path / "none"])


def test_runs_with_the_same_name_are_named_by_their_paths(two: list[Path], tmp_path: Path) -> None:
    other = run_of(tmp_path / "good", answers(0.9, 8)).path
    names: list[Any] = [run["name"] for run in compare_runs([two[0], other]).to_json()["runs"]]
    assert names == [str(two[0]), str(other)]


@pytest.mark.parametrize("split", ["nosplit", "../secret"])
def test_a_split_that_a_run_lacks_is_to_be_scored_by_evaluate(
    two: list[Path], tmp_path: Path, split: str
) -> None:
    copies = [tmp_path / path.name for path in two]
    for path, copy in zip(two, copies, strict=True):
        shutil.copytree(path, copy)
        shutil.copy(copy / "predictions" / "test.parquet", copy / "secret.parquet")
    with pytest.raises(BadInput) as caught:
        compare_runs(copies, split=split)
    assert str(caught.value).splitlines() == [
        f"{copy}: expected saved predictions of '{split}', found those of test. "
        "Score all runs on one file with `evaluate`, or name a split of all runs with `split`."
        for copy in copies
    ]


def test_a_run_that_is_not_finished_is_to_be_resumed(two: list[Path], tmp_path: Path) -> None:
    shutil.copytree(two[0], tmp_path / "run")
    run = RunDir(tmp_path / "run")
    run.update_manifest(status="running")
    run.prediction_file("test").unlink()
    with pytest.raises(BadInput, match="'validation', found none. Finish the run with `resume`"):
        compare_runs([run.path, two[1]], split="validation")
