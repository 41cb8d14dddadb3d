"""The files of a LoRA classifier that another program trained: its settings and shapes, and what cannot be adopted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import LoraConfig
from safetensors import SafetensorError, safe_open

from submillion.errors import BadInput, Problem
from submillion.files import strict_json
from submillion.model import head_file
from submillion.model.heads import MEAN_TASK
from submillion.sources.adapter_files import CONFIG, HEAD, PREFIX, TENSORS
from submillion.wording import excerpt

if TYPE_CHECKING:
    from submillion.families.family import Family

READ = (
    "peft_type",
    "task_type",
    "base_model_name_or_path",
    "revision",
    "peft_version",
    "auto_mapping",
    "inference_mode",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "modules_to_save",
    "bias",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "use_dora",
    "rank_pattern",
    "alpha_pattern",
)
"""The settings of an adapter that its function depends on, and the names in it."""
OF_THE_START = ("init_lora_weights", "eva_config", "loftq_config", "corda_config", "lora_ga_config")
"""Settings of the first values only."""
STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""First values that leave the encoder's own weights as they are."""
PATTERNS = ("target_modules", "exclude_modules", "layers_pattern", "rank_pattern", "alpha_pattern")
MOST_PATTERNS = 2_000
MOST_LAYERS = 10_000
_KNOWN: dict[str, Any] = LoraConfig().to_dict()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Foreign:
    """An adapter as its files describe it, before any weight is read."""

    folder: Path
    settings: dict[str, Any]
    """The entries of its adapter_config.json that are in READ."""
    shapes: dict[str, tuple[int, ...]]
    """Shape of each tensor by name; the head in a file of its own has the usual names of an output layer."""
    label_names: list[str] | None
    """Class names by index in the file's metadata, as submillion writes them."""
    normalize: bool = False
    """Whether a head in a file of its own reads the mean scaled to length 1."""

    @property
    def base(self) -> str | None:
        """The encoder that the adapter names."""
        name: str | None = self.settings.get("base_model_name_or_path") or None
        return name

    @property
    def headless(self) -> bool:
        """Whether the adapter is one of the encoder alone, with a head that reads the mean of the last states."""
        return bool(self.settings.get("task_type") == MEAN_TASK)

    def classes(self, family: Family) -> int:
        """Return the number of outputs of the head.

        Raises:
            BadInput: the files hold no head.
        """
        shape = self.shapes.get(f"{PREFIX}{family.output}.weight")
        if shape is None or len(shape) != 2:
            raise BadInput(
                Problem(
                    str(self.folder / TENSORS),
                    f"the trained head of the classifier ('{family.output}.weight')",
                    "none",
                    "An adapter that relies on the head of its encoder cannot be adopted, and one that lost its head "
                    "cannot be used: save it with the head in modules_to_save.",
                )
            )
        return shape[0]


def read_foreign(folder: Path, family: Family) -> Foreign:
    """Read the settings and the shapes of an adapter; no value of a tensor is read.

    Args:
        folder: the adapter's.
        family: the family of its encoder.

    Raises:
        BadInput: it is no LoRA for sequence classification, or has a setting that cannot be adopted; the error lists
            all such settings.
    """
    file = folder / CONFIG
    values = strict_json.read(file, "the configuration of an adapter", "Copy the adapter again.")
    problems = _problems(values, str(file))
    if problems:
        raise BadInput(problems)
    shapes, names = _shapes(folder / TENSORS)
    normalize = False
    if values.get("task_type") == MEAN_TASK:
        if not (folder / HEAD).is_file():
            expected = f"an adapter for sequence classification, or {HEAD} beside one for feature extraction"
            raise BadInput(Problem(str(folder), expected, f"task_type {MEAN_TASK} and no {HEAD}"))
        head, names = _shapes(folder / HEAD)
        normalize = head_file.normalizes(folder / HEAD)
        shapes |= {f"{PREFIX}{family.output}.{name}": shape for name, shape in head.items()}
    settings = {name: values[name] for name in READ if name in values}
    return Foreign(folder, settings, shapes, names, normalize)


def _problems(values: Any, where: str) -> list[Problem]:
    """Return what makes an adapter one that cannot be adopted."""
    if not isinstance(values, dict) or not isinstance(values.get("peft_type"), str):
        return [Problem(where, "the configuration of an adapter of peft", "no peft_type")]
    if values["peft_type"] != "LORA":
        found = f"an adapter of kind {excerpt(values['peft_type'], 60)}"
        return [Problem(f"{where}, peft_type", "LORA, the kind that can be adopted", found)]
    problems = []
    if values.get("task_type") not in (None, "SEQ_CLS", MEAN_TASK):
        found = excerpt(repr(values["task_type"]), 60)
        problems.append(
            Problem(f"{where}, task_type", "SEQ_CLS, an adapter for sequence classification", found)
        )
    if (start := values.get("init_lora_weights", True)) not in STARTS:
        problems.append(
            Problem(
                f"{where}, init_lora_weights",
                "first values that do not change the encoder's weights",
                excerpt(repr(start), 60),
                "Convert it to a plain LoRA with peft (save_pretrained with path_initial_model_for_weight_conversion).",
            )
        )
    problems += [
        Problem(
            f"{where}, {excerpt(name, 60)}",
            "no value: an adapter with this setting cannot be adopted",
            excerpt(repr(value), 80),
        )
        for name, value in values.items()
        if name not in (*READ, *OF_THE_START) and value and value != _KNOWN.get(name)
    ]
    return problems + _pattern_problems(values, where)


def _pattern_problems(values: Mapping[str, Any], where: str) -> list[Problem]:
    """Return the patterns that are too long or too costly to match: they come from anyone."""
    problems = []
    for name in PATTERNS:
        value = values.get(name)
        patterns = [value] if isinstance(value, str) else list(value or ())
        if len(patterns) > MOST_PATTERNS or not all(
            isinstance(pattern, str) and _is_bounded(pattern) for pattern in patterns
        ):
            expected = "names of modules, or patterns with at most three * or + and none after a bracket"
            problems.append(Problem(f"{where}, {name}", expected, excerpt(repr(value), 80)))
    layers = values.get("layers_to_transform")
    if isinstance(layers, list) and len(layers) > MOST_LAYERS:
        problems.append(
            Problem(f"{where}, layers_to_transform", f"at most {MOST_LAYERS:,} layers", f"{len(layers):,}")
        )
    return problems


def _is_bounded(pattern: str) -> bool:
    """Return whether a regular expression takes a bounded time to match: few repetitions, none of a group."""
    if len(pattern) > MOST_PATTERNS or re.search(r"\)[*+{?]|\\[1-9]|\(\?(?!:)", pattern):
        return False
    if len(re.findall(r"(?<!\\)[*+]|\{\d*,", pattern)) > 3:
        return False
    try:
        re.compile(pattern)
    except (re.error, OverflowError):
        return False
    return True


def _shapes(file: Path) -> tuple[dict[str, tuple[int, ...]], list[str] | None]:
    try:
        with safe_open(file, framework="pt") as opened:
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
            names = (opened.metadata() or {}).get("label_names")
    except (OSError, SafetensorError) as error:
        raise BadInput(
            Problem(str(file), "the tensors of an adapter", f"{error}", "Copy it again.")
        ) from error
    listed_names = None if names is None else strict_json.parse(names, f"{file}, label_names")
    return shapes, [str(name) for name in listed_names] if isinstance(listed_names, list) else None
