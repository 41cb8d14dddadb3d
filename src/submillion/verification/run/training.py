"""Checks of a training's history against its recipe, the manifest and the saved state."""

from __future__ import annotations

import math
from typing import Any

from submillion.fit.batch_schedule import BatchSchedule
from submillion.fit.checkpoint import history_sha256, latest, read
from submillion.fit.identity import DEFAULTS
from submillion.fit.learning_rate import linear_factor, schedule_position, warmup_steps
from submillion.fit.plan import TrainingPlan
from submillion.fit.stopping import Stopping, scores_of
from submillion.sources.adapter_files import TENSORS
from submillion.verification.json_diff import shown
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, compared, stated

RATE_TOLERANCE = 1e-12  # relative, between learning rates
BEST = ("best_step", "best_epoch", "best_accuracy", "best_loss", "best_macro_f1")


def history(case: Case) -> list[Check]:
    """Select the best evaluation again, as early stopping does, and compare it with the manifest.

    Detects: a best step, epoch, accuracy or loss that does not follow from the history and the recipe's objective,
    evaluations wrongly marked as the best so far, an average over other steps than the recipe's, and a training that
    is called complete or interrupted and was not. Cannot detect: a history that was invented as a whole; `retraining`
    does.
    """
    training, train = case.manifest["training"], case.recipe.train
    stopping = Stopping(train.patience, train.objective)
    records = case.run.read_history()
    evaluations = [record for record in records if record["kind"] == "eval"]
    steps_logged = [record["step"] for record in records if record["kind"] != "contrastive"]
    marked = [_marks(record) for record in evaluations]
    selected = [_selected(record, stopping) for record in evaluations]
    summary = f"{len(selected)} evaluations, the best ones marked"
    checks = compared("history", "history.jsonl: evaluations", marked, selected, summary=summary)
    state, steps = stopping.state(), max(steps_logged, default=0)
    names = [*BEST, "objective", *(["averaged_steps"] if evaluations else [])]
    actual = {name: state[name] for name in names if name in training} | {
        "stopped_early": stopping.exhausted and training["steps"] < training["planned_steps"],
        "interrupted": case.manifest["status"] != "complete",
    }
    if "prefix_precision" in training:
        actual["prefix_precision"] = train.prefix_precision if training["prefix_cached"] else None
    if "frozen_precision" in training:
        actual["frozen_precision"] = train.frozen_precision
    claimed = {name: training[name] for name in actual}
    if case.manifest["status"] == "complete":
        claimed["steps"], actual["steps"] = training["steps"], steps
    summary = "{leaves} facts, from history.jsonl"
    checks += compared("history", "manifest.json: training", claimed, actual, summary=summary)
    checks += _average(case, evaluations)
    return [*checks, _status(case, evaluations, stopping.exhausted)]


def _marks(record: dict[str, Any]) -> dict[str, Any]:
    """Return what an evaluation says about itself."""
    marks = {"step": record["step"], "best": record["best"]}
    return marks | ({"has the better scores": True} if "other" in record else {})


def _selected(record: dict[str, Any], stopping: Stopping) -> dict[str, Any]:
    """Return what `_marks` must return, and record the evaluation."""
    scores, averaged = scores_of(record), record.get("averaged_steps", 0)
    best = stopping.update(record["step"], record["epoch"], scores, averaged)
    marks = {"step": record["step"], "best": best}
    if "other" not in record:
        return marks
    # Of equal scores, those of the step are taken and not those of the average.
    other = record["other"]
    better = stopping.is_better(scores, other) if averaged else not stopping.is_better(other, scores)
    return marks | {"has the better scores": better}


def _average(case: Case, evaluations: list[dict[str, Any]]) -> list[Check]:
    """Check the steps of each average against the recipe."""
    share, training = case.recipe.train.average_from, case.manifest["training"]
    if share is None or case.recipe.train.max_seconds is not None:  # a time limit moves the start
        return []
    start = math.floor(share * training["planned_steps"])
    claimed = {f"step {record['step']}": record.get("averaged_steps", 0) for record in evaluations}
    actual = {
        f"step {record['step']}": record["step"] - start if record.get("averaged_steps") else 0
        for record in evaluations
    }
    if not evaluations:
        claimed["the adapter"] = training.get("averaged_steps", 0)
        actual["the adapter"] = max(0, training["steps"] - start)
    where = "history.jsonl: averaged steps"
    return compared("history", where, claimed, actual, summary="{leaves} averages, from recipe.yaml")


def _status(case: Case, evaluations: list[dict[str, Any]], exhausted: bool) -> Check:
    """Check that the training ended where its status says.

    A complete training has done the planned steps, or patience is exhausted, or a time limit ended it. An interrupted
    one has not been evaluated at its end, because then it would have ended by itself.
    """
    training, status = case.manifest["training"], case.manifest["status"]
    steps, planned = training["steps"], training["planned_steps"]
    last = evaluations[-1]["step"] if evaluations else 0
    timed = case.recipe.train.max_seconds is not None
    if case.context.cross_validated:  # nothing is evaluated
        last = steps
    ended = exhausted or last == planned or (timed and last == steps)
    where, done = (
        "manifest.json: status",
        f"{steps:,} of {planned:,} steps, the last evaluation at step {last:,}",
    )
    if (status == "complete") == ended:
        return Check("history", True, where, found=f"{status}: {done}")
    if timed and status != "complete":  # the limit may have been reached, or not
        return stated("history", where, f"{status}: {done}, and train.max_seconds")
    return Check("history", False, where, f"{status}", f"{done}{', patience exhausted' if exhausted else ''}")


