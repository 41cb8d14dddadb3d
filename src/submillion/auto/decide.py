"""Decides the recipe of labelled texts: gathers the facts, applies the rules, and fits the work into a time limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from submillion import notices
from submillion.auto.asked import asked_recipe, with_columns
from submillion.auto.decision import Choice, Decision
from submillion.auto.durations import MeasuredSpeed, NominalSpeed, Speed, durations, total
from submillion.auto.efforts import Effort, full_effort, lesser_effort, merits
from submillion.auto.facts import Facts, Machine, TextFacts
from submillion.auto.gather import rough_facts, text_facts, token_facts
from submillion.auto.rules import LARGE_ENCODER, MOST_OTHER, SMALL_ENCODER, complete, encoder_for
from submillion.auto.time_limit import TimeLimit
from submillion.auto.without_effect import announce_fields_without_effect
from submillion.budget.time_model import Workload
from submillion.data.rows import LabelledRows
from submillion.errors import OverBudget
from submillion.estimate.benchmark import measure
from submillion.recipe import Recipe
from submillion.recipe_data import CROSS_VALIDATION
from submillion.run_inputs import gated
from submillion.sources.fetch import download_bytes
from submillion.wording import duration

EXPECTED_S = 1_800.0
"""Longest training that is begun unasked with the large encoder, in seconds on a machine of this class."""


def decide(
    data: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
    rows: LabelledRows | None = None,
    progress: bool = True,
    started_at: float | None = None,
) -> Decision:
    """Return the complete recipe for labelled texts, with a reason for every setting.

    Equal for equal data on machines of one class, unless `minutes` is given: then the machine's speed is measured.

    Args:
        data: file, folder or data set of the catalog; None takes `rows`, or `data.train` of the overrides.
        overrides: recipe fields that are not decided, such as `["lora.r=8"]`.
        minutes: the run is to end within this time, downloads and report included.
        rows: labelled texts from memory.
        progress: show downloads on standard error.
        started_at: when the run was started, of `time.perf_counter`: the minutes count from then; None means now.

    Raises:
        OverBudget: the caller's fields train more parameters than the budget allows.
        BadInput: the texts, the encoder or a field cannot be used.
    """
    limit = None if minutes is None else TimeLimit.of(minutes, started_at)
    asked, fixed = asked_recipe(data, overrides, rows)
    asked = with_columns(asked, fixed)
    texts, sample, checked = text_facts(asked, rows, progress)
    case = _Case(asked, fixed, texts, sample, Machine.here(), progress)
    plan = case.unhurried() if limit is None else case.within(limit)
    announce_fields_without_effect(plan.recipe, fixed, {choice.field for choice in plan.choices})
    facts = plan.facts.to_json()
    expected = {"seconds": round(total(plan.parts)), "parts": plan.parts, "speed": plan.speed.to_json()}
    if limit is not None:
        expected["minutes"] = minutes
    return Decision(plan.recipe, plan.choices, facts, expected, rows, checked)


MEASURED_S = 2.0
"""Seconds in which the speed of an encoder is measured."""
HALVINGS = 5
"""Halvings of the distance between two efforts; what is left is 3 % of it."""


@dataclass(frozen=True)
class _Plan:
    """A recipe for one encoder, and the seconds of its run by part."""

    recipe: Recipe
    choices: list[Choice]
    facts: Facts
    speed: Speed
    parts: dict[str, float]


@dataclass(frozen=True)
class _Case:
    """The texts, the caller's fields and the machine."""

    asked: Recipe
    fixed: frozenset[str]
    texts: TextFacts
    sample: list[str]
    machine: Machine
    progress: bool

    def plan(self, facts: Facts, effort: Effort, reason: str, speed: Speed) -> _Plan:
        """Return the plan of one encoder and effort."""
        recipe, choices = complete(facts, self.asked, self.fixed, effort, reason)
        return _Plan(recipe, choices, facts, speed, durations(recipe, facts, speed))

    def rough(self, encoder: str) -> _Plan:
        """Return the plan from the encoder's configuration alone.

        Raises:
            OverBudget: the caller's fields train more parameters than the budget allows.
        """
        facts = rough_facts(self.asked, encoder, self.texts, self.machine)
        plan = self.plan(facts, full_effort(facts), "", NominalSpeed(self.machine))
        gated(plan.recipe, self.texts.classes)  # before anything is downloaded
        return plan

    def _has_room(self, encoder: str) -> bool:
        """Return whether an encoder fits the budget; its output layer grows with the number of classes."""
        try:
            self.rough(encoder)
        except OverBudget:
            return False
        return True

    def facts(self, encoder: str) -> Facts:
        """Return the facts of one encoder, which is fetched if it is not on this machine."""
        return token_facts(self.asked, encoder, self.texts, self.sample, self.machine, self.progress)

    def unhurried(self) -> _Plan:
        """Return the plan without a time limit; it depends on the class of the machine alone."""
        if "encoder.source" in self.fixed:
            name, reason = self.asked.encoder.source, ""
        elif self.texts.other_scripts <= MOST_OTHER and not self._has_room(LARGE_ENCODER):
            name, reason = SMALL_ENCODER, f"{LARGE_ENCODER} is over the budget"
        else:
            seconds = total(self.rough(LARGE_ENCODER).parts)
            name, reason = encoder_for(self.texts, seconds, EXPECTED_S, self.machine)
        self.rough(name)
        facts = self.facts(name)
        return self.plan(facts, full_effort(facts), reason, NominalSpeed(self.machine))

    def within(self, limit: TimeLimit) -> _Plan:
        """Return the best plan that ends within a time limit, or the shortest one, with a notice."""
        for number, plan in self._plans_by_merit(limit):
            if total(plan.parts) <= limit.left():
                plan = self._filled(plan, number, limit)
                break
        else:
            notices.emit(
                "time_limit_short",
                f"even the shortest training of these texts takes about {duration(total(plan.parts))} here, more than "
                f"the {duration(max(0.0, limit.left()))} that are left of {limit.minutes:g} minutes; it runs all the "
                "same.",
                seconds=total(plan.parts),
            )
        return self._guarded(plan, limit)

    def _filled(self, plan: _Plan, number: int, limit: TimeLimit) -> _Plan:
        """Return a plan with as many more steps as still end in time, up to those of the next greater effort.

        Args:
            plan: one that ends in time.
            number: of its effort.
            limit: the time limit.
        """
        if number == 0:
            return plan
        effort = _effort(plan.facts, number, limit)
        low, high = effort.steps, _effort(plan.facts, number - 1, limit).steps
        for _ in range(HALVINGS):
            share = (low + high) / 2
            longer = self.plan(plan.facts, replace(effort, steps=share), _encoder_reason(limit), plan.speed)
            if total(longer.parts) <= limit.left():
                plan, low = longer, share
            else:
                high = share
        return plan

    def _plans_by_merit(self, limit: TimeLimit) -> Iterator[tuple[int, _Plan]]:
        """Yield plans with ever less work and the numbers of their efforts, those that the evidence prefers first."""
        if "encoder.source" in self.fixed:
            names = [self.asked.encoder.source]
        elif self.texts.other_scripts > MOST_OTHER:
            names = [encoder_for(self.texts, 0, 1, self.machine)[0]]
        else:
            names = [LARGE_ENCODER, SMALL_ENCODER]
            if download_bytes(LARGE_ENCODER, 1) or not self._has_room(LARGE_ENCODER):
                names = [SMALL_ENCODER]
        known: dict[str, tuple[Facts, Speed]] = {}
        for place, number in merits(len(names)):
            name = names[place]
            if name not in known:
                self.rough(name)
                facts = self.facts(name)
                known[name] = facts, self._measured(facts)
            facts, speed = known[name]
            yield number, self.plan(facts, _effort(facts, number, limit), _encoder_reason(limit), speed)

    def _measured(self, facts: Facts) -> Speed:
        """Time the layers of an encoder on this machine, at the mean length of the texts."""
        plan = self.plan(facts, full_effort(facts), "", NominalSpeed(self.machine))
        train = plan.recipe.train
        tokens, windows = facts.tokens.read(plan.recipe.data), facts.tokens.windows(plan.recipe.data)
        work = Workload(
            self.texts.rows,
            0,
            tokens,
            1,
            train.batch_size,
            train.eval_batch_size,
            "the sampled texts",
            windows=windows,
        )
        classes = self.texts.classes
        with notices.suppressed():  # the training repeats them
            lora = plan.recipe.lora
            return MeasuredSpeed(measure(facts.config, classes, plan.recipe, [lora], work, MEASURED_S))

    def _guarded(self, plan: _Plan, limit: TimeLimit) -> _Plan:
        """Return the plan with a limit of its training's seconds, in case the machine becomes slower."""
        if plan.recipe.lora.variant == "adalora" or "train.max_seconds" in self.fixed:
            return plan
        data = plan.recipe.data
        trainings = 1 + data.folds * data.repeats * (data.validation == CROSS_VALIDATION)
        others = total(plan.parts) - plan.parts["training"] - plan.parts["cross_validation"]
        seconds = round(max(1.0, (limit.left() - others) / trainings), 1)
        choice = Choice(
            "train.max_seconds", seconds, f"what {limit.minutes:g} minutes leave to each training"
        )
        recipe = plan.recipe.model_copy(
            update={"train": plan.recipe.train.model_copy(update={"max_seconds": seconds})}
        )
        return replace(plan, recipe=recipe, choices=[*plan.choices, choice])


def _effort(facts: Facts, number: int, limit: TimeLimit) -> Effort:
    """Return one of the efforts for a time limit, the full one first."""
    return lesser_effort(full_effort(facts), number, f"what {limit.minutes:g} minutes allow")


def _encoder_reason(limit: TimeLimit) -> str:
    return f"the best that {limit.minutes:g} minutes allow on this machine"
