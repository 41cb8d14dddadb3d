"""Ranks the configurations that fit a budget, and finds the nearest ones to a configuration that does not.

Ranking, best first:

1. By the number of encoder matrices that carry an adapter. At a fixed number of parameters it is better to adapt more
   matrices at a lower rank (Hu et al. 2021, arXiv:2106.09685, section 7.1, table 5), and adapters on every linear
   matrix matter more than their rank (Dettmers et al. 2023, arXiv:2305.14314, section 4).
2. By the parameters in the encoder's adapters. The stock head of roberta-base takes 593,668 of a million for one
   768 x 768 matrix that sees a single token of each text; a linear head takes 3,076.
3. By the remaining trainable parameters of the head, then by the cost of a training step, the cheaper first.

This order holds on average; which of two neighbours is better for given texts is decided on validation data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from submillion.budget.cost import operations_per_token, reference_lora
from submillion.budget.count import ONE_RANK, Count, adapter_size, count_inventory
from submillion.budget.plan import Plan, settings_of
from submillion.errors import OverBudget
from submillion.families.families import family_of
from submillion.families.family import Family, Inventory
from submillion.recipe import ALL_LINEAR, HeadRecipe, LoraRecipe
from submillion.wording import listed

HEAD_RANK = 16
"""Rank of a proposed low-rank head: 16 x (768 + 768) = 24,576 parameters at D = 768."""
DEPTHS = (2 / 3, 1 / 2, 1 / 3, 1 / 4)
"""Shares of the layers, from the top, that are tried besides all layers and the top one."""
SCALE = 2
"""alpha / r of a plan, as in the reference recipe (r 16, alpha 32)."""
Choice = tuple[LoraRecipe, HeadRecipe]


def best_plans(config: Mapping[str, Any], num_labels: int, budget: int, top: int = 12) -> list[Plan]:
    """Return the best configurations within the budget, best first.

    Every combination of targets, depth and head is considered at the largest rank that fits.

    Args:
        config: the encoder's config.json.
        num_labels: number of classes.
        budget: trainable parameters allowed.
        top: maximum number of plans.

    Raises:
        OverBudget: not even the smallest configuration fits.
        BadInput: the encoder's family is not supported, or there are fewer than two classes.
    """
    case = _Case.of(config, num_labels, budget)
    filled = [case.filled(lora, head) for lora, head in _choices(case)]
    fitting = [(lora, head, count) for lora, head in filled if (count := case.count(lora, head)).fits]
    if not fitting:
        smallest = min(case.count(lora, head).trainable for lora, head in filled)
        raise OverBudget(
            f"no configuration fits: the smallest trains {smallest:,} parameters, the budget is {budget:,}."
        )

    def rank(entry: tuple[LoraRecipe, HeadRecipe, Count]) -> tuple[int, int, int, int]:
        lora, _, count = entry
        cost = operations_per_token(case.family, case.inventory, lora)
        return -_adapted_matrices(count), -_adapter_parameters(count), -count.trainable, cost

    plans: list[Plan] = []
    for lora, head, count in sorted(fitting, key=rank)[:top]:
        above = plans[-1].count if plans else None
        plans.append(case.plan(lora, head, count, _reason(case, lora, head, count, above)))
    return plans


def nearest_plans(
    config: Mapping[str, Any], num_labels: int, lora: LoraRecipe, head: HeadRecipe, budget: int
) -> list[Plan]:
    """Return the configurations within the budget that are nearest to one that is over it, the largest first.

    Each plan changes one thing (rank, head, depth, targets or biases) as little as possible; the rank is also lowered
    to a power of two. If no single change is enough, a lighter head is combined with a lower rank; if that is not
    enough either, the three best plans of `best_plans` are returned.

    Args:
        config: the encoder's config.json.
        num_labels: number of classes.
        lora: the requested adapters.
        head: the requested head.
        budget: trainable parameters allowed.

    Returns:
        A handful of plans; an empty list if nothing fits.
    """
    case = _Case.of(config, num_labels, budget)
    lighter = [
        other
        for other in _lighter_heads(head, case.inventory.hidden)
        if other.kind != "lora" or lora.variant not in ONE_RANK
    ]
    largest, _ = case.filled(lora, head, lora.r)
    power_of_two = _with_rank(lora, 1 << (largest.r.bit_length() - 1))
    # Each kind of change is a sequence of ever larger changes; the first that fits is used.
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
        fitting = [fit for choices in kinds if (fit := case.first_fit(choices))]
        if fitting:
            break
    else:
        return _plans_or_none(config, num_labels, budget)
    requested = settings_of(lora, head)
    plans = []
    for changed, other, count in sorted(fitting, key=lambda fit: -fit[2].trainable):
        changes = [item for item in settings_of(changed, other) if item not in requested]
        plans.append(case.plan(changed, other, count, f"Your configuration with {listed(changes)}."))
    return plans


def largest_rank(
    config: Mapping[str, Any], num_labels: int, lora: LoraRecipe, head: HeadRecipe, budget: int
) -> int:
    """Return the largest rank, up to the hidden size, at which a configuration fits; 1 if none fits or it has no rank.

    Args:
        config: the encoder's config.json.
        num_labels: number of classes.
        lora: the adapters; their rank is ignored.
        head: the head.
        budget: trainable parameters allowed.
    """
    case = _Case.of(config, num_labels, budget)
    filled, _ = case.filled(lora, head)
    return filled.r if case.per_rank(lora) else 1


@dataclass(frozen=True)
class _Case:
    """The encoder with its classification head, and the budget."""

    family: Family
    inventory: Inventory
    budget: int

    @classmethod
    def of(cls, config: Mapping[str, Any], num_labels: int, budget: int) -> _Case:
        family = family_of(config)
        return cls(family, family.inventory(config, num_labels), budget)

    def count(self, lora: LoraRecipe, head: HeadRecipe) -> Count:
        return count_inventory(self.family, self.inventory, lora, head, self.budget)

    def filled(self, lora: LoraRecipe, head: HeadRecipe, max_rank: int | None = None) -> Choice:
        """Return the configuration at the largest rank up to `max_rank` that fits, or at rank 1 if none fits.

        Args:
            lora: the adapters; their rank is ignored.
            head: the head.
            max_rank: None allows ranks up to the encoder's hidden size.
        """
        max_rank = max_rank or self.inventory.hidden
        smallest = self.count(_with_rank(lora, 1), head)
        further = (self.budget - smallest.trainable) // max(1, self.per_rank(lora))
        return _with_rank(lora, min(1 + max(0, further), max_rank)), head

    def per_rank(self, lora: LoraRecipe) -> int:
        """Return the parameters that each further unit of rank adds; 0 without adapters."""
        if lora.variant == "bitfit":
            return 0
        matrices = [self.inventory.matrices[name] for name in self.family.expand(lora.targets)]
        layers = len(lora.layer_indices(len(self.inventory.layers)))
        return layers * sum(
            adapter_size(lora.variant, 2, matrix) - adapter_size(lora.variant, 1, matrix)
            for matrix in matrices
        )

    def first_fit(self, choices: Iterable[Choice]) -> tuple[LoraRecipe, HeadRecipe, Count] | None:
        """Return the first configuration that fits, or None."""
        for lora, head in choices:
            if (count := self.count(lora, head)).fits:
                return lora, head, count
        return None

    def plan(self, lora: LoraRecipe, head: HeadRecipe, count: Count, reason: str) -> Plan:
        """Return the plan with its costs relative to the reference."""
        reference = operations_per_token(self.family, self.inventory, reference_lora(self.family))
        cost = operations_per_token(self.family, self.inventory, lora)
        cached = operations_per_token(self.family, self.inventory, lora, cached=True)
        return Plan(lora, head, count, cost / reference, cached / reference, reason)


def _plans_or_none(config: Mapping[str, Any], num_labels: int, budget: int) -> list[Plan]:
    try:
        return best_plans(config, num_labels, budget, top=3)
    except OverBudget:  # the caller reports that nothing fits
        return []


def _choices(case: _Case) -> Iterator[Choice]:
    """Yield the usual sets of targets, in all layers and in the top 2/3, 1/2, 1/3, 1/4 and 1, with each head."""
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
    """Return the heads with fewer trainable parameters than `head`: stock, then lora, then linear."""
    low_rank = HeadRecipe(kind="lora", r=min(HEAD_RANK, hidden))
    linear = HeadRecipe(kind="linear")
    return {"stock": [low_rank, linear], "lora": [linear], "linear": []}[head.kind]


def _lower_ranks(head: HeadRecipe) -> list[HeadRecipe]:
    """Return a low-rank head at half its rank, a quarter and so on; an empty list for the other heads."""
    halvings = range(1, head.r.bit_length()) if head.kind == "lora" else ()
    return [head.model_copy(update={"r": head.r >> halving}) for halving in halvings]


def _with_rank(lora: LoraRecipe, r: int) -> LoraRecipe:
    """Change the rank at constant alpha / r, which keeps the scale of the update."""
    return lora.model_copy(update={"r": r, "alpha": lora.alpha * r / lora.r})


def _shallower(lora: LoraRecipe, n_layers: int) -> Iterator[LoraRecipe]:
    """Yield the configuration with ever fewer layers, dropping the lowest first."""
    indices = lora.layer_indices(n_layers)
    for start in range(1, len(indices)):
        remaining = indices[start:]
        at_top = remaining == list(range(remaining[0], n_layers))
        yield lora.model_copy(update={"layers": f"top-{len(remaining)}" if at_top else remaining})


def _fewer_targets(case: _Case, lora: LoraRecipe) -> list[LoraRecipe]:
    """Return the configuration with each proper subset of its targets, the most parameters first.

    Among equal ones, a subset with the value comes first: it is worth more than the query (Hu et al. 2021, table 5).
    """
    matrices, targets = case.inventory.matrices, case.family.expand(lora.targets)
    subsets = [subset for size in range(1, len(targets)) for subset in combinations(targets, size)]
    subsets.sort(key=lambda subset: (-sum(matrices[name].per_rank for name in subset), "value" not in subset))
    return [lora.model_copy(update={"targets": list(subset)}) for subset in subsets]


def _adapted_matrices(count: Count) -> int:
    """Return the number of encoder matrices that carry an adapter."""
    return sum(name.startswith("lora.") for layer in count.by_layer for name in layer["parts"])


def _adapter_parameters(count: Count) -> int:
    """Return the parameters in the encoder's adapters."""
    return sum(size for name, size in count.parts.items() if name.startswith("lora."))