def schedule(case: Case) -> list[Check]:
    """Compute steps, learning rates, texts and tokens from recipe and data, and compare.

    Detects: a recipe whose epochs, batch size, learning rate or warm-up are not those of the history, and
    wrong counts of steps, texts or tokens, and a duration that is not the sum of the history's. Cannot detect: wrong
    losses and gradient norms (`retraining` does), and a duration that was changed in the history too.
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
    checks += _contrastive_rates(case)
    return [*checks, _speed(training), *_duration(training, logged, batches)]


def _contrastive_rates(case: Case) -> list[Check]:
    """Compute the learning rates of the contrastive stage, and compare."""
    recipe = case.recipe.contrastive
    logged = [record for record in case.run.read_history() if record["kind"] == "contrastive"]
    if not recipe.steps and not logged:
        return []
    warmup = warmup_steps(recipe.steps, case.recipe.train.warmup_ratio)
    claimed = {f"step {record['step']}": record["learning_rate"] for record in logged}
    rates = {
        f"step {record['step']}": recipe.learning_rate
        * linear_factor(record["step"] - 1, recipe.steps, warmup)
        for record in logged
        if 1 <= record["step"] <= recipe.steps
    }
    where = "history.jsonl: learning rate of the contrastive stage"
    summary = "{leaves} learning rates, from recipe.yaml"
    checks = compared("schedule", where, claimed, rates, RATE_TOLERANCE, summary)
    steps = case.manifest["training"]["contrastive_steps"]
    if case.manifest["status"] == "complete":
        where = "manifest.json: training.contrastive_steps"
        checks += compared("schedule", where, steps, recipe.steps, summary="of recipe.yaml")
    return checks


def _duration(training: dict[str, Any], logged: list[dict[str, Any]], batches: BatchSchedule) -> list[Check]:
    """Check that the seconds in the history, texts divided by speed, add up to the training's.

    An interrupted training has not logged its last steps, so its seconds are only a bound.
    """
    low = high = 0.0
    before = 0
    for record in logged:
        steps = range(before, record["step"])
        texts = sum(len(rows) for step in steps for rows in batches.batches_at(step))
        speed, before = record["samples_per_s"], record["step"]
        low += texts / (speed + 0.005)  # samples_per_s is rounded to 2 digits
        high += texts / max(speed - 0.005, 1e-9)
    claimed, where = training["train_seconds"], "manifest.json: training.train_seconds"
    slack = 0.05 + 1e-6 * claimed  # train_seconds is rounded to 1 digit
    text = f"{low:,.1f} to {high:,.1f} s, from the speeds in history.jsonl"
    if claimed < low - slack or (claimed > high + slack and not training["interrupted"]):
        return [Check("schedule", False, where, f"{claimed:,} s", text)]
    if claimed > training["wall_seconds"] + 0.1:
        return [Check("schedule", False, where, f"{claimed:,} s", f"{training['wall_seconds']:,} s in all")]
    return [Check("schedule", True, where, found=text)]


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

    Detects: any changed field of the recipe's `train`, `contrastive`, `lora` and `head` sections, changed dropout of
    the encoder, a changed seed or history, and an adapter that is not bit for bit the best one. Cannot detect:
    anything if the checkpoint was deleted, which is allowed; another adapter, where no evaluation has selected one.
    """
    if not latest(case.run).is_file():
        return [Check("checkpoint", None, "checkpoint/latest", found="no such file; a run does not need it")]
    _, position = read(latest(case.run))
    # Fields that did not exist when the state was written had their defaults; older states lack the classifier's.
    plan = TrainingPlan.of(case.recipe)
    identity = {**plan.classifier, **DEFAULTS, **position["identity"]}
    claimed = plan.to_json()
    saved = {name: identity[name] for name in claimed if name in identity}
    where = "recipe.yaml, against checkpoint/latest"
    checks = compared("checkpoint", where, claimed, saved, summary="{leaves} settings")
    records = len(case.run.history_lines()) if case.manifest["status"] == "complete" else position["records"]
    of_file, of_state = history_sha256(case.run, records), position["history_sha256"]
    where = "history.jsonl, against checkpoint/latest"
    checks += compared("checkpoint", where, of_file, of_state, summary=f"{records:,} lines, sha256")
    best = case.run.checkpoint / "best" / TENSORS
    if position["stopping"]["best_step"] is not None:
        names = [f"adapter/{TENSORS}", f"checkpoint/best/{TENSORS}"]
        hashes = case.run.hashes(case.run.adapter / TENSORS, best)
        claimed, saved = ({"sha256": hashes.get(name)} for name in names)
        where = f"{names[0]}, against {names[1]}"
        checks += compared("checkpoint", where, claimed, saved, summary="the same bytes")
    return checks
