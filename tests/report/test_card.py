"""Tests of the model card: valid metadata, figures from the files of the run, missing measurements."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from submillion.assess.score import assess_run
from submillion.report.card import metadata, write_card
from submillion.report.filters import NOT_MEASURED
from submillion.report.write import write_report
from submillion.rundir import RunDir
from support.intervals import limits
from support.run import NEWS, TOPICS, made_manifest, made_run


def carded(path: Path, **facts: Any) -> tuple[RunDir, str]:
    """Make a run of 80 test rows, assess it and write its card (no figures); return both."""
    run = made_run(path, sizes=(20, 20, 20, 20), **facts)
    assess_run(run, [0.99])
    return run, write_card(run).read_text(encoding="utf-8")


def test_the_metadata_can_be_read_by_the_hub(tmp_path: Path) -> None:
    from huggingface_hub import metadata_load
    from huggingface_hub.repocard_data import model_index_to_eval_results

    run, _ = carded(tmp_path / "run")
    loaded = metadata_load(run.card)
    assert loaded is not None
    assert loaded["library_name"] == "peft"
    assert loaded["pipeline_tag"] == "text-classification"
    assert loaded["base_model"] == "FacebookAI/roberta-base"
    assert loaded["datasets"] == ["fancyzhx/ag_news"]
    name, results = model_index_to_eval_results(loaded["model-index"])
    assert name == "made"
    values = {(result.dataset_split, result.metric_type): result.metric_value for result in results}
    metrics = run.read_json(run.metrics)
    assert values == {
        (split, kind): metrics[split][key]
        for split in ("test", "validation")
        for kind, key in (("accuracy", "accuracy"), ("f1", "macro_f1"))
    }
    assert {result.dataset_type for result in results} == {"fancyzhx/ag_news"}


def test_the_card_can_be_loaded_and_validated_as_a_model_card(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(carded(tmp_path / "run")[0].card)
    assert card.data.license == "other"
    assert card.data.eval_results is not None
    assert len(card.data.eval_results) == 4
    assert card.text.lstrip().startswith("# made")


@pytest.mark.parametrize(
    ("encoder", "data", "expected"),
    [
        ("Apache-2.0", "apache-2.0", {"license": "apache-2.0"}),
        ("mit", "non-commercial use", {"license": "other", "license_name": "terms-of-encoder-and-data"}),
        (None, None, {"license": "other", "license_name": "terms-of-encoder-and-data"}),
    ],
)
def test_the_licence_never_promises_more_than_encoder_and_data_allow(
    encoder: str | None, data: str | None, expected: dict[str, str]
) -> None:
    import yaml

    manifest = made_manifest(NEWS)
    manifest["encoder"]["licence"], manifest["data"]["licence"] = encoder, data
    block = yaml.safe_load(metadata(manifest, {}))
    assert {key: block[key] for key in block if key.startswith("license")} == expected


def test_results_equal_those_of_metrics_json(tmp_path: Path) -> None:
    run, card = carded(tmp_path / "run")
    for split, scores in run.read_json(run.metrics).items():
        low, high = limits(scores["accuracy_interval"])
        row = (
            f"| {split} | 80 | {100 * scores['accuracy']:.2f}% | {100 * low:.2f} to {100 * high:.2f}% "
            f"| {scores['macro_f1']:.4f} | {scores['loss']:.4f} |"
        )
        assert row in card
        for name, score in scores["per_class"].items():
            assert (
                f"| {name} | {score['precision']:.4f} | {score['recall']:.4f} | {score['f1']:.4f} | 20 |"
                in card
            )
        sure = scores["confidence"]
        assert f"| {split} | 80 | {sure['mean']:.4f} | {sure['median']:.4f} | {sure['min']:.4f}" in card
        assert f"0.99: {100 * sure['above']['0.99']:.2f}%" in card


def test_one_changed_metric_changes_the_card(tmp_path: Path) -> None:
    run, card = carded(tmp_path / "run")
    metrics = run.read_json(run.metrics)
    metrics["test"]["accuracy"] = 0.4321
    run.write_json(run.metrics, metrics)
    assert "43.21%" not in card
    assert "43.21%" in write_card(run).read_text(encoding="utf-8")


def test_budget_cost_and_environment_come_from_the_manifest(tmp_path: Path) -> None:
    _, card = carded(tmp_path / "run")
    for line in (
        "| head.projection | 590,592 |",
        "| **total** | **888,580** |",
        "| budget | 1,000,000 |",
        "has 124,943,620 parameters",
        "0.71% of them are trained",
        "epoch 2, step 1,064, validation accuracy 94.31%",
        "| wall time | 1 h 2 min 3 s |",
        "| peft | 0.21.2 |",
        "| lora.r | 16 |",
        "Encoder roberta-base: mit.",
        f"SHA-256 `{'ab' * 32}`",
        "bfloat16: the processor multiplies it in hardware.",
    ):
        assert line in card, line


def test_accelerator_memory_is_listed_if_measured(tmp_path: Path) -> None:
    training = made_manifest(TOPICS)["training"]
    assert "accelerator memory" not in carded(tmp_path / "none")[1]
    _, card = carded(tmp_path / "run", training=training | {"peak_accelerator_mb": 1831.25})
    assert "| peak accelerator memory (tensors) | 1,831.2 MB |" in card


def test_an_empty_run_claims_nothing(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    run.write_json(run.manifest, {"format": 2, "name": "bare", "status": "running"})
    card = write_report(run.path).read_text(encoding="utf-8")
    assert "This run is not complete" in card
    body = card.split("---", 2)[2].replace("SHA-256", "").replace("95%", "").replace("F1", "")
    assert not re.search(r"\d", body), re.findall(r".*\d.*", body)
    assert body.count(NOT_MEASURED) > 20


def test_an_interrupted_run_has_no_test_figures(tmp_path: Path) -> None:
    training = made_manifest(NEWS)["training"] | {"interrupted": True}
    _, card = carded(tmp_path / "run", splits=("validation",), training=training)
    assert "| test | not measured |" in card
    assert "its training was interrupted" in card


def test_a_file_that_evaluate_added_is_no_result_of_the_run(tmp_path: Path) -> None:
    entry = {"file": "../new.csv", "sha256": "cd" * 32, "text": None, "label": None, "rows": 80}
    splits = ("validation", "test", "new")
    run, card = carded(tmp_path / "run", splits=splits, evaluations={"new": entry})
    results, _, further = card.partition("### Further files")
    assert "| new |" not in results and f"| new | {'cd' * 32} | 80 |" in further
    named = {result["dataset"]["split"] for result in _results(run)}
    assert named == {"test", "validation"}


def _results(run: RunDir) -> list[dict[str, Any]]:
    from huggingface_hub import metadata_load

    loaded = metadata_load(run.card)
    assert loaded is not None
    results: list[dict[str, Any]] = loaded["model-index"][0]["results"]
    return results


def test_data_files_are_named_by_their_hash(tmp_path: Path) -> None:
    data = made_manifest(NEWS)["data"]
    data["sources"] = {"test": {"name": "/home/somebody/test.csv", "sha256": {"test.csv": "ef" * 32}}}
    _, card = carded(tmp_path / "run", data=data)
    assert f"| test | test.csv | {'ef' * 32} |" in card


def test_further_training_rows_are_named_by_their_file(tmp_path: Path) -> None:
    data = made_manifest(NEWS)["data"]
    data["sources"] = {"more": {"name": "/home/somebody/labelled.csv", "sha256": {"labelled.csv": "ef" * 32}}}
    _, card = carded(tmp_path / "run", data=data)
    assert "; further training rows of labelled.csv.\n" in card
    assert f"| more | labelled.csv | {'ef' * 32} |" in card


def test_figures_are_linked_where_they_exist(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", TOPICS, [5] * 8)
    assess_run(run)
    assert "## Figures" not in write_card(run).read_text(encoding="utf-8")
    card = write_report(run.path).read_text(encoding="utf-8")
    linked = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", card)
    assert len(linked) == 12
    assert all(words and (run.path / file).is_file() for words, file in linked)
    first, rest = card.split("Figures of the other splits")
    assert "confusion_test_counts" in first
    assert "validation" not in "".join(re.findall(r"\(figures/.*\)", first))
    assert "confusion_validation_counts" in rest


def test_no_path_of_the_machine_is_published(tmp_path: Path) -> None:
    from submillion.recipe import Recipe

    run = made_run(tmp_path / "run", sizes=(5, 5, 5, 5))
    recipe = Recipe.load(
        "agnews-reference", ["data.train=/home/ann/secret/train.csv", "encoder.source=/srv/models/enc"]
    )
    run.write_text(run.recipe, recipe.to_yaml())
    manifest = run.read_manifest()
    manifest["encoder"] |= {
        "source": "/srv/models/enc",
        "name": "enc",
        "hub_id": None,
        "origin": "/srv/models/enc",
    }
    manifest["notices"] = [{"code": "x", "text": "/home/ann/secret/train.csv: and/or 3 rows of /srv/b.csv."}]
    run.write_json(run.manifest, manifest)
    card = write_card(run).read_text(encoding="utf-8")
    assert "- train.csv: and/or 3 rows of b.csv." in card
    assert "train.csv" in card
    assert "/home/ann" not in card
    assert "/srv/" not in card
    assert "base_model" not in card
    assert "from_pretrained('PATH_TO_ENCODER', num_labels=4)" in card


def test_label_names_cannot_break_a_table(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", ("a|b", "c*d*", "<e>", "f\ng"), (5, 5, 5, 5))
    assess_run(run)
    card = write_card(run).read_text(encoding="utf-8")
    assert r"| a\|b |" in card
    assert r"| c\*d\* |" in card
    assert r"| \<e> |" in card
    assert "| f g |" in card


def test_intended_use_follows_from_the_scores(tmp_path: Path) -> None:
    run, card = carded(tmp_path / "run")
    section = card.split("## Intended use")[1].split("## Results")[0]
    scores = run.read_json(run.metrics)["test"]
    low, high = limits(scores["accuracy_interval"])
    assert f"{round(1000 * (1 - high))} to {round(1000 * (1 - low))} are misclassified" in section
    found = {name: score["recall"] for name, score in scores["per_class"].items()}
    worst = min(found, key=lambda name: found[name])
    assert f"class {worst}: its recall is {found[worst]:.2%} on" in section
    run.metrics.unlink()
    section = write_card(run).read_text(encoding="utf-8").split("## Intended use")[1].split("## Results")[0]
    assert "not measured; do not rely on them" in section


def test_the_code_of_the_card_opens_an_encoder_that_comes_with_another_head(tmp_path: Path) -> None:
    _, card = carded(tmp_path / "run")
    assert "ignore_mismatched_sizes" not in card
    head = {"code": "foreign_head", "text": "the encoder comes with the head of another classifier."}
    _, card = carded(tmp_path / "other", notices=[head])
    assert "num_labels=4, ignore_mismatched_sizes=True)" in card


def test_class_names_that_figures_show_as_numbers_are_listed_before_the_figures(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", ["Sports", "体育", "a|b 经济"], [4] * 3)
    assess_run(run)
    run.figures.mkdir(exist_ok=True)
    (run.figures / "loss.png").touch()
    card = write_card(run).read_text(encoding="utf-8")
    assert "figures show numbers: class 2 is 体育, class 3 is a\\|b 经济.\n\n![" in card


def test_of_many_classes_the_first_sentence_names_eight(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", [f"c{place}" for place in range(13)], [1] * 13)
    assess_run(run)
    assert "into 13 classes (c0, c1, c2, c3, c4, c5, c6, c7 and 5 more)." in write_card(run).read_text(
        encoding="utf-8"
    )
