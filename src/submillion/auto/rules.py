"""The rules of `auto`: from facts to a complete recipe with a reason for every setting; the same for equal facts."""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import pairwise
from typing import Any

from submillion.auto.decision import Choice
from submillion.auto.efforts import FEW_ROWS, Effort, upper_layers
from submillion.auto.facts import Facts, Machine, TextFacts
from submillion.budget.planner import largest_rank
from submillion.families.families import family_of
from submillion.recipe import ALL_LINEAR, INTERPOLATED, Recipe
from submillion.recipe_data import CROSS_VALIDATION
from submillion.recipe_training import MAX_TEXTS
from submillion.wording import duration, percent, plural

SMALL_ENCODER, LARGE_ENCODER, OTHER_SCRIPTS = "minilm", "mpnet-base", "xlm-roberta-base"
MOST_OTHER = 0.3
"""Share of letters outside the Latin script above which an English encoder is not taken."""
HELD_OUT, MOST_HELD_OUT = 0.1, 2_000
"""Share of the rows that are held out, and the number of rows that is enough: their interval is 1 point at most."""
ENOUGH_FOR_TEST = 5_000
"""Rows from which a test split of its own costs the training little."""
SCALE = 2
"""alpha / r."""
FEW_LENGTH = 256
"""Longest text in tokens that a sentence encoder is trained on with few rows; see benchmarks.lengths."""
FEW_RANK = 16
"""Rank for few rows."""
NAMED = 32
"""Texts a class, in the median, from which the names of the labels add nothing; see benchmarks.label_names."""
STEPS = ((32, 20.0), (256, 40.0), (1_000, 100.0), (5_000, 360.0), (20_000, 1_400.0), (100_000, 6_250.0))
"""Training rows, and optimizer steps of 32 rows; between them, the logarithms are interpolated. With 32 to 1,000 rows
they were compared on development rows of AG News, with one to five seeds: with 32 rows, 80 steps lost 2 points against
20. With 4,000 rows, twice the steps showed no difference; see benchmarks.evidence. From 20,000 rows on, they are 2.2
and 2 passes, which have not been compared with others."""
BATCH = 32
KEPT = 0.5
"""Share of the training's change that is kept with few rows; see benchmarks.wise_ft."""
UNBALANCED = 100.0
"""Rows of the largest class per row of the smallest from which small classes are helped: by weights if macro F1 is
wanted, else by logit adjustment. With benchmarks.imbalance, weights gained 8 points of macro F1 on R52 (thousands to
one) and lost 0.6 of accuracy; R8 (about 70) showed no difference."""
ADJUSTED = 0.5
"""tau of the logit adjustment, half of what theory gives for equal classes. With benchmarks.imbalance, R52 gained macro
F1, and accuracy did not fall."""
AT_THE_END = ("train.wise_ft", "head.finish")
"""Fields that make values after the last step, which no held-out rows have selected."""
FOLDS = (*AT_THE_END, "data.folds", "data.repeats")
"""Fields that a cross-validation alone can follow, unless they have one of these values."""
NO_FOLDS = (None, "trained")
WIDE = 512
"""Hidden units from which the learning rate for many rows is the lower one. For MiniLM, which has 384, half of the
higher one lost a point of accuracy; see benchmarks.evidence."""


def encoder_for(texts: TextFacts, seconds: float, most: float, machine: Machine) -> tuple[str, str]:
    """Return the encoder of the catalog for some texts, and the reason.

    Args:
        texts: the training texts.
        seconds: what a run with the large encoder takes on a machine of this class.
        most: seconds that it may take.
        machine: its class.
    """
    if texts.other_scripts > MOST_OTHER:
        return OTHER_SCRIPTS, f"{percent(texts.other_scripts, 0)} of the letters are not Latin"
    why = f"{LARGE_ENCODER} takes about {duration(seconds)} on {machine}"
    if seconds <= most:
        return LARGE_ENCODER, f"the most accurate encoder of the catalog that needs no hub; {why}"
    return SMALL_ENCODER, why


def complete(
    facts: Facts, asked: Recipe, fixed: Collection[str], effort: Effort, encoder_reason: str
) -> tuple[Recipe, list[Choice]]:
    """Return the complete recipe, and the choices that it consists of.

    Args:
        facts: of texts, tokens, encoder and machine.
        asked: the recipe with the caller's own fields; the others are defaults.
        fixed: dotted names of the caller's fields, which are left as they are.
        effort: how much work the training may take.
        encoder_reason: why the encoder of the facts was chosen.

    Raises:
        BadInput: the caller's fields contradict each other.
    """
    choices = _Choices(asked, fixed)
    choices.add("encoder.source", facts.encoder, encoder_reason)
    _length(choices, facts, effort)
    _held_out(choices, facts, effort)
    _adapters(choices, facts, effort)
    _training(choices, facts, effort)
    return choices.recipe(), choices.made


