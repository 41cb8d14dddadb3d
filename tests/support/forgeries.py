"""Forgeries of a finished run: what a dishonest author would change, with every file and hash made consistent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from submillion import pipeline
from submillion.assess import registry
from submillion.assess.run_context import RunContext
from submillion.assess.score import assess_run
from submillion.data.corpus import load_corpus
from submillion.model.trained import open_run_classifier
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from submillion.verification.run import (
    baselines,
    files,
    predictions,
    records,
    retrained,
    scores,
    training,
)
from submillion.verification.run import data as data_checks
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check
from support.tampering import change_columns, change_history, change_json, change_text

GAIN = 5e-5  # a change of a probability that the rounding of another machine would explain


@dataclass(frozen=True)
class Forgery:
    """A dishonest change of a run."""

    apply: Callable[[RunDir], None]
    check: Callable[[Case], list[Check]]
    """The function in `checks.CHECKS` that detects it, or that states what it changed."""
    where: str
    """Part of the place that the check names."""
    retrain: bool = False
    """Whether only a repeated training detects it."""
    stated: bool = False
    """Whether nothing detects it: the check says that the run alone states this."""


def seal(run: RunDir) -> None:
    """Recompute metrics, analysis and hashes from the predictions; the saved state of the training is deleted."""
    shutil.rmtree(run.checkpoint, ignore_errors=True)
    assess_run(run)
    for file in sorted(run.analysis.glob("*.json")):
        cost = run.read_json(file)[registry.COST]
        part = registry.recompute_part(RunContext(run), file.stem)
        run.write_analysis(file.stem, part | {registry.COST: cost})
    run.seal()


def _train_on_test_rows(run: RunDir) -> None:
    """Put an adapter in the run that was trained on the test rows too, with its own predictions."""
    home = run.path.parent
    leaked = home / "leaked.csv"
    test = (home / "test.csv").read_text(encoding="utf-8").partition("\n")[2]
    leaked.write_text((home / "train.csv").read_text(encoding="utf-8") + test, encoding="utf-8")
    recipe = run.read_recipe().with_data(train=str(leaked), test=None)
    pipeline.train(recipe, home / "dishonest", quiet=True, hold_back_test=True)
    shutil.rmtree(run.adapter)
    shutil.copytree(home / "dishonest" / "adapter", run.adapter)
    opened, context = open_run_classifier(run, merged=False), RunContext(run)
    for split in context.corpus.splits[1:]:
        saved = run.load_predictions(split.name)
        probabilities = opened.probabilities(split.texts, 64)
        fields = (saved.ids, saved.text_sha256, saved.labels, probabilities, saved.label_names)
        run.save_predictions(split.name, Predictions.of(*fields))
    validation = run.load_predictions("validation")
    accuracy = float((validation.predicted == validation.labels).mean())
    change_json(run.manifest, lambda manifest: manifest["training"].update(best_accuracy=accuracy))
    best = run.read_manifest()["training"]["best_step"]

    def change(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            line["accuracy"] = accuracy if line["step"] == best else 0.0

    change_history(run, "eval", change)
    seal(run)


def _invent_a_split(run: RunDir) -> None:
    """Add answers to a file that never existed, all of them right."""
    saved = run.load_predictions("test")
    labels = saved.known_labels()
    sure = np.full_like(saved.probabilities, 0.01)
    sure[np.arange(len(labels)), labels] = 1 - 0.01 * (sure.shape[1] - 1)
    hashes = [f"{row:064x}" for row in range(len(labels))]
    run.save_predictions("experts", Predictions.of(saved.ids, hashes, labels, sure, saved.label_names))
    entry = {"file": "/gone.csv", "sha256": "0" * 64, "text": None, "label": None, "rows": len(labels)}
    change_json(run.manifest, lambda manifest: manifest.update(evaluations={"experts": entry}))
    seal(run)


def _edit_test_labels(run: RunDir) -> None:
    """Call every wrong answer right, in the predictions and in the file; `published.csv` is the file as it was."""
    file = run.path.parent / "test.csv"
    file.with_name("published.csv").write_bytes(file.read_bytes())
    lines = file.read_text(encoding="utf-8").splitlines()
    own = run.load_predictions("test")
    for row, predicted in enumerate(own.predicted):
        lines[row + 1] = f"{lines[row + 1].rpartition(',')[0]},{own.label_names[predicted]}"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in (None, *(folder.name for folder in run.analysis.glob("baselines/*"))):
        saved = run.load_predictions("test", baseline=name)
        fields = (saved.ids, saved.text_sha256, own.predicted, saved.probabilities, saved.label_names)
        run.save_predictions("test", Predictions.of(*fields), baseline=name)
    recipe = run.read_recipe()
    report = run.relative(load_corpus(recipe.data, recipe.seed, progress=False).report)
    change_json(run.manifest, lambda manifest: manifest["data"].update(report))
    seal(run)


def _edit_test_labels_in_the_run_alone(run: RunDir) -> None:
    """Edit the labels, where whoever verifies has the published file."""
    _edit_test_labels(run)
    (run.path.parent / "published.csv").replace(run.path.parent / "test.csv")


def _widen_margins(run: RunDir) -> None:
    """Move every probability of a true class up, by less than rounding explains."""

    def change(columns: dict[str, list[Any]]) -> None:
        names = [name for name in columns if name.startswith("p_")]
        for row, label in enumerate(columns["label"]):
            other = names[(label + 1) % len(names)]
            gain = min(GAIN, columns[other][row] / 2)
            columns[names[label]][row] += gain
            columns[other][row] -= gain
        values = np.array([columns[name] for name in names], dtype=np.float32)
        columns["predicted"][:] = values.argmax(axis=0).tolist()

    change_columns(run, "test", change)
    seal(run)


def _widen_margins_elsewhere(run: RunDir) -> None:
    """Widen the margins, and claim another processor, so that rounding could explain the difference."""
    change_json(run.manifest, lambda manifest: manifest["machine"].update(processor="Another Processor"))
    _widen_margins(run)


def _weaken_baselines(run: RunDir) -> None:
    """Let every baseline give its second choice wherever it was right."""
    for file in sorted(run.analysis.glob("baselines/*/test.parquet")):
        saved = Predictions.read(file)
        right = np.flatnonzero(saved.predicted == saved.known_labels())
        values = saved.probabilities.copy()
        order = np.argsort(values, axis=1)
        first, second = order[right, -1], order[right, -2]
        values[right, first], values[right, second] = values[right, second], values[right, first]
        fields = (saved.ids, saved.text_sha256, saved.labels, values, saved.label_names)
        run.save_predictions("test", Predictions.of(*fields), baseline=file.parent.name)
    seal(run)


def _drop_the_baselines(run: RunDir) -> None:
    run.analysis_file("baseline").unlink()
    shutil.rmtree(run.analysis / "baselines")
    seal(run)


def _drop_the_baselines_with_an_excuse(run: RunDir) -> None:
    _drop_the_baselines(run)
    text = "part 'baseline' of the analysis failed: no space left on the device"
    notice = {"code": "not_analysed", "text": text, "part": "baseline"}
    change_json(run.manifest, lambda manifest: manifest["notices"].append(notice))


def _call_it_complete(run: RunDir) -> None:
    """Cut the training off after its first epoch, and leave it complete."""
    lines = run.read_history()
    first = next(line["step"] for line in lines if line["kind"] == "eval")
    run.truncate_history(sum(line["step"] <= first for line in lines))
    record = next(line for line in lines if line["kind"] == "eval")
    best = {f"best_{name}": record[name] for name in ("step", "epoch", "accuracy", "loss", "macro_f1")}
    change_json(run.manifest, lambda manifest: manifest["training"].update(best, steps=first, epochs_run=1))
    seal(run)


def _call_it_interrupted(run: RunDir) -> None:
    """Hide a bad test score: an interrupted run has none."""
    run.prediction_file("test").unlink()
    change_json(run.manifest, lambda manifest: manifest["training"].update(interrupted=True))
    run.update_manifest(status="interrupted")
    registry.compute_parts(RunContext(run), ["baseline", "errors"])
    seal(run)


def _history(kind: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[RunDir], None]:
    def apply(run: RunDir) -> None:
        change_history(run, kind, lambda lines: [change(line) for line in lines])
        seal(run)

    return apply


def _lower_losses(run: RunDir) -> None:
    _history("train", lambda line: line.update(loss=line["loss"] * 0.9))(run)


def _change_the_rate(run: RunDir) -> None:
    """Claim half the learning rate, in the recipe and in every line of the history."""
    change_text(run.recipe, "learning_rate: 0.01", "learning_rate: 0.005")
    _history("train", lambda line: line.update(learning_rate=line["learning_rate"] / 2))(run)


def _smooth_evaluations(run: RunDir) -> None:
    """Raise the losses and lower the scores of the evaluations before the best one."""
    best = run.read_manifest()["training"]["best_step"]

    def change(line: dict[str, Any]) -> None:
        if line["step"] != best:
            line.update(accuracy=line["accuracy"] / 2, loss=line["loss"] * 2)

    _history("eval", change)(run)


def _halve_times(run: RunDir) -> None:
    """Claim twice the speed, in the manifest and in every line of the history."""

    for kind in ("train", "eval"):
        change_history(run, kind, lambda lines: [_twice_as_fast(line) for line in lines])
    seconds, before = 0.0, 0
    for line in run.read_history():
        if line["kind"] == "train":
            seconds += 8 * (line["step"] - before) / line["samples_per_s"]  # 8 texts a step
            before = line["step"]

    def change(manifest: dict[str, Any]) -> None:
        training = manifest["training"]
        training["wall_seconds"] = round(training["wall_seconds"] / 2, 1)
        training["train_seconds"] = round(seconds, 1)
        training["samples_per_second"] = round(training["texts_seen"] / seconds, 2)

    change_json(run.manifest, change)
    seal(run)


def _twice_as_fast(line: dict[str, Any]) -> None:
    for name in ("samples_per_s", "tokens_per_s"):
        if name in line:
            line[name] *= 2
    if "seconds" in line:
        line["seconds"] /= 2


def _claim_another_machine(run: RunDir) -> None:
    machine = {"processor": "Another Processor", "cores": 1, "memory_gb": 4.0}
    change_json(run.manifest, lambda manifest: manifest["machine"].update(machine))


def _remove_notices(run: RunDir) -> None:
    change_json(run.manifest, lambda manifest: manifest.update(notices=[]))


def _claim_another_weight_decay(run: RunDir) -> None:
    """Change a setting that only the saved state of the training records, and delete that."""
    text = yaml.safe_dump(yaml.safe_load(run.recipe.read_text(encoding="utf-8")), sort_keys=False)
    run.recipe.write_text(text.replace("weight_decay: 0.01", "weight_decay: 0.2"), encoding="utf-8")
    seal(run)


def _swap_the_revision(run: RunDir) -> None:
    change_json(run.manifest, lambda manifest: manifest["encoder"].update(revision="0" * 40))


def _edit_metrics(run: RunDir) -> None:
    """Raise the test accuracy in the metrics; the card and the page are written from them."""
    change_json(run.metrics, lambda metrics: metrics["test"].update(accuracy=0.999))


FORGERIES = {
    "adapter trained on test rows": Forgery(
        _train_on_test_rows, retrained.retraining, "adapter/", retrain=True
    ),
    "invented split": Forgery(_invent_a_split, data_checks.predicted_rows, "experts", stated=True),
    "edited labels, against the published file": Forgery(
        _edit_test_labels_in_the_run_alone, data_checks.data, "splits.test"
    ),
    "edited labels, with the edited file": Forgery(
        _edit_test_labels, records.statements, "data.sources.test", stated=True
    ),
    "margins within rounding": Forgery(_widen_margins, predictions.predictions, "predictions/test"),
    "margins within rounding, other machine": Forgery(
        _widen_margins_elsewhere, predictions.predictions, "predictions/test"
    ),
    "weaker baselines": Forgery(_weaken_baselines, baselines.baselines, "baselines/words"),
    "dropped baselines": Forgery(_drop_the_baselines, files.layout, "analysis/baseline.json"),
    "dropped baselines, with an excuse": Forgery(
        _drop_the_baselines_with_an_excuse, retrained.retraining, "notices", retrain=True
    ),
    "interrupted run called complete": Forgery(_call_it_complete, training.history, "status"),
    "complete run called interrupted": Forgery(_call_it_interrupted, training.history, "status"),
    "lower losses": Forgery(_lower_losses, retrained.retraining, "history.jsonl", retrain=True),
    "another learning rate": Forgery(_change_the_rate, retrained.retraining, "history.jsonl", retrain=True),
    "smoothed evaluations": Forgery(_smooth_evaluations, retrained.retraining, "history.jsonl", retrain=True),
    "shorter times": Forgery(_halve_times, records.statements, "manifest.json: training", stated=True),
    "another machine": Forgery(_claim_another_machine, records.statements, "machine", stated=True),
    "removed notices": Forgery(_remove_notices, records.notices, "notices"),
    "a setting that no file confirms": Forgery(
        _claim_another_weight_decay, retrained.retraining, "history.jsonl", retrain=True
    ),
    "another revision of the encoder": Forgery(_swap_the_revision, files.encoder, "revision"),
    "metrics, with card and page": Forgery(_edit_metrics, scores.metrics, "test.accuracy"),
}