def _reason(case: _Case, lora: LoraRecipe, head: HeadRecipe, count: Count, above: Count | None) -> str:
    """Describe a plan in one sentence, and why it ranks below the plan above it."""
    n_layers = len(case.inventory.layers)
    adapted, size = _adapted_matrices(count), _adapter_parameters(count)
    matrices = n_layers * len(case.family.targets)
    scope = f"all {matrices}" if adapted == matrices else f"{adapted} of {matrices}"
    if above is None:
        comparison = "the most of any plan"
    elif adapted < _adapted_matrices(above):
        comparison = "fewer than the plan above"
    elif size < _adapter_parameters(above):
        comparison = f"as many as the plan above with fewer adapter parameters ({size:,})"
    elif count.trainable < above.trainable:
        comparison = "with as many adapter parameters as the plan above and a smaller head"
    else:
        comparison = "with as many parameters as the plan above and no cheaper"
    head_size = sum(size for name, size in count.parts.items() if name.startswith("head."))
    kind = "low-rank" if head.kind == "lora" else head.kind
    head_share = f"the {kind} head takes {head_size:,} ({head_size / count.budget:.1%} of the budget)"
    lowest = lora.layer_indices(n_layers)[0]
    skipped = f"; layers 0 to {lowest - 1} need no gradient and can run once per text" if lowest else ""
    return f"Adapters of r {lora.r} on {scope} encoder matrices, {comparison}; {head_share}{skipped}."
