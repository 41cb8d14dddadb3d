"""The settings in an adapter_config.json: types and bounds are checked, and what no recipe sets is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from peft import AdaLoraConfig, LoraConfig, PeftConfig, VeraConfig

from submillion.errors import BadInput, Problem
from submillion.wording import excerpt

KINDS: dict[str, type[PeftConfig]] = {"LORA": LoraConfig, "ADALORA": AdaLoraConfig, "VERA": VeraConfig}
ANOTHER = "Was it trained with another recipe or another encoder?"
MAX_VERA_RANK = (
    16_384  # its two matrices are shared by all layers, so that ranks above the hidden size are usual
)
# PiSSA's adapter is saved with twice the rank that was trained, and no rank above the size of a matrix adds anything.
RANKS_PER_HIDDEN = 2

_NAME = re.compile(r"[\w.]{1,300}")
# The patterns of recipes: at most one alternation of layers and one of matrices below them, without a quantifier.
# Another regular expression can take hours to match.
_PART = r"[\w.\\-]+"
_MATRICES = rf"[\w.\\]+\(\d+(?:\|\d+)*\)\\\.\({_PART}(?:\|{_PART})*\)"
_PATTERN = re.compile(rf"(?:{_MATRICES}|{_PART})(?:\|{_PART})*", re.ASCII)


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= value <= high
    )


def _patterns_to(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict)
        and len(value) <= 10_000
        and all(_NAME.fullmatch(name) and holds(number) for name, number in value.items())
    )


def _names(value: Any) -> bool:
    return value is None or (
        isinstance(value, list)
        and len(value) <= 10_000
        and all(isinstance(name, str) and _NAME.fullmatch(name) for name in value)
    )


def _targets(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 20_000 and _PATTERN.fullmatch(value) is not None and _compiles(value)
    return value is not None and _names(value)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError):
        return False
    return True


def _text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= 4_096)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


_RANK, _SCALE, _SHARE = _whole(1, 65_536), _number(0, 1e9), _number(0, 1)
_STEPS = _whole(0, 2**62)
_COMMON: dict[str, tuple[Callable[[Any], bool], str]] = {
    "peft_type": (lambda value: value in KINDS, "the kind of an adapter"),
    "task_type": (
        lambda value: value in (None, "SEQ_CLS", "FEATURE_EXTRACTION"),
        "SEQ_CLS, FEATURE_EXTRACTION or null",
    ),
    "base_model_name_or_path": (_text, "a name"),
    "revision": (_text, "a name"),
    "peft_version": (_text, "a version"),
    "auto_mapping": (
        lambda value: (
            value is None
            or (isinstance(value, dict) and all(_text(part) for pair in value.items() for part in pair))
        ),
        "the name of a class",
    ),
    "inference_mode": (_flag, "true or false"),
    "target_modules": (_targets, "names of modules, or the pattern of a recipe"),
    "modules_to_save": (_names, "names of modules"),
    "bias": (lambda value: value in ("none", "all", "lora_only", "vera_only"), "none, all or lora_only"),
    "r": (_RANK, "a rank"),
}
_OF_LORA: dict[str, tuple[Callable[[Any], bool], str]] = {
    "lora_alpha": (_SCALE, "a number"),
    "lora_dropout": (_SHARE, "a share"),
    "use_rslora": (_flag, "true or false"),
    "use_dora": (_flag, "true or false"),
    "rank_pattern": (_patterns_to(_RANK), "ranks by module"),
    "alpha_pattern": (_patterns_to(_SCALE), "numbers by module"),
}
_OF_ADALORA = {
    name: check for name, check in _OF_LORA.items() if name not in ("rank_pattern", "alpha_pattern")
} | {
    "target_r": (_RANK, "a rank"),
    "init_r": (_RANK, "a rank"),
    "tinit": (_STEPS, "a number of steps"),
    "tfinal": (_STEPS, "a number of steps"),
    "deltaT": (_whole(1, 2**62), "a number of steps"),
    "total_step": (_whole(1, 2**62), "a number of steps"),
    "beta1": (_SHARE, "a share"),
    "beta2": (_SHARE, "a share"),
    "orth_reg_weight": (_SCALE, "a number"),
}
_OF_VERA = {
    "vera_dropout": (_SHARE, "a share"),
    "projection_prng_key": (_whole(0, 2**63 - 1), "a seed"),
    "d_initial": (_SCALE, "a number"),
}
_CHECKS = {"LORA": _COMMON | _OF_LORA, "ADALORA": _COMMON | _OF_ADALORA, "VERA": _COMMON | _OF_VERA}


def settings_of(values: Any, where: str) -> PeftConfig:
    """Return peft's configuration with the values of an adapter_config.json.

    Args:
        values: the JSON value, which may come from anyone.
        where: the file, for messages.

    Raises:
        BadInput: no adapter of a kind that recipes make, a value of another type or out of bounds, or a setting that no
            recipe changes; the error lists all of them.
    """
    if not isinstance(values, dict) or "peft_type" not in values:
        raise BadInput(Problem(where, "the configuration of a LoRA adapter", "no peft_type", ANOTHER))
    kind = values["peft_type"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadInput(Problem(where, "a LoRA adapter", f"an adapter of kind {excerpt(repr(kind), 60)}"))
    checks = _CHECKS[kind]
    problems = [
        Problem(f"{where}, {name}", expected, excerpt(repr(values[name]), 80), ANOTHER)
        for name, (holds, expected) in checks.items()
        if name in values and not holds(values[name])
    ]
    if "target_modules" not in values:
        problems.append(Problem(where, "an entry target_modules", "none", ANOTHER))
    if problems:
        raise BadInput(problems)
    # AdaLoRA fills in its ranks by module while it trains; they are not read.
    used = {name: values[name] for name in checks if name in values}
    try:
        config = KINDS[kind](**{name: value for name, value in used.items() if name != "peft_type"})
    except (TypeError, ValueError) as error:
        raise BadInput(Problem(where, "the settings of an adapter", str(error), ANOTHER)) from error
    problems = _unusual(values, config.to_dict(), used, where)
    if problems:
        raise BadInput(problems)
    return config


def check_rank(config: Any, hidden: int, where: str) -> None:
    """Refuse a rank that no recipe makes for an encoder of this hidden size: it decides the memory of the adapters.

    Raises:
        BadInput: see above.
    """
    ranks = [
        config.r,
        getattr(config, "init_r", None) or 0,
        *(getattr(config, "rank_pattern", None) or {}).values(),
    ]
    largest = MAX_VERA_RANK if isinstance(config, VeraConfig) else RANKS_PER_HIDDEN * hidden
    if max(ranks) > largest:
        raise BadInput(Problem(where, f"ranks up to {largest:,}", f"{max(ranks):,}", ANOTHER))


def _unusual(
    values: Mapping[str, Any], defaults: Mapping[str, Any], used: Mapping[str, Any], where: str
) -> list[Problem]:
    """Return the settings that are not used here and that would change the adapter."""
    return [
        Problem(
            f"{where}, {excerpt(name, 60)}", "no value: no recipe sets it", excerpt(repr(value), 80), ANOTHER
        )
        for name, value in values.items()
        if name not in used and value and value != defaults.get(name) and name != "rank_pattern"
    ]
