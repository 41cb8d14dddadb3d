"""Whether the history of a training gives what the manifest says of it, and the recipe gives that history."""

from __future__ import annotations

from typing import Any

from submillion.verification.json_diff import shown
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, compared

RATE_TOLERANCE = 1e-12  # relative, between learning rates
BEST = ("best_step", "best_epoch", "best_accuracy", "best_loss", "best_macro_f1")


def history(case: Case) -> list[Check]:
    """Choose the best evaluation again, as early stopping chooses it, and compare the manifest with it.

    Finds: a best step, epoch, accuracy or loss that the history does not have, evaluations marked as the best
    that were not, and a status that does not fit. Cannot find: a history invented as a whole.
    """
    from submillion.fit.stopping import Stopping

    training, stopping = case.manifest["training"], Stopping(case.recipe.train.patience)
    records = case.run.read_history()
    marks: list[dict[str, Any]] = []
    for record in (record for record in records if record["kind"] == "eval"):
        scores = {name: record[name] for name in ("accuracy", "loss", "macro_f1")}
        marks.append(
            {"step": record["step"], "best": stopping.saw(record["step"], record["epoch"], **scores)}
        )
    told = [
        {"step": record["step"], "best": record["best"]} for record in records if record["kind"] == "eval"
    ]
    checks = compared(
        "history",
        "history.jsonl: evaluations",
        told,
        marks,
        said=f"{len(marks)} evaluations, each best as marked",
    )
    state, steps = stopping.state(), max((record["step"] for record in records), default=0)
    found = {name: state[name] for name in BEST} | {
        "stopped_early": stopping.exhausted and training["steps"] < training["planned_steps"],
        "interrupted": case.manifest["status"] != "complete",
    }
    claimed = {name: training[name] for name in found}
    if case.manifest["status"] == "complete":
        claimed["steps"], found["steps"] = training["steps"], steps
    said = "{leaves} facts, from history.jsonl"
    return checks + compared("history", "manifest.json: training", claimed, found, said=said)


def schedule(case: Case) -> list[Check]:
    """Compute steps, learning rates and what was seen from recipe and data, and compare.

    Finds: a recipe whose epochs, batch size, learning rate or warm-up are not those of the history, and
    invented counts of steps, texts or tokens. Cannot find: losses, gradient norms, seconds and speeds, which
    only training again would give.
    """
    from submillion.fit.batch_schedule import Feed
    from submillion.fit.schedule import linear, position, warmup_steps

    train, training = case.recipe.train, case.manifest["training"]
    lengths = case.tokens["train"].lengths
    feed = Feed(lengths, train, case.recipe.seed, training["processes"])
    total = feed.total_steps
    claimed: dict[str, Any] = {name: training[name] for name in ("planned_steps", "epochs_run")}
    found: dict[str, Any] = {"planned_steps": total, "epochs_run": feed.epochs(training["steps"])}
    if isinstance(found["epochs_run"], int):  # within an epoch, which texts were seen is the feed's affair
        claimed |= {name: training[name] for name in ("texts_seen", "tokens_seen")}
        found["texts_seen"] = found["epochs_run"] * len(lengths)
        found["tokens_seen"] = found["epochs_run"] * int(lengths.sum())
    where = "manifest.json: training"
    checks = compared("schedule", where, claimed, found, said="{leaves} counts, from recipe and data")

    warmup = warmup_steps(total, train.warmup_ratio)
    logged = [record for record in case.run.read_history() if record["kind"] == "train"]
    told = {f"step {record['step']}": record["learning_rate"] for record in logged}
    rates = {
        f"step {record['step']}": train.learning_rate
        * linear(
            position(record["step"] - 1, total, record.get("spent_before_s", 0.0), train.max_seconds),
            total,
            warmup,
        )
        for record in logged
        if 1 <= record["step"] <= total
    }
    where, said = "history.jsonl: learning rate", "{leaves} learning rates, from recipe.yaml"
    return [*checks, *compared("schedule", where, told, rates, RATE_TOLERANCE, said), _speed(training)]


def _speed(training: dict[str, Any]) -> Check:
    """Texts by seconds must give the speed, as far as its rounding and that of the seconds (0.1) allow."""
    texts, seconds, speed = (training[name] for name in ("texts_seen", "train_seconds", "samples_per_second"))
    where = "manifest.json: training.samples_per_second"
    slowest, fastest = texts / (seconds + 0.05) - 0.005, texts / max(seconds - 0.05, 1e-9) + 0.005
    if slowest <= speed <= fastest:
        return Check("schedule", True, where, found=f"{texts:,} texts in {seconds:,} s")
    told = f"{texts:,} texts in {seconds:,} s, {texts / max(seconds, 1e-9):.2f} a second"
    return Check("schedule", False, where, shown(speed), told)


def checkpoint(case: Case) -> list[Check]:
    """Compare recipe and adapter with the saved state that the training left.

    Finds: any changed field of the recipe's `train` section or its seed, and an adapter that is not the best
    one, to the bit. Cannot find: anything where the checkpoint was deleted, which a run may do without.
    """
    from submillion.fit.checkpoint import load
    from submillion.fit.loop import DEFAULTS
    from submillion.model.adapter import TENSORS

    state = load(case.run, expected={})
    if state is None:
        return [Check("checkpoint", None, "checkpoint/latest", found="no such file; a run may do without it")]
    position = state[1]
    # What the recipe had not yet when the state was written, the training did by default.
    identity = DEFAULTS | position["identity"]
    fields = case.recipe.train.model_dump(mode="json", exclude={"threads"})
    claimed = {f"train.{name}": value for name, value in fields.items()} | {"seed": case.recipe.seed}
    found = {name: identity[name] for name in claimed if name in identity}
    where = "recipe.yaml, against checkpoint/latest"
    checks = compared("checkpoint", where, claimed, found, said="{leaves} settings")
    best = case.run.checkpoint / "best" / TENSORS
    if position["stopping"]["best_step"] is not None:
        names = [f"adapter/{TENSORS}", f"checkpoint/best/{TENSORS}"]
        hashes = case.run.hashes(case.run.adapter / TENSORS, best)
        claimed, found = ({"sha256": hashes.get(name)} for name in names)
        checks += compared(
            "checkpoint", f"{names[0]}, against {names[1]}", claimed, found, said="the same bytes"
        )
    return checks
