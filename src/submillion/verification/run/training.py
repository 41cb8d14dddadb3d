"""Checks of a training's history against its recipe, the manifest and the saved state."""

from __future__ import annotations

from typing import Any

from submillion.fit.batch_schedule import BatchSchedule
from submillion.fit.checkpoint import load
from submillion.fit.identity import DEFAULTS
from submillion.fit.learning_rate import linear_factor, schedule_position, warmup_steps
from submillion.fit.stopping import Stopping
from submillion.model.adapter import TENSORS
from submillion.verification.json_diff import shown
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, compared

RATE_TOLERANCE = 1e-12  # relative, between learning rates
BEST = ("best_step", "best_epoch", "best_accuracy", "best_loss", "best_macro_f1")


def history(case: Case) -> list[Check]:
    """Select the best evaluation again, as early stopping does, and compare it with the manifest.

    Detects: a best step, epoch, accuracy or loss that does not follow from the history, evaluations wrongly marked
    as the best so far, and a wrong status. Cannot detect: a history that was invented as a whole.
    """
    training, stopping = case.manifest["training"], Stopping(case.recipe.train.patience)
    records = case.run.read_history()
    evaluations = [record for record in records if record["kind"] == "eval"]
    marked = [{"step": record["step"], "best": record["best"]} for record in evaluations]
    selected = [
        {
            "step": record["step"],
            "best": stopping.update(
                record["step"], record["epoch"], record["accuracy"], record["loss"], record["macro_f1"]
            ),
        }
        for record in evaluations
    ]
    summary = f"{len(selected)} evaluations, the best ones marked"
    checks = compared("history", "history.jsonl: evaluations", marked, selected, summary=summary)
    state, steps = stopping.state(), max((record["step"] for record in records), default=0)
    actual = {name: state[name] for name in BEST} | {
        "stopped_early": stopping.exhausted and training["steps"] < training["planned_steps"],
        "interrupted": case.manifest["status"] != "complete",
    }
    claimed = {name: training[name] for name in actual}
    if case.manifest["status"] == "complete":
        claimed["steps"], actual["steps"] = training["steps"], steps
    summary = "{leaves} facts, from history.jsonl"
    return checks + compared("history", "manifest.json: training", claimed, actual, summary=summary)


def schedule(case: Case) -> list[Check]:
    """Compute steps, learning rates, texts and tokens from recipe and data, and compare.

    Detects: a recipe whose epochs, batch size, learning rate or warm-up are not those of the history, and
    wrong counts of steps, texts or tokens. Cannot detect: wrong losses, gradient norms and seconds, which only
    another training would give.
    """
    train, training = case.recipe.train, case.manifest["training"]
    lengths = case.tokens["train"].lengths
    batches = BatchSchedule(lengths, train, case.recipe.seed, training["processes"])
    total = batches.total_steps
    claimed: dict[str, Any] = {name: training[name] for name in ("planned_steps", "epochs_run")}
    epochs = batches.epochs_after(training["steps"])
    actual: dict[str, Any] = {"planned_steps": total, "epochs_run": epochs}
    if isinstance(epochs, int):  # a training that ended within an epoch saw only some of the texts
        claimed |= {name: training[name] for name in ("texts_seen", "tokens_seen")}
        actual["texts_seen"] = epochs * len(lengths)
        actual["tokens_seen"] = epochs * int(lengths.sum())
    where = "manifest.json: training"
    checks = compared("schedule", where, claimed, actual, summary="{leaves} counts, from recipe and data")

    warmup = warmup_steps(total, train.warmup_ratio)
    logged = [record for record in case.run.read_history() if record["kind"] == "train"]
    claimed_rates = {f"step {record['step']}": record["learning_rate"] for record in logged}
    rates = {}
    for record in logged:
        if 1 <= record["step"] <= total:
            elapsed_s = record.get("spent_before_s", 0.0)
            position = schedule_position(record["step"] - 1, total, elapsed_s, train.max_seconds)
            rates[f"step {record['step']}"] = train.learning_rate * linear_factor(position, total, warmup)
    where, summary = "history.jsonl: learning rate", "{leaves} learning rates, from recipe.yaml"
    checks += compared("schedule", where, claimed_rates, rates, RATE_TOLERANCE, summary)
    return [*checks, _speed(training)]


def _speed(training: dict[str, Any]) -> Check:
    """Check that texts divided by seconds are the speed, within its rounding and that of the seconds (0.1)."""
    texts, seconds, speed = (training[name] for name in ("texts_seen", "train_seconds", "samples_per_second"))
    where = "manifest.json: training.samples_per_second"
    slowest, fastest = texts / (seconds + 0.05) - 0.005, texts / max(seconds - 0.05, 1e-9) + 0.005
    if slowest <= speed <= fastest:
        return Check("schedule", True, where, found=f"{texts:,} texts in {seconds:,} s")
    text = f"{texts:,} texts in {seconds:,} s: {texts / max(seconds, 1e-9):.2f} per second"
    return Check("schedule", False, where, shown(speed), text)


def checkpoint(case: Case) -> list[Check]:
    """Compare recipe and adapter with the saved state of the training.

    Detects: any changed field of the recipe's `train` section, a changed seed, and an adapter that is not bit for
    bit the best one. Cannot detect: anything if the checkpoint was deleted, which is allowed.
    """
    state = load(case.run, expected={})
    if state is None:
        return [Check("checkpoint", None, "checkpoint/latest", found="no such file; a run does not need it")]
    position = state[1]
    # Fields that did not exist when the state was written had their defaults.
    identity = DEFAULTS | position["identity"]
    fields = case.recipe.train.model_dump(mode="json", exclude={"threads"})
    claimed = {f"train.{name}": value for name, value in fields.items()} | {"seed": case.recipe.seed}
    saved = {name: identity[name] for name in claimed if name in identity}
    where = "recipe.yaml, against checkpoint/latest"
    checks = compared("checkpoint", where, claimed, saved, summary="{leaves} settings")
    best = case.run.checkpoint / "best" / TENSORS
    if position["stopping"]["best_step"] is not None:
        names = [f"adapter/{TENSORS}", f"checkpoint/best/{TENSORS}"]
        hashes = case.run.hashes(case.run.adapter / TENSORS, best)
        claimed, saved = ({"sha256": hashes.get(name)} for name in names)
        where = f"{names[0]}, against {names[1]}"
        checks += compared("checkpoint", where, claimed, saved, summary="the same bytes")
    return checks
