"""Finds the configurations that spend a budget best, and those nearest to one that is too large.

How they are ranked, best first:

1. By the share of the encoder's matrices that carry an adapter. At a fixed number of parameters it is better
   to adapt more matrices at a lower rank (Hu et al. 2021, arXiv:2106.09685, section 7.1, table 5), and having
   adapters on every linear matrix matters more than their rank (Dettmers et al. 2023, arXiv:2305.14314,
   section 4).
2. By the parameters in the encoder's adapters. The stock head of roberta-base takes 593,668 of a million for
   one 768 x 768 matrix that sees a single token of each text; a linear head takes 3,076 and leaves the rest.
3. By what the head trains besides, then by the cost of a training step, the cheaper first.

This is what experience says on average; which of two neighbours is better on given texts, validation tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from submillion.budget.cost import operations_in, reference_lora
from submillion.budget.count import ONE_RANK, Count, count_in, in_adapter
from submillion.errors import OverBudget
from submillion.families.families import Family, Inventory, family_of
from submillion.recipe import ALL_LINEAR, HeadRecipe, LoraRecipe

HEAD_RANK = 16  # of a low-rank head that the planner proposes: 16 x (768 + 768) = 24,576 at D = 768
DEPTHS = (2 / 3, 1 / 2, 1 / 3, 1 / 4)  # shares of the layers, from the top, planned for beside all of them
SCALE = 2  # alpha / r of a plan, as in the reference recipe (r 16, alpha 32)
Choice = tuple[LoraRecipe, HeadRecipe]


@dataclass(frozen=True)
class Plan:
    """A configuration that fits, what it trains, what it costs, and why it stands where it stands."""

    lora: LoraRecipe
    head: HeadRecipe
    count: Count
    cost_per_token: float
    """Operations per token in training, relative to r 16 on the query of all layers."""
    cost_cached: float
    """The same where the layers below the lowest adapter ran once and their output is kept."""
    reason: str

    @property
    def settings(self) -> list[str]:
        """The configuration as `--set` items."""
        return _settings(self.lora, self.head)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration, its count without the single layers, its costs and its reason."""
        counted = self.count.to_json()
        del counted["by_layer"]
        return {
            "r": self.lora.r,
            "alpha": self.lora.alpha,
            "targets": self.lora.targets,
            "layers": self.lora.layers,
            "head": self.head.kind,
            "head_r": self.head.r if self.head.kind == "lora" else None,
            **counted,
            "cost_per_token": round(self.cost_per_token, 4),
            "cost_cached": round(self.cost_cached, 4),
            "reason": self.reason,
            "settings": self.settings,
        }


def plan(config: Mapping[str, Any], num_labels: int, budget: int, top: int = 12) -> list[Plan]:
    """Return the best configurations under the budget, best first.

    Every combination of targets, depth and head is taken at the largest rank that fits.

    Args:
        config: the encoder's config.json.
        num_labels: number of classes.
        budget: trainable parameters allowed.
        top: how many to return at most.

    Raises:
        OverBudget: not even the smallest configuration fits.
        BadInput: the encoder or the number of classes cannot be used.
    """
    case = _Case.of(config, num_labels, budget)
    filled = [case.filled(lora, head) for lora, head in _choices(case)]
    found = [(lora, head, counted) for lora, head in filled if (counted := case.count(lora, head)).fits]
    if not found:
        least = min(case.count(lora, head).trainable for lora, head in filled)
        raise OverBudget(
            f"no configuration fits: the smallest trains {least:,} parameters, the budget is {budget:,}."
        )

    def rank(entry: tuple[LoraRecipe, HeadRecipe, Count]) -> tuple[int, int, int, int]:
        lora, _, counted = entry
        cost = operations_in(case.family, case.inventory, lora)
        return -_adapted(counted), -_in_adapters(counted), -counted.trainable, cost

    plans: list[Plan] = []
    for lora, head, counted in sorted(found, key=rank)[:top]:
        before = plans[-1].count if plans else None
        plans.append(case.priced(lora, head, counted, _why(case, lora, head, counted, before)))
    return plans


