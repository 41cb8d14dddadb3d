"""Ways to tamper with a finished run: one per check that `verify` makes, each as hard to detect as possible."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from submillion.assess import registry
from submillion.assess.run_context import RunContext
from submillion.assess.score import assess_run
from submillion.report.write import write_report
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from submillion.verification.run import (
    baselines,
    budget,
    data,
    files,
    predictions,
    records,
    report_pages,
    retrained,
    scores,
    settings,
    training,
)
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check

TENSORS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Tampering:
    """A change of a run's files that one check detects."""

    check: Callable[[Case], list[Check]]
    """The function in `checks.CHECKS` that detects it."""
    where: str
    """Part of the place that the check names."""
    apply: Callable[[RunDir], None]
    alone: bool = True
    """Whether no other check detects it, unless rows are re-predicted."""


def change_json(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Apply `change` to the JSON value of a file."""
    value = json.loads(file.read_text(encoding="utf-8"))
    change(value)
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def change_text(file: Path, old: str, new: str) -> None:
    """Replace the first occurrence of a text in a file."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def change_history(run: RunDir, kind: str, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Apply `change` to the history records of one kind."""
    records = run.read_history()
    change([record for record in records if record["kind"] == kind])
    lines = [json.dumps(record) + "\n" for record in records]
    run.history.write_text("".join(lines), encoding="utf-8")


def change_columns(run: RunDir, split: str, change: Callable[[dict[str, list[Any]]], Any]) -> None:
    """Apply `change` to the columns of a split's predictions."""
    file = run.prediction_file(split)
    table = pq.read_table(file)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    change(columns)
    pq.write_table(pa.table(columns, schema=table.schema), file)


def correct_a_wrong_answer(run: RunDir) -> None:
    """Turn the first wrong prediction of the test rows into a correct one."""

    def change(columns: dict[str, list[Any]]) -> None:
        names = [name for name in columns if name.startswith("p_")]
        pairs = zip(columns["label"], columns["predicted"], strict=True)
        row = next(row for row, (label, predicted) in enumerate(pairs) if label != predicted)
        predicted, label = names[columns["predicted"][row]], names[columns["label"][row]]
        columns[predicted][row], columns[label][row] = columns[label][row], columns[predicted][row]
        columns["predicted"][row] = columns["label"][row]

    change_columns(run, "test", change)


def recompute(run: RunDir) -> None:
    """Recompute metrics, analysis and hashes from the predictions."""
    assess_run(run)
    registry.compute_parts(RunContext.open(run.path), registry.quick_parts())
    run.seal()


def make_consistent(run: RunDir) -> None:
    """Recompute everything from the predictions, the report included, as a careful forger would."""
    recompute(run)
    write_report(run.path)


def _forge_a_prediction(run: RunDir) -> None:
    correct_a_wrong_answer(run)
    recompute(run)


def _scale_probabilities(run: RunDir) -> None:
    """Make one row's probabilities add up to 1.00005, which is within every other check's tolerance."""

    def change(columns: dict[str, list[Any]]) -> None:
        for name in columns:
            if name.startswith("p_"):
                columns[name][0] *= 1.00005

    change_columns(run, "validation", change)
    recompute(run)


def _predict_another_class(run: RunDir) -> None:
    def change(columns: dict[str, list[Any]]) -> None:
        classes = sum(name.startswith("p_") for name in columns)
        columns["predicted"][0] = (columns["predicted"][0] + 1) % classes

    change_columns(run, "test", change)
    run.seal()


def _edit_manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[RunDir], None]:
    return lambda run: change_json(run.manifest, change)


def _edit_adapter_config(run: RunDir) -> None:
    change_json(run.adapter / "adapter_config.json", lambda config: config.update(lora_dropout=0.5))
    run.seal()


def _edit_adapter(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[RunDir], None]:
    def apply(run: RunDir) -> None:
        for file in (run.adapter / TENSORS, run.checkpoint / "best" / TENSORS):
            tensors = load_file(file)
            metadata = _metadata(file)
            change(tensors)
            save_file(tensors, file, metadata)
        run.seal()

    return apply