class _Choices:
    """The settings that have been chosen so far; the caller's own win."""

    def __init__(self, asked: Recipe, fixed: Collection[str]) -> None:
        self._asked, self._fixed = asked, fixed
        self._values = asked.model_dump(mode="json")
        self.made: list[Choice] = []

    def is_fixed(self, *fields: str) -> bool:
        """Return whether the caller has set any of some fields."""
        return any(field in self._fixed for field in fields)

    def add(self, field: str, value: Any, reason: str) -> Any:
        """Choose a value unless the caller has; return the value that holds."""
        if field in self._fixed:
            value, reason = self[field], "your setting"
        section, _, name = field.partition(".")
        self._values[section][name] = value
        self.made.append(Choice(field, value, reason))
        return value

    def __getitem__(self, field: str) -> Any:
        section, _, name = field.partition(".")
        return self._values[section][name]

    def recipe(self) -> Recipe:
        """Return the recipe of all settings, validated."""
        return Recipe.model_validate(self._values)


def _length(choices: _Choices, facts: Facts, effort: Effort) -> None:
    """Choose the length of the texts."""
    texts, tokens = facts.texts, facts.tokens
    enough = facts.sentences and texts.rows < FEW_ROWS
    most = min(effort.max_length, FEW_LENGTH) if enough else effort.max_length
    limit = min(family_of(facts.config).longest_input(facts.config), most)
    wanted = tokens.longest if tokens.longest <= 1.25 * tokens.p99 else tokens.p99
    length = min(limit, max(16, math.ceil(wanted / 16) * 16))
    if wanted > length:
        why = "enough with few rows" if length == FEW_LENGTH and enough else "the most that is trained on"
        reason = effort.reason or f"{why}; 99 % of the texts have at most {tokens.p99:,}"
    elif wanted == tokens.longest:
        reason = f"the longest text of {plural(tokens.sampled, 'text')} has {tokens.longest} tokens"
    else:
        reason = f"99 % of the texts have at most {tokens.p99} tokens, the longest {tokens.longest:,}"
    choices.add("data.max_length", length, reason)


def _held_out(choices: _Choices, facts: Facts, effort: Effort) -> None:
    """Choose the rows that are held out, or a cross-validation."""
    rows = facts.texts.rows
    if (
        not facts.texts.test_rows
        and rows >= ENOUGH_FOR_TEST
        and not choices.is_fixed("data.test", "data.limit")
    ):
        share = _share(rows)
        held = round(share * rows)
        choices.add("data.test_size", share, f"{held:,} of {rows:,} rows, for an accuracy that chose nothing")
        rows -= held
    if choices.is_fixed("data.validation"):
        choices.add("data.validation", None, "")
    elif reason := _crossed_because(choices, rows):
        choices.add("data.validation", CROSS_VALIDATION, reason)
    if choices["data.validation"] == CROSS_VALIDATION:
        reason = effort.reason or "each row is predicted by a model that has not seen it"
        choices.add("data.folds", effort.folds, reason)
    elif choices["data.validation"] is None:
        share = _share(rows)
        reason = f"{round(share * rows):,} rows choose when to stop"
        choices.add("data.validation_size", share, reason)


def _crossed_because(choices: _Choices, rows: int) -> str:
    """Return the reason for a cross-validation; empty if rows are held out instead."""
    if rows < FEW_ROWS and not choices.is_fixed("data.validation_size") and not choices["train.patience"]:
        return f"{plural(rows, 'row')}: all are trained on"
    wanted = [field for field in FOLDS if choices.is_fixed(field) and choices[field] not in NO_FOLDS]
    return f"{wanted[0]} needs it" if wanted else ""


def _share(rows: int) -> float:
    """Return the share of some rows that is held out: a tenth, but no more rows than are needed."""
    return round(min(HELD_OUT, MOST_HELD_OUT / rows), 4)