def nearest(
    config: Mapping[str, Any], num_labels: int, lora: LoraRecipe, head: HeadRecipe, budget: int
) -> list[Plan]:
    """Return what fits and is nearest to a configuration that is over the budget, the largest first.

    Each changes one thing (rank, head, depth, targets or biases), and that as little as it takes; the rank
    also to a power of two. Where no such change is enough, a lighter head and a lower rank together; where
    that is not either, the three best plans.

    Args:
        config: the encoder's config.json.
        num_labels: number of classes.
        lora: the adapters asked for.
        head: the head asked for.
        budget: trainable parameters allowed.

    Returns:
        A handful of plans; none where nothing at all fits.
    """
    case = _Case.of(config, num_labels, budget)
    lighter = [
        other
        for other in _lighter_heads(head, case.inventory.hidden)
        if other.kind != "lora" or lora.variant not in ONE_RANK
    ]
    largest, _ = case.filled(lora, head, lora.r)
    power_of_two = _at_rank(lora, 1 << (largest.r.bit_length() - 1))
    # Each kind of change is a list of ever larger changes, of which the first that fits is taken.
    one_change: list[Iterable[Choice]] = [
        [(largest, head)],
        [(power_of_two, head)] if power_of_two.r != largest.r else [],
        *([(lora, other)] for other in lighter),
        ((lora, lower) for lower in _lower_ranks(head)),
        ((shallower, head) for shallower in _shallower(lora, len(case.inventory.layers))),
        ((fewer, head) for fewer in _fewer_targets(case, lora)),
        [(lora.model_copy(update={"bias": "none"}), head)] if lora.variant != "bitfit" else [],
    ]
    two_changes: list[Iterable[Choice]] = [[case.filled(lora, other, lora.r)] for other in lighter]
    for kinds in (one_change, two_changes):
        found = [fit for options in kinds if (fit := case.first_fit(options))]
        if found:
            break
    else:
        return _plans_or_none(config, num_labels, budget)
    asked = _settings(lora, head)
    plans = []
    for changed, other, counted in sorted(found, key=lambda fit: -fit[2].trainable):
        items = [item for item in _settings(changed, other) if item not in asked]
        reason = f"As asked, with {' '.join(f'--set {item}' for item in items)}."
        plans.append(case.priced(changed, other, counted, reason))
    return plans


@dataclass(frozen=True)
class _Case:
    """The encoder, its head's classes and the budget for which configurations are compared."""

    family: Family
    inventory: Inventory
    budget: int

    @classmethod
    def of(cls, config: Mapping[str, Any], num_labels: int, budget: int) -> _Case:
        family = family_of(config)
        return cls(family, family.inventory(config, num_labels), budget)

    def count(self, lora: LoraRecipe, head: HeadRecipe) -> Count:
        return count_in(self.family, self.inventory, lora, head, self.budget)

    def filled(self, lora: LoraRecipe, head: HeadRecipe, limit: int | None = None) -> Choice:
        """Return the configuration at the largest rank up to `limit` that fits; at rank 1 where none does.

        Args:
            limit: None takes the encoder's hidden size.
        """
        limit = limit or self.inventory.hidden
        least = self.count(_at_rank(lora, 1), head)
        further = (self.budget - least.trainable) // max(1, self.per_rank(lora))
        return _at_rank(lora, min(1 + max(0, further), limit)), head

    def per_rank(self, lora: LoraRecipe) -> int:
        """Return what each further unit of rank adds; 0 without adapters."""
        if lora.variant == "bitfit":
            return 0
        matrices = [self.inventory.matrices[name] for name in self.family.expand(lora.targets)]
        layers = len(lora.layer_indices(len(self.inventory.layers)))
        return layers * sum(
            in_adapter(lora.variant, 2, matrix) - in_adapter(lora.variant, 1, matrix) for matrix in matrices
        )

    def first_fit(self, choices: Iterable[Choice]) -> tuple[LoraRecipe, HeadRecipe, Count] | None:
        """Return the first configuration that fits, if any does."""
        for lora, head in choices:
            if (counted := self.count(lora, head)).fits:
                return lora, head, counted
        return None

    def priced(self, lora: LoraRecipe, head: HeadRecipe, counted: Count, reason: str) -> Plan:
        """Return the plan with its costs relative to the reference."""
        reference = operations_in(self.family, self.inventory, reference_lora(self.family))
        cost = operations_in(self.family, self.inventory, lora)
        cached = operations_in(self.family, self.inventory, lora, cached=True)
        return Plan(lora, head, counted, cost / reference, cached / reference, reason)


def _plans_or_none(config: Mapping[str, Any], num_labels: int, budget: int) -> list[Plan]:
    try:
        return plan(config, num_labels, budget, top=3)
    except OverBudget:  # the caller tells of a budget that nothing fits into
        return []


def _choices(case: _Case) -> Iterator[Choice]:
    """Yield the usual sets of targets, in all layers, the top 2/3, 1/2, 1/3, 1/4 and 1, with each head."""
    names, n_layers = case.family.targets, len(case.inventory.layers)
    attention = [target for target in names if not target.startswith("ffn")]
    inputs = [target for target in attention if target != "attention_output"]
    kinds = [[ALL_LINEAR], attention, inputs, ["query", "value"], ["ffn_up", "ffn_down"]]
    kinds += [[target] for target in sorted(attention, key=lambda target: target != "value")]
    known = {tuple(kind): kind for kind in kinds if {*kind} <= {*names, ALL_LINEAR}}
    depths = dict.fromkeys((n_layers, *(max(1, round(n_layers * share)) for share in DEPTHS), 1))
    heads = [HeadRecipe(), *_lighter_heads(HeadRecipe(), case.inventory.hidden)]
    for targets in known.values():
        for depth in depths:
            layers = "all" if depth == n_layers else f"top-{depth}"
            for head in heads:
                yield LoraRecipe(r=1, alpha=SCALE, targets=targets, layers=layers), head


