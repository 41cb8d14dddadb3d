"""Tests of recipes: the shipped files, overrides, and the problems of an invalid recipe with their remedies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from submillion.errors import BadInput
from submillion.recipe import RECIPES, Recipe, recipe_names
from submillion.recipe_file import field_help, field_names

MINIMAL = "encoder: {source: minilm}\ndata: {train: reuters-r8}\n"


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_recipe_loads_and_starts_with_a_description(file: Path) -> None:
    recipe = Recipe.load(file.stem)
    assert recipe.name == file.stem
    assert recipe.budget == 1_000_000
    assert file.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_equals_the_one_read_from_its_yaml(name: str, tmp_path: Path) -> None:
    recipe = Recipe.load(name)
    assert Recipe.load(write(tmp_path, recipe.to_yaml())) == recipe


def test_the_reference_recipe_has_the_settings_of_the_reference_run() -> None:
    recipe = Recipe.load("agnews-reference")
    assert (recipe.lora.targets, recipe.lora.r, recipe.lora.alpha, recipe.lora.dropout) == (
        ["query"],
        16,
        32,
        0.1,
    )
    train = recipe.train
    assert (train.learning_rate, train.batch_size, train.epochs, train.patience) == (3e-4, 32, 5, 2)
    assert (train.weight_decay, train.warmup_ratio, recipe.seed) == (0.01, 0.1, 42)
    assert (recipe.data.max_length, recipe.data.validation_size, recipe.head.kind) == (128, 0.1, "stock")


def test_overrides_are_typed(tmp_path: Path) -> None:
    recipe = Recipe.load(
        write(tmp_path, MINIMAL),
        [
            "lora.r=4",
            "lora.targets=q,v",
            "lora.layers=[5, 4]",
            "train.learning_rate=1e-3",
            "data.test=C:/a: b.csv",
        ],
    )
    assert recipe.lora.r == 4
    assert recipe.lora.targets == ["query", "value"]
    assert recipe.lora.layers == [4, 5]
    assert recipe.train.learning_rate == 1e-3
    assert recipe.data.test == "C:/a: b.csv"


def test_all_problems_of_a_file_are_reported_at_once_with_remedies(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "encoder: {source: minilm}\ndata: {train: a.csv, max_lenght: 64}\n"
        "lora: {r: 0, targets: [qery]}\nhead: {kind: huge}\ntrain: {epochs: -1}\n",
    )
    with pytest.raises(BadInput) as caught:
        Recipe.load(file, ["lorra.r=2"])
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    assert "lora.r: expected greater than or equal to 1, found 0" in text
    assert "'max_lenght'. Did you mean 'max_length'?" in text
    assert "found 'qery'. Did you mean 'query'?" in text
    assert "'stock', 'linear' or 'lora', found 'huge'" in text
    assert "train.epochs: expected greater than or equal to 1, found -1" in text
    assert "'lorra.r'. Did you mean 'lora.r'?" in text


@pytest.mark.parametrize("value", ["0", "-3"])
def test_a_rank_below_one_is_refused(value: str) -> None:
    with pytest.raises(BadInput, match="lora.r: expected greater than or equal to 1"):
        Recipe.load("r8", [f"lora.r={value}"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"lora: [1, 2\n", "a text that is not YAML"),
        (b"\xff\xfe\x00", "a file that is not in utf-8"),
        (b"just a sentence", "a recipe in YAML"),
        (b"lora: {r: 4}\n", "encoder: expected a value, found none"),
    ],
)
def test_an_unreadable_recipe_gives_one_message(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        Recipe.load(file)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(BadInput, match="Did you mean 'quickstart'"):
        Recipe.load("quikstart")


def test_layer_indices_count_from_the_top() -> None:
    lora = Recipe.load("r8", ["lora.layers=top-2"]).lora
    assert lora.layer_indices(6) == [4, 5]
    with pytest.raises(BadInput, match="the encoder's 1 "):
        lora.layer_indices(1)


def test_every_field_has_help() -> None:
    without = [name for name in field_names(Recipe) if len(field_help(Recipe, name)) < 10]
    assert without == []


def test_bitfit_trains_all_biases(tmp_path: Path) -> None:
    recipe = Recipe.load(write(tmp_path, MINIMAL), ["lora.variant=bitfit"])
    assert recipe.lora.bias == "all"
    assert Recipe.load(write(tmp_path, recipe.to_yaml())) == recipe


def test_the_bias_of_a_complete_recipe_follows_the_variant(tmp_path: Path) -> None:
    recipe = Recipe.load(write(tmp_path, MINIMAL))
    bitfit = recipe.with_overrides(["lora.variant=bitfit"])
    assert bitfit == Recipe.load(write(tmp_path, MINIMAL), ["lora.variant=bitfit"])
    assert Recipe.load(write(tmp_path, recipe.to_yaml()), ["lora.variant=bitfit"]) == bitfit
    assert bitfit.with_overrides(["lora.variant=lora"]) == recipe
    assert bitfit.with_overrides(["lora.r=4"]).lora.bias == "all"
    assert bitfit.with_overrides(["lora.variant=dora", "lora.bias=all"]).lora.bias == "all"
    with pytest.raises(BadInput, match="expected bias=all with variant=bitfit, found 'none'"):
        recipe.with_overrides(["lora.bias=none", "lora.variant=bitfit"])
    with pytest.raises(BadInput, match="expected bias=all with variant=bitfit, found 'lora_only'"):
        recipe.with_overrides(["lora.bias=lora_only"]).with_overrides(["lora.variant=bitfit"])


@pytest.mark.parametrize("word", ["Cross-Validation", "CROSS-VALIDATION"])
def test_words_in_place_of_a_source_are_read_in_any_case(word: str) -> None:
    data = Recipe.load("r8", [f"data.validation={word}", "train.patience=0", "data.test=None"]).data
    assert (data.validation, data.test) == ("cross-validation", "none")


def test_no_validation_is_refused_with_the_alternatives() -> None:
    message = "r8.yaml: data.validation: expected a source, cross-validation, or null for a part of the training texts"
    with pytest.raises(BadInput, match=f"{message}, found 'None'"):
        Recipe.load("r8", ["data.validation=None"])


@pytest.mark.parametrize("overrides", ["lora.r=4", {"lora.r": 4}, [("lora.r", 4)], None])
def test_overrides_of_another_type_are_one_problem(overrides: Any) -> None:
    for change in (Recipe.load("r8").with_overrides, lambda items: Recipe.load("r8", items)):
        with pytest.raises(
            BadInput, match="`overrides`: expected a list of texts, section.key=value"
        ) as error:
            change(overrides)
        assert len(error.value.problems) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["lora.variant=lorra"],
            "lora.variant: expected 'lora', 'dora', 'pissa', 'eva', 'adalora', 'vera' or",
        ),
        (
            ["lora.variant=bitfit", "lora.bias=none"],
            "lora: expected bias=all with variant=bitfit, found 'none'",
        ),
        (
            ["lora.variant=vera", "lora.rslora=true"],
            "lora: expected variant lora, dora, pissa or eva with rslora=true, found 'vera'",
        ),
        (
            ["lora.variant=vera", "train.lora_plus_ratio=16"],
            "train.lora_plus_ratio: expected 1, found 16, and no matrix B is trained with lora.variant=vera.",
        ),
        (
            ["lora.variant=bitfit", "train.lora_plus_ratio=2"],
            "and no matrix B is trained with lora.variant=bitfit.",
        ),
        (
            ["lora.variant=dora", "train.frozen_precision=int8"],
            "train.frozen_precision: expected float with lora.variant=dora, found int8. DoRA reads the frozen "
            "matrices in float: leave `train.frozen_precision` at float.",
        ),
        (["train.lora_plus_ratio=0"], "train.lora_plus_ratio: expected greater than 0, found 0"),
    ],
)
def test_fields_that_a_variant_does_not_support_are_refused(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        Recipe.load(write(tmp_path, MINIMAL), overrides)
    assert message in str(caught.value)


def test_lora_plus_works_with_a_low_rank_head(tmp_path: Path) -> None:
    items = ["lora.variant=bitfit", "head.kind=lora", "train.lora_plus_ratio=2"]
    assert Recipe.load(write(tmp_path, MINIMAL), items).train.lora_plus_ratio == 2


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("lora.rank=8", "lora.rank=8: expected a field of the recipe, found 'lora.rank'."),
        (
            "train.epoch=2",
            "train.epoch=2: expected a field of the recipe, found 'train.epoch'. Did you mean 'train.epochs'?",
        ),
        ("lora.r", "lora.r: expected section.key=value, found 'lora.r'. For example lora.r=8."),
    ],
)
def test_an_invalid_override_names_the_nearest_field(item: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Recipe.load("r8", [item])
    assert str(caught.value).startswith(message)


def test_overrides_of_a_recipe_object_are_checked_like_those_of_a_file() -> None:
    recipe = Recipe.load("r8")
    assert recipe.with_overrides(["lora.r=8"]) == Recipe.load("r8", ["lora.r=8"])
    with pytest.raises(BadInput, match="Did you mean 'lora.r'"):
        recipe.with_overrides(["lora.rr=8"])


def test_a_pickle_option_does_not_exist_any_more() -> None:
    with pytest.raises(BadInput, match="expected a field of the recipe, found 'data.trust_pickle'"):
        Recipe.load("r8", ["data.trust_pickle=true"])


def labels_of(tmp_path: Path, written: str) -> list[str] | None:
    text = f"encoder: {{source: minilm}}\ndata: {{train: codes.csv, labels: {written}}}\n"
    return Recipe.load(write(tmp_path, text)).data.labels


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        ("[007, 010, 070]", ["007", "010", "070"]),
        ("[no, yes]", ["no", "yes"]),
        ("[true, FALSE]", ["true", "FALSE"]),
        ("[-1.0, 0.50, 1e3]", ["-1.0", "0.50", "1e3"]),
        ("[2020-01-01, 1:30]", ["2020-01-01", "1:30"]),
    ],
)
def test_labels_are_the_words_that_were_written(tmp_path: Path, written: str, labels: list[str]) -> None:
    assert labels_of(tmp_path, written) == labels
    assert Recipe.load("r8", [f"data.labels={written}"]).data.labels == labels
    recipe = Recipe.load("r8", [f"data.labels={written}"])
    assert Recipe.load(write(tmp_path, recipe.to_yaml())) == recipe


def test_a_label_that_is_null_is_refused_with_the_cause(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match='class names as text, in quotes if they look like values: "null"'):
        labels_of(tmp_path, "[null, other]")


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("data.train=reviews #2.csv", "train", "reviews #2.csv"),
        ("data.label=007", "label", "007"),
        ("data.text=[1.0, no]", "text", ["1.0", "no"]),
        ("data.label=null", "label", None),
        ('data.label="null"', "label", "null"),
    ],
)
def test_an_override_of_a_text_field_is_taken_as_written(override: str, field: str, value: object) -> None:
    assert getattr(Recipe.load("r8", [override]).data, field) == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget=!!timestamp ", "values without tags"),
        ("train.max_grad_norm=" + "9" * 5000, "an integer of 5,000 digits"),
        ("lora.alpha=.inf", "finite numbers"),
        ("train.threads=9999999", "less than or equal to 1024"),
        ("lora.layers=top-" + "9" * 5000, "lora.layers"),
        ("data.label=\udcff", r"text in utf-8, found a byte that is not \(\\xff\)"),
        ('lora.targets=["query\udcff', r"text in utf-8, found a byte that is not \(\\xff\)"),
        ("name=" + "n" * 300, "name: expected at most 100 characters"),
        ("name=..", "name: expected letters, digits"),
        ("data.train=" + "n" * 300, "each name in it of at most 255"),
        ("encoder.source=a\nb", "text without control characters"),
        ("data.labels=[a, " + "b" * 200_000 + "]", "class names of at most 100,000 bytes"),
        ("x" * 5000, "section.key=value"),
    ],
)
def test_a_hostile_override_is_refused_in_a_short_line(override: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        Recipe.load("r8", [override])
    assert len(str(error.value)) < 800


def test_a_list_may_be_written_with_commas() -> None:
    recipe = Recipe.load(
        "r8", ["track=wandb, tensorboard", "lora.targets=query,value", "data.slice_columns=a,b"]
    )
    assert recipe.track == ["wandb", "tensorboard"]
    assert recipe.lora.targets == ["query", "value"]
    assert recipe.data.slice_columns == ["a", "b"]
    with pytest.raises(BadInput, match="'wandb', 'tensorboard', 'mlflow' or 'trackio', found 'wandbb'"):
        Recipe.load("r8", ["track=wandbb"])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("lora.layers=3", "'all' or top-N or a valid list, found 3"),
        ("train.eval_every=200%", "'epoch' or a valid integer or 1% to 100%, found '200%'"),
        ("train.learning_rate=1e-3x", "a valid number, found '1e-3x'"),
        ("train.epochs=2.5", "a valid integer, found 2.5"),
        ("lora.rslora=maybe", "a valid boolean, found 'maybe'"),
        ("lora.targets=[]", r"at least 1 item, found \[\]"),
    ],
)
def test_what_was_expected_is_said_without_the_words_of_the_parser(override: str, expected: str) -> None:
    with pytest.raises(BadInput, match=f"expected {expected}"):
        Recipe.load("r8", [override])


def test_a_name_that_no_file_can_have_is_no_recipe() -> None:
    with pytest.raises(BadInput, match="neither a name nor a file"):
        Recipe.load("r" * 300)


def test_a_path_is_found_beside_the_recipe_from_every_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n", encoding="utf-8")
    file = write(tmp_path, "encoder: {source: minilm}\ndata: {train: rows.csv, test: absent.csv}\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    data = Recipe.load(file).data
    assert (data.train, data.test) == (str(tmp_path / "rows.csv"), "absent.csv")
    (elsewhere / "rows.csv").write_text("text,label\n", encoding="utf-8")
    assert Recipe.load(file).data.train == "rows.csv"


def test_one_of_test_and_test_size_is_chosen() -> None:
    with pytest.raises(BadInput, match="data.test or data.test_size, not both"):
        Recipe.load("r8", ["data.test=none", "data.test_size=0.1"])
