"""Tests of study files and designs: cells, runs, held parameters, refusals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from submillion.errors import BadInput, OverBudget
from submillion.recipe import Recipe
from submillion.study.design import read_study
from submillion.study.study_file import study_names


def study_file(folder: Path, **values: Any) -> Path:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({"base": "r8"} | values), encoding="utf-8")
    return file


def test_one_axis_at_a_time_from_the_base(tmp_path: Path) -> None:
    axes = {
        "lora.dropout": [0.0, 0.2],
        "where": {"all": {"lora.targets": ["all-linear"]}, "q": {"lora.targets": ["query"], "lora.r": 4}},
    }
    design = read_study(study_file(tmp_path, axes=axes, seeds=[7, 8]))
    assert [cell.name for cell in design.cells] == ["base", "lora.dropout=0.2", "where=q"]
    assert design.base_levels == {"lora.dropout": "0.0", "where": "all"}
    assert [cell.levels for cell in design.cells][1:] == [
        {"lora.dropout": "0.2", "where": "base"},
        {"lora.dropout": "base", "where": "q"},
    ]
    assert design.cells[2].recipe.lora.targets == ["query"] and design.cells[2].recipe.lora.r == 4
    assert [cell_run.name for cell_run in design.runs] == [
        f"{cell}-seed{seed}" for seed in (7, 8) for cell in ("base", "lora.dropout-0.2", "where-q")
    ]
    assert {cell_run.recipe.seed for cell_run in design.runs} == {7, 8}
    # 3 layers x r 4 x (384 + 384); the head's 384 x 384 + 384 and 384 x 8 + 8
    assert design.cells[2].count.parts == {
        "lora.query": 9_216,
        "head.projection": 147_840,
        "head.output": 3_080,
    }


@pytest.mark.parametrize(
    "names",
    [("мал", "бол"), ("<4", ">4"), ("a b", "a, b"), ("Deep", "deep"), ("x" * 120 + "<", "x" * 120 + ">")],
)
def test_cells_whose_names_differ_only_in_other_characters_have_runs_of_their_own(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    axes = {"size": {names[0]: {"lora.r": 3}, names[1]: {"lora.r": 5}, "plain one": {"lora.r": 6}}}
    design = read_study(study_file(tmp_path, axes=axes, seeds=[5]))
    run_of = {cell_run.cell.name: cell_run.name for cell_run in design.runs}
    assert run_of.pop("base") == "base-seed5" and run_of.pop("size=plain one") == "size-plain-one-seed5"
    others = list(run_of.values())
    assert len({name.lower() for name in others}) == 2
    assert all(re.fullmatch(r"[a-zA-Z-]+(4-)?[0-9a-f]{10}-seed5", name) for name in others), others


def test_a_level_whose_name_no_file_can_have_is_not_called_base(tmp_path: Path) -> None:
    design = read_study(study_file(tmp_path, axes={"размер": {"бол": {"lora.r": 3}}}, seeds=[5]))
    assert [cell_run.name for cell_run in design.runs] == ["base-seed5", "cell-seed5"]


@pytest.mark.parametrize(
    ("values", "overrides", "message"),
    [
        ({"axes": {"seed": [1, 2]}}, [], "axes: seed: .*found 'seed'. List seeds under `seeds`"),
        ({"axes": {"a": {"b": {"lora.r": 4, "name": "c"}}}}, [], "axes: a: .*found 'name'. Runs are named"),
        ({"axes": {"lora.r": [4]}, "set": {"seed": 3}}, [], "set: .*found 'seed'"),
        ({"axes": {"lora.r": [4]}}, ["seed=3", "name=mine"], "seed=3: .*found 'seed'.*\nname=mine: "),
        ({"search": {"lora.r": {"low": 1, "high": 4}}, "trials": 2}, ["seed=3"], "seed=3: "),
    ],
)
def test_a_field_that_every_run_gets_from_the_study_is_refused(
    tmp_path: Path, values: dict[str, Any], overrides: list[str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        read_study(study_file(tmp_path, **values), overrides)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (
            {"data.test": ["none", None]},
            r'axes: data.test: expected levels whose names differ, found \["none", null',
        ),
        ({"lora.r": [4, 4]}, "levels whose names differ"),
        ({"lora.r": []}, "axes: lora.r: expected at least one level, found none"),
        ({"where": {}}, "axes: where: expected at least one level"),
        (
            {"size": {"base": {"lora.r": 3}, "large": {"lora.r": 8}}},
            "'base' only as the name of the base's level",
        ),
    ],
)
def test_an_axis_whose_levels_cannot_be_told_apart_is_refused(
    tmp_path: Path, axes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        read_study(study_file(tmp_path, axes=axes))


def test_bitfit_is_a_level_around_a_complete_recipe(tmp_path: Path) -> None:
    (tmp_path / "whole.yaml").write_text(Recipe.load("r8").to_yaml(), encoding="utf-8")
    of_axes = read_study(study_file(tmp_path, base="whole.yaml", axes={"lora.variant": ["bitfit"]}))
    assert [cell.recipe.lora.bias for cell in of_axes.cells] == ["none", "all"]
    search = {"lora.variant": {"choice": ["lora", "bitfit"]}}
    space = read_study(study_file(tmp_path, base="whole.yaml", search=search, trials=2)).space
    assert space is not None and space.is_feasible({"lora.variant": "bitfit"})


def test_a_grid_combines_all_levels(tmp_path: Path) -> None:
    axes = {"lora.dropout": [0.0, 0.1], "train.learning_rate": [1e-3, 2e-3, 3e-3]}
    design = read_study(study_file(tmp_path, axes=axes, design="grid", set={"train.learning_rate": 2e-3}))
    assert len(design.cells) == 6
    assert design.cells[0].name == "base" and design.cells[0].recipe.train.learning_rate == 2e-3
    assert len({(cell.recipe.lora.dropout, cell.recipe.train.learning_rate) for cell in design.cells}) == 6


def test_hold_parameters_fills_the_rank_and_keeps_the_scale(tmp_path: Path) -> None:
    axes = {"lora.targets": [["query", "value"], ["ffn_up"]], "lora.layers": ["top-1"]}
    design = read_study(
        study_file(tmp_path, axes=axes, hold="parameters", set={"lora.r": 8, "lora.alpha": 24})
    )
    base = design.cells[0].count.trainable
    for cell in design.cells[1:]:
        assert cell.count.trainable <= base
        one_more = cell.recipe.lora.r + 1
        per_rank = (
            sum(size for part, size in cell.count.parts.items() if "lora" in part) // cell.recipe.lora.r
        )
        assert cell.count.trainable + per_rank > base, f"r {one_more} fits as well"
        assert cell.recipe.lora.alpha / cell.recipe.lora.r == pytest.approx(3)


def test_held_fields_cannot_be_varied(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"hold: parameters.*lora\.r"):
        read_study(study_file(tmp_path, axes={"lora.r": [4, 8]}, hold="parameters"))


def test_every_cell_over_the_budget_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(OverBudget) as error:
        read_study(study_file(tmp_path, axes={"lora.r": [4, 100, 300]}))
    assert "lora.r=100" in str(error.value) and "lora.r=300" in str(error.value)
    assert "lora.r=4:" not in str(error.value)


def test_overrides_change_the_base_but_not_the_axes(tmp_path: Path) -> None:
    file = study_file(tmp_path, axes={"lora.dropout": [0.3]}, set={"data.limit": 100, "train.epochs": 2})
    design = read_study(file, ["train.epochs=7", "lora.dropout=0.1"])
    assert [cell.recipe.train.epochs for cell in design.cells] == [7, 7]
    assert [cell.recipe.lora.dropout for cell in design.cells] == [0.1, 0.3]
    assert design.cells[0].recipe.data.limit == 100


def test_a_base_beside_the_study_file_takes_precedence(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(
        "encoder: {source: minilm}\ndata: {train: reuters-r8}\nlora: {r: 3}\n", "utf-8"
    )
    design = read_study(study_file(tmp_path, base="my.yaml", axes={"lora.dropout": [0.3]}))
    assert design.cells[0].recipe.lora.r == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"axes": {}}, "axes"),
        ({"axes": {"lora.dropout": [0.1]}, "seeds": [1, 1]}, "seeds that differ"),
        ({"axes": {"lora.dropuot": [0.1]}}, "lora.dropuot"),
        ({"axes": {"lora.dropout": [1.5]}}, "lora.dropout"),
        ({"axes": {"lora.dropout": [0.1]}, "base": "quikstart"}, "Did you mean 'quickstart'"),
        ({"axes": {"lora.dropout": [0.1]}, "desing": "grid"}, "desing"),
    ],
)
def test_an_invalid_study_file_is_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_study(study_file(tmp_path, **values))


@pytest.mark.parametrize("name", study_names())
def test_shipped_studies_are_within_the_budget(name: str) -> None:
    design = read_study(name)
    assert len(design.cells) > 2 or design.space is not None
    assert all(cell.count.fits for cell in design.cells)
    assert len({cell_run.name for cell_run in design.runs}) == len(design.runs)


def test_an_unknown_study_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadInput, match="Did you mean 'quick-study'"):
        read_study("quick-stdy")


def test_a_study_of_decimal_exponents_is_read_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "good,a\nbad,b\n" * 4, encoding="utf-8")
    (tmp_path / "base.yaml").write_text(
        "encoder: {source: minilm}\ndata: {train: absent.csv}\n", encoding="utf-8"
    )
    file = tmp_path / "study.yaml"
    file.write_text(
        "base: base.yaml\nset: {data.train: rows.csv, data.labels: [007, no]}\n"
        "axes: {train.learning_rate: [1e-3, 2e-3], depth: {1: {lora.layers: top-1}}}\nseeds: [1]\n",
        encoding="utf-8",
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    design = read_study(file)
    base, *others = design.cells
    assert base.recipe.data.train == str(tmp_path / "rows.csv")
    assert base.recipe.data.labels == ["007", "no"]
    assert [cell.recipe.train.learning_rate for cell in others] == [1e-3, 2e-3, 3e-4]
    assert [cell.name for cell in others] == [
        "train.learning_rate=0.001",
        "train.learning_rate=0.002",
        "depth=1",
    ]


def test_a_cell_with_the_recipe_of_another_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axes = {"lora.r": [3, 5], "size": {"small": {"lora.r": 3}, "tiny": {"lora.r": 2}}}
    design = read_study(study_file(tmp_path, axes=axes))
    assert [cell.name for cell in design.cells] == ["base", "lora.r=3", "lora.r=5", "size=tiny"]
    assert capsys.readouterr().err == (
        "note: size=small is the same recipe as lora.r=3; it is trained once, as the latter.\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [1, 4294967296]", "seeds: expected less than 4294967296"),
        ("axes: {train.epochs: [1]}\naxes: {train.epochs: [2]}", "every key once, found 'axes' twice"),
        ("name: " + "n" * 300, "name: expected at most 100 characters"),
        ("trials: 9999999999", "trials: expected less than or equal to 100000"),
    ],
)
def test_a_hostile_study_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "hostile.yaml"
    file.write_text(f"base: r8\n{text}\n", encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        read_study(file)