def _lighter_heads(head: HeadRecipe, hidden: int) -> list[HeadRecipe]:
    """Return the heads that train less than `head`: stock, then lora, then linear."""
    low_rank = HeadRecipe(kind="lora", r=min(HEAD_RANK, hidden))
    linear = HeadRecipe(kind="linear")
    return {"stock": [low_rank, linear], "lora": [linear], "linear": []}[head.kind]


def _lower_ranks(head: HeadRecipe) -> list[HeadRecipe]:
    """Return a low-rank head at half its rank, a quarter and so on; no other head has a rank."""
    halvings = range(1, head.r.bit_length()) if head.kind == "lora" else ()
    return [head.model_copy(update={"r": head.r >> times}) for times in halvings]


def _at_rank(lora: LoraRecipe, r: int) -> LoraRecipe:
    """Change the rank and keep alpha / r, so that the update's scale stays what it was."""
    return lora.model_copy(update={"r": r, "alpha": lora.alpha * r / lora.r})


def _shallower(lora: LoraRecipe, n_layers: int) -> Iterator[LoraRecipe]:
    """Yield the configuration with ever fewer layers, the lowest going first."""
    indices = lora.layer_indices(n_layers)
    for start in range(1, len(indices)):
        kept = indices[start:]
        at_top = kept == list(range(kept[0], n_layers))
        yield lora.model_copy(update={"layers": f"top-{len(kept)}" if at_top else kept})


def _fewer_targets(case: _Case, lora: LoraRecipe) -> list[LoraRecipe]:
    """Return the configuration with part of its targets, what trains most first.

    Of equals one with the value goes first: it is worth more than the query (Hu et al. 2021, table 5).
    """
    matrices, targets = case.inventory.matrices, case.family.expand(lora.targets)
    parts = [part for size in range(1, len(targets)) for part in combinations(targets, size)]
    parts.sort(key=lambda part: (-sum(matrices[name].per_rank for name in part), "value" not in part))
    return [lora.model_copy(update={"targets": list(part)}) for part in parts]


def _adapted(counted: Count) -> int:
    """Return how many matrices of the encoder carry an adapter."""
    return sum(name.startswith("lora.") for layer in counted.by_layer for name in layer["parts"])


def _in_adapters(counted: Count) -> int:
    """Return the parameters in the encoder's adapters."""
    return sum(size for name, size in counted.parts.items() if name.startswith("lora."))


def _settings(lora: LoraRecipe, head: HeadRecipe) -> list[str]:
    """Return a configuration as `--set` items."""
    layers = lora.layers if isinstance(lora.layers, str) else f"[{','.join(map(str, lora.layers))}]"
    items = [
        *([f"lora.variant={lora.variant}"] if lora.variant != "lora" else []),
        f"lora.r={lora.r}",
        f"lora.alpha={lora.alpha:g}",
        f"lora.targets={','.join(lora.targets)}",
        f"lora.layers={layers}",
        f"lora.bias={lora.bias}",
        f"head.kind={head.kind}",
    ]
    return [*items, f"head.r={head.r}"] if head.kind == "lora" else items


def _why(case: _Case, lora: LoraRecipe, head: HeadRecipe, counted: Count, before: Count | None) -> str:
    """Say in one sentence what a plan does and why it stands below the one before it."""
    n_layers = len(case.inventory.layers)
    adapted, matrices, inside = _adapted(counted), n_layers * len(case.family.targets), _in_adapters(counted)
    reach = f"all {matrices}" if adapted == matrices else f"{adapted} of {matrices}"
    if before is None:
        place = "no plan reaches more"
    elif adapted < _adapted(before):
        place = "fewer than above"
    elif inside < _in_adapters(before):
        place = f"as many as above with fewer parameters, {inside:,}"
    elif counted.trainable < before.trainable:
        place = "as many as above with as many parameters, beside a smaller head"
    else:
        place = "as many as above with as many parameters, and no cheaper"
    in_head = sum(size for name, size in counted.parts.items() if name.startswith("head."))
    kind = "low-rank" if head.kind == "lora" else head.kind
    taken = f"the {kind} head takes {in_head:,} ({in_head / counted.budget:.1%} of the budget)"
    lowest = lora.layer_indices(n_layers)[0]
    spared = f"; layers 0 to {lowest - 1} need no gradient and can run once per text" if lowest else ""
    return f"Adapters of r {lora.r} on {reach} matrices of the encoder, {place}; {taken}{spared}."
