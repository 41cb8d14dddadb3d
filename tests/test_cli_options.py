"""Tests of cli_options.py: a dataclass becomes the arguments and flags of a command, and `plan` uses all of its own."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from submillion.cli_options import PlanOptions, TrainFlags, takes
from submillion.errors import BadInput
from submillion.recipe import Recipe
from support.command import submillion
from support.tiny import LABELS, shared_encoder, tiny_texts


@dataclass(frozen=True)
class Greeting:
    name: Annotated[str, typer.Argument(help="Who is greeted.")]
    times: Annotated[int, typer.Option(min=1, help="How often.")] = 1


def test_a_command_takes_its_flags_as_one_dataclass() -> None:
    app, greetings = typer.Typer(), []

    @app.command()
    @takes(Greeting)
    def greet(options: Greeting) -> None:
        """Greet somebody."""
        greetings.append(options)

    assert CliRunner().invoke(app, ["Ada", "--times", "2"]).exit_code == 0
    assert greetings == [Greeting("Ada", 2)]
    assert CliRunner().invoke(app, ["Ada", "--times", "0"]).exit_code == 2
    page = CliRunner().invoke(app, ["--help"]).stdout
    assert "Greet somebody." in page
    assert "How often." in page


@pytest.mark.parametrize(
    ("flag", "value", "field", "other"),
    [
        ("test", "b.csv", "data.test", "none"),
        ("encoder", "mpnet-base", "encoder.source", "minilm"),
        ("corrections", "suspects.csv", "data.corrections", "null"),
        ("execution", "packed", "train.execution", "auto"),
        ("track", ["wandb"], "track", "[mlflow]"),
    ],
)
def test_a_field_is_not_set_by_a_flag_and_otherwise_by_set(
    flag: str, value: Any, field: str, other: str
) -> None:
    with pytest.raises(BadInput, match=f"--{flag}: expected {field} from --{flag} or --set, not both, found"):
        TrainFlags("a.csv", **{flag: value, "sets": [f"{field}={other}"]}).overrides  # noqa: B018
    same = value if isinstance(value, str) else "[wandb]"
    alone, twice = ({flag: value}, {flag: value, "sets": [f"{field}={same}"]})
    given = [
        Recipe.load("quickstart", TrainFlags("quickstart", **flags).overrides) for flags in (alone, twice)
    ]
    assert given[0] == given[1] != Recipe.load("quickstart")


def test_the_flags_of_plan_do_not_beat_its_settings() -> None:
    with pytest.raises(BadInput, match="found 5 and budget=7"):
        PlanOptions("quickstart", budget=5, sets=["budget=7"]).overrides  # noqa: B018
    with pytest.raises(BadInput, match="--encoder"):
        PlanOptions("quickstart", encoder="minilm", sets=["encoder.source=mpnet-base"]).overrides  # noqa: B018
    assert PlanOptions("quickstart", budget=5, sets=["budget=5"]).overrides == ["budget=5", "budget=5"]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    texts, numbers = tiny_texts(40, 0)
    file = tmp_path / "reviews.csv"
    with file.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(
            [("text", "label"), *zip(texts, (LABELS[n] for n in numbers), strict=True)]
        )
    return file


def planned(folder: Path, *words: object) -> dict[str, Any]:
    ended = submillion("plan", *words, "--json", cwd=folder)
    assert ended.returncode in (0, 3), ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def test_plan_decides_for_the_encoder_and_the_budget_of_its_flags(reviews: Path) -> None:
    encoder = str(shared_encoder())
    reviews.write_text(reviews.read_text(encoding="utf-8").replace("text", "review", 1), encoding="utf-8")
    ended = submillion("plan", reviews, "--encoder", encoder, "--budget", 3_000, "--json", cwd=reviews.parent)
    result = json.loads(ended.stdout)
    assert (result["encoder"], result["budget"], result["labels"]) == (encoder, 3_000, len(LABELS))
    assert result["trainable"] <= 3_000
    assert "note: reviews.csv: texts are read from column 'review'." in ended.stderr


def test_plan_counts_a_recipe_with_another_encoder_budget_and_number_of_classes(tmp_path: Path) -> None:
    flags = ("--encoder", "roberta-base", "--budget", 2_000_000, "--labels", 10)
    result = planned(tmp_path, "quickstart", *flags)
    assert (result["encoder"], result["budget"], result["labels"]) == ("roberta-base", 2_000_000, 10)
    assert planned(tmp_path, "quickstart")["labels"] == 52
    assert planned(tmp_path, "agnews")["encoder"] == "roberta-base"


def test_the_labels_of_data_are_not_a_flag(reviews: Path) -> None:
    flags = ("--encoder", shared_encoder(), "--labels", 3)
    ended = submillion("plan", reviews, *flags, cwd=reviews.parent)
    assert ended.returncode == 2
    assert "the number of classes from the labelled texts" in ended.stderr


def test_plan_counts_the_classes_of_a_file_on_this_machine(reviews: Path) -> None:
    two = reviews.parent / "two.csv"
    two.write_text("text,label\n" + "".join(f"text {row},{row % 2}\n" for row in range(8)), encoding="utf-8")
    sets = ("--set", "data.train=two.csv", "--set", "data.test=nobody/has-this")
    assert planned(reviews.parent, "quickstart", *sets)["labels"] == 2
    assert planned(reviews.parent, "quickstart", *sets, "--labels", 3)["labels"] == 3


def test_plan_says_that_the_classes_of_data_elsewhere_are_not_known(tmp_path: Path) -> None:
    ended = submillion("plan", "agnews", "--set", "data.train=nobody/has-this", cwd=tmp_path)
    assert ended.returncode == 0
    expected = "note: the number of classes of nobody/has-this is not known here: 4 labels are counted."
    assert expected in ended.stderr


def test_plan_decides_for_auto_as_train_does(reviews: Path) -> None:
    sets = ("--encoder", shared_encoder(), "--set", f"data.train={reviews}")
    assert planned(reviews.parent, "auto", *sets)["labels"] == len(LABELS)
    ended = submillion("plan", "auto", cwd=reviews.parent)
    assert ended.returncode == 2
    assert "expected labelled texts for the recipe auto" in ended.stderr


@pytest.mark.parametrize("flags", [("--r", 4), ("--rows", 10)])
def test_plan_checks_its_flags_before_it_decides(reviews: Path, flags: tuple[str, int]) -> None:
    ended = submillion("plan", reviews, "--encoder", shared_encoder(), *flags, cwd=reviews.parent)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert flags[0] in ended.stderr


def test_a_remedy_of_plan_names_the_classes_by_their_field(tmp_path: Path) -> None:
    """Its option `--labels` is their number."""
    rows = "".join(f"some text {row},{row / 10}\n" for row in range(1, 40))
    (tmp_path / "stars.csv").write_text("text,label\n" + rows, encoding="utf-8")
    done = submillion("plan", "stars.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "--set data.labels=" in done.stderr
    assert "--labels" not in done.stderr