def _adapters(choices: _Choices, facts: Facts, effort: Effort) -> None:
    """Choose targets, layers, rank and head."""
    n_layers = family_of(facts.config).n_layers(facts.config)
    few = facts.texts.rows < FEW_ROWS
    choices.add("head.kind", "linear", "leaves the budget to the encoder")
    if choices["head.kind"] == "linear":
        if choices["head.normalize"]:
            choices.add("head.pooling", "mean", "head.normalize needs it")
        elif facts.sentences:
            choices.add("head.pooling", "mean", "the encoder was trained so that the mean represents a text")
        else:
            choices.add("head.pooling", "first", "the encoder was not trained for the mean of its states")
        means = choices["head.pooling"] == "mean" and facts.sentences and few
        if means or choices.is_fixed("head.normalize"):
            choices.add("head.normalize", True, "the encoder was trained to compare directions, not lengths")
        choices.add("head.start", "probe", "training begins at the accuracy of a probe (arXiv:2202.10054)")
        if facts.texts.median < NAMED and choices["head.start"] == "probe":
            choices.add("head.label_names", True, "of few texts a class, its name says what they are about")
    choices.add("lora.targets", [ALL_LINEAR], "every matrix, at a lower rank (arXiv:2305.14314)")
    depth = "all" if effort.layers >= n_layers else f"top-{effort.layers}"
    why = f"the lower {n_layers - effort.layers} of {n_layers} run once per text"
    if depth == "all":  # only a fast machine trains more than the upper layers
        few_layers = upper_layers(n_layers) == n_layers
        why = f"the encoder has {plural(n_layers, 'layer')}" if few_layers else "the accelerator is fast"
    choices.add("lora.layers", depth, effort.reason or why)
    recipe = choices.recipe()
    rank = largest_rank(facts.config, facts.texts.classes, recipe.lora, recipe.head, recipe.budget)
    wanted = min(rank, FEW_RANK) if few else rank
    reason = "few rows need few parameters" if few else "the largest that the budget allows"
    r = choices.add("lora.r", wanted, reason)
    if choices["lora.rslora"]:
        choices.add("lora.alpha", SCALE * math.sqrt(r), f"alpha / sqrt(r) = {SCALE}")
    else:
        choices.add("lora.alpha", float(SCALE * r), f"alpha / r = {SCALE}")
    why = (
        "lower layers run once, without dropout"
        if depth != "all"
        else "the studies of these settings had none"
    )
    choices.add("lora.dropout", 0.0, why)
    for field in ("encoder.dropout", "encoder.attention_dropout"):
        choices.add(field, 0.0, "as above")


def _training(choices: _Choices, facts: Facts, effort: Effort) -> None:
    """Choose steps, rates, batches and stopping."""
    rows = facts.texts.rows
    choices.add("train.batch_size", BATCH, "the one that steps and rate were tried with")
    hidden = family_of(facts.config).inventory(facts.config, facts.texts.classes).hidden
    few = rows < FEW_ROWS
    rate = 1e-3 if few or hidden < WIDE else 5e-4
    choices.add(
        "train.learning_rate",
        rate,
        "lower ones learned too little from few rows" if few else f"for {hidden} hidden units",
    )
    if not choices.is_fixed("train.epochs"):
        texts = _texts_per_step(choices, facts)
        steps = max(1, round(effort.steps * steps_for(rows, texts)))
        reason = f"{steps * min(texts, rows) / rows:.1f} passes over {plural(rows, 'row')}"
        choices.add("train.steps", steps, f"{reason}; {effort.reason}" if effort.reason else reason)
    if _is_unbalanced(facts.texts) and not choices.is_fixed("train.class_weights", "train.logit_adjustment"):
        sizes = f"classes have {facts.texts.smallest:,} to {facts.texts.largest:,} rows"
        if choices["train.objective"] == "macro_f1":
            choices.add("train.class_weights", "balanced", f"macro F1 is wanted; {sizes}")
        else:
            choices.add("train.logit_adjustment", ADJUSTED, f"{sizes} (arXiv:2007.07314)")
    if all(choices[field] == value for field, value in INTERPOLATED.items()):
        reason = "between the probe and what was trained on few rows (arXiv:2109.01903)"
        choices.add("train.wise_ft", KEPT, reason)
    if choices["data.validation"] == CROSS_VALIDATION:
        choices.add("train.patience", 0, "no row is left to stop early by")
    else:
        choices.add("train.eval_every", "10%", "ten evaluations choose the best adapter")
        choices.add("train.patience", 0, "the last steps, at the lowest rates, gain most")


def _is_unbalanced(texts: TextFacts) -> bool:
    """Return whether the sizes of the classes differ so much that small classes need help to be predicted."""
    return texts.rows >= FEW_ROWS and texts.balance >= UNBALANCED


def _texts_per_step(choices: _Choices, facts: Facts) -> int:
    """Return about the number of texts in an optimizer step."""
    batch: int = choices["train.batch_size"]
    if choices["train.batch_tokens"] is not None:
        fitting = round(choices["train.batch_tokens"] / facts.tokens.read(choices.recipe().data))
        batch = min(MAX_TEXTS * batch, max(1, fitting))
    return batch * int(choices["train.gradient_accumulation_steps"])


def steps_for(rows: int, batch_size: int) -> int:
    """Return the optimizer steps after which a training on some rows has converged.

    Args:
        rows: training rows.
        batch_size: rows per step; a step has no more than all of them.
    """
    (least, fewest), (most, _) = STEPS[0], STEPS[-1]
    if rows >= most:  # two passes
        return math.ceil(2 * rows / min(batch_size, rows))
    share = min(BATCH, rows) / min(batch_size, rows)
    if rows <= least:
        return max(1, round(fewest * share))
    for (low, first), (high, last) in pairwise(STEPS):
        if rows <= high:
            steps: float = first * (last / first) ** (math.log(rows / low) / math.log(high / low))
            break
    return max(1, round(steps * share))