def _nudge_adapter(run: RunDir) -> None:
    """Change one value of the final adapter by less than the tolerance of re-predicted rows."""
    file = run.adapter / TENSORS
    tensors, metadata = load_file(file), _metadata(file)
    next(iter(tensors.values())).flat[0] += 1e-6
    save_file(tensors, file, metadata)
    run.seal()


def _metadata(file: Path) -> dict[str, str]:
    with safe_open(file, framework="numpy") as opened:
        return dict(opened.metadata() or {})


def _edit_recipe(old: str, new: str) -> Callable[[RunDir], None]:
    def apply(run: RunDir) -> None:
        change_text(run.recipe, old, new)
        run.seal()

    return apply


def _edit_history(kind: str, change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[RunDir], None]:
    """Return a change of the history that also deletes the saved state, which knows the history's sha256."""

    def apply(run: RunDir) -> None:
        change_history(run, kind, change)
        shutil.rmtree(run.checkpoint)
        run.seal()

    return apply


def _raise_best_accuracy(run: RunDir) -> None:
    """Raise the best validation accuracy in history, manifest and saved state alike."""
    best = run.read_manifest()["training"]["best_step"]

    def change(records: list[dict[str, Any]]) -> None:
        for record in records:
            if record["step"] == best:
                record["accuracy"] = 0.999

    change_history(run, "eval", change)
    shutil.rmtree(run.checkpoint)
    change_json(run.manifest, lambda manifest: manifest["training"].update(best_accuracy=0.999))
    run.seal()


def _rename_a_row(run: RunDir) -> None:
    change_columns(run, "validation", lambda columns: columns["id"].__setitem__(0, "another-row"))
    recompute(run)


def _remove_a_row(run: RunDir) -> None:
    change_columns(run, "test", lambda columns: [column.pop() for column in columns.values()])
    run.seal()


def _remove_and_seal(name: str) -> Callable[[RunDir], None]:
    def apply(run: RunDir) -> None:
        (run.path / name).unlink()
        change_json(run.manifest, lambda manifest: manifest["files"].pop(name, None))

    return apply


def _add_a_file(run: RunDir) -> None:
    (run.adapter / "notes.txt").write_text("not recorded", encoding="utf-8")


def _edit_intervals(run: RunDir) -> None:
    change_json(run.analysis_file("intervals"), _shift_first_number)
    run.seal()


def _shift_first_number(value: Any) -> bool:
    """Add 0.01 to the first float below a JSON value; return whether there was one."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in items:
        if key == "cost":
            continue
        if isinstance(below, float):
            value[key] = below + 0.01
            return True
        if isinstance(below, dict | list) and _shift_first_number(below):
            return True
    return False


def _remove_notices(run: RunDir) -> None:
    change_json(run.manifest, lambda manifest: manifest.update(notices=[]))


def _weaken_a_baseline(run: RunDir) -> None:
    """Turn the first right answer of the linear model of words into a wrong one, and recompute what follows."""
    saved = run.load_predictions("test", baseline="words")
    values = saved.probabilities.copy()
    row = int(np.flatnonzero(saved.predicted == saved.labels)[0])
    values[row] = np.roll(values[row], 1)
    fields = (saved.ids, saved.text_sha256, saved.labels, values, saved.label_names)
    run.save_predictions("test", Predictions.of(*fields), baseline="words")
    cost = run.read_json(run.analysis_file("baseline"))[registry.COST]
    part = registry.recompute_part(RunContext(run), "baseline")
    run.write_analysis("baseline", part | {registry.COST: cost})
    run.seal()


def _lower_a_loss(run: RunDir) -> None:
    _edit_history("train", lambda records: records[1].update(loss=records[1]["loss"] * 0.99))(run)


def _edit_card(run: RunDir) -> None:
    trainable = f"{run.read_manifest()['budget']['trainable']:,}"
    change_text(run.card, trainable, "42")


TAMPERINGS: dict[str, Tampering] = {
    "tokenizer configuration removed": Tampering(
        files.layout, "tokenizer/tokenizer_config.json", _remove_and_seal("tokenizer/tokenizer_config.json")
    ),
    "unrecorded file": Tampering(files.hashes, "manifest.json: files: adapter/notes.txt", _add_a_file),
    "run name": Tampering(settings.recipe, "name", _edit_manifest(lambda m: m.update(name="another"))),
    "seed": Tampering(settings.recipe, "seed", _edit_manifest(lambda m: m.update(seed=4711)), alone=False),
    "encoder licence": Tampering(
        files.encoder, "licence", _edit_manifest(lambda m: m["encoder"].update(licence="public domain"))
    ),
    "encoder weights": Tampering(
        files.encoder,
        "sha256",
        _edit_manifest(lambda m: m["encoder"]["sha256"].update({"model.safetensors": "0" * 64})),
    ),
    "adapter dropout": Tampering(settings.adapter, "lora_dropout", _edit_adapter_config),
    "adapter module added": Tampering(
        settings.adapter,
        "lora.targets",
        _edit_adapter(
            lambda tensors: tensors.update(
                {
                    name.replace("layer.1.", "layer.0."): value
                    for name, value in list(tensors.items())
                    if "layer.1." in name and ".query." in name
                }
            )
        ),
        alone=False,
    ),
    "trainable parameters": Tampering(
        budget.budget, "trainable", _edit_manifest(lambda m: m["budget"].update(trainable=17))
    ),
    "unexpected tensor": Tampering(
        budget.budget,
        f"adapter/{TENSORS}",
        _edit_adapter(lambda tensors: tensors.update({"base_model.model.extra": np.zeros(2, np.float32)})),
    ),
    "data licence": Tampering(
        data.data, "licence", _edit_manifest(lambda m: m["data"].update(licence="public domain"))
    ),
    "class names": Tampering(
        data.data, "labels", _edit_manifest(lambda m: m["labels"].reverse()), alone=False
    ),
    "token count": Tampering(
        data.tokens, "train.tokens", _edit_manifest(lambda m: m["data"]["tokens"]["train"].update(tokens=1))
    ),
    "row id": Tampering(data.predicted_rows, "predictions/validation.parquet: row 0, id", _rename_a_row),
    "row removed": Tampering(data.predicted_rows, "predictions/test.parquet", _remove_a_row, alone=False),
    "evaluation not marked as best": Tampering(
        training.history, "evaluations", _edit_history("eval", lambda r: r[0].update(best=False))
    ),
    "best step": Tampering(
        training.history,
        "best_step",
        _edit_manifest(lambda m: m["training"].update(best_step=1)),
    ),
    "best accuracy": Tampering(
        scores.best_accuracy, "training.best_accuracy, against predictions", _raise_best_accuracy
    ),
    "learning rate": Tampering(
        training.schedule, "learning rate", _edit_history("train", lambda r: r[1].update(learning_rate=0.5))
    ),
    "planned steps": Tampering(
        training.schedule,
        "planned_steps",
        _edit_manifest(lambda m: m["training"].update(planned_steps=10**6)),
        alone=False,
    ),
    "speed": Tampering(
        training.schedule,
        "samples_per_second",
        _edit_manifest(lambda m: m["training"].update(samples_per_second=1e6)),
    ),
    "weight decay": Tampering(
        training.checkpoint, "train.weight_decay", _edit_recipe("weight_decay: 0.01", "weight_decay: 0.02")
    ),
    "adapter value": Tampering(training.checkpoint, f"against checkpoint/best/{TENSORS}", _nudge_adapter),
    "notices": Tampering(records.notices, "manifest.json: notices", _remove_notices),
    "baseline": Tampering(baselines.baselines, "analysis/baselines/words/test.parquet", _weaken_a_baseline),
    "loss": Tampering(retrained.retraining, "history.jsonl", _lower_a_loss),
    "row sum": Tampering(scores.probabilities, "predictions/validation.parquet", _scale_probabilities),
    "predicted class": Tampering(
        scores.probabilities, "predictions/test.parquet", _predict_another_class, alone=False
    ),
    "metric": Tampering(
        scores.metrics,
        "test.macro_f1",
        lambda run: change_json(run.metrics, lambda m: m["test"].update(macro_f1=0.999)),
    ),
    "interval": Tampering(scores.analysis, "analysis/intervals.json", _edit_intervals),
    "number in the card": Tampering(report_pages.pages, "README.md: line", _edit_card),
    "forged answer": Tampering(predictions.predictions, "predictions/test.parquet: id", _forge_a_prediction),
}
