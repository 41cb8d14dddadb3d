"""Reads a LoRA classifier that another program trained, and writes the same function as an adapter of a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import Linear, LoraLayer
from peft.utils import ModulesToSaveWrapper
from safetensors import SafetensorError, safe_open

from submillion.errors import BadInput, Problem
from submillion.files import strict_json
from submillion.model import adapter
from submillion.model.adapter_settings import check_rank
from submillion.model.build import open_adapter, set_requires_grad
from submillion.model.heads import MEAN_TASK
from submillion.model.loading import Loaded, load_encoder, quiet_libraries
from submillion.model.process_state import seeded
from submillion.sources.adapters import HEAD, TENSORS
from submillion.sources.folder import ADAPTER
from submillion.wording import excerpt, listed

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
CLOSE = 1e-3
"""Largest difference of a logit, as a share of the largest logit, between the original and the written adapter."""
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
        shape = self.shapes.get(f"{adapter.PREFIX}{family.output}.weight")
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
    file = folder / ADAPTER
    values = strict_json.read(file, "the configuration of an adapter", "Copy the adapter again.")
    problems = _problems(values, str(file))
    if problems:
        raise BadInput(problems)
    shapes, names = _shapes(folder / TENSORS)
    if values.get("task_type") == MEAN_TASK:
        if not (folder / HEAD).is_file():
            expected = f"an adapter for sequence classification, or {HEAD} beside one for feature extraction"
            raise BadInput(Problem(str(folder), expected, f"task_type {MEAN_TASK} and no {HEAD}"))
        head, names = _shapes(folder / HEAD)
        shapes |= {f"{adapter.PREFIX}{family.output}.{name}": shape for name, shape in head.items()}
    return Foreign(folder, {name: values[name] for name in READ if name in values}, shapes, names)


def adopt(
    foreign: Foreign, encoder: Path, label_names: Sequence[str], origin: str, target: Path
) -> tuple[int, float]:
    """Write the classifier as an adapter of a run, and compare both on random tokens.

    peft itself reads the original, with its patterns. The written adapter names each matrix with its rank and scale,
    holds float32 values, and computes the same function.

    Args:
        foreign: the adapter.
        encoder: folder of its encoder.
        label_names: class names by index.
        origin: name of the encoder to record in the adapter.
        target: an existing folder to write to.

    Returns:
        The number of texts compared, and the largest difference of a logit.

    Raises:
        BadInput: the files do not fit the encoder, hold tensors that the settings do not explain, or lack some.
    """
    with seeded(0):
        loaded = load_encoder(encoder, label_names, origin, headless=foreign.headless)
        module, config = _as_peft_reads_it(foreign, loaded)
    written = _explicit(module, config)
    output = None if loaded.family.headless else loaded.family.output
    set_requires_grad(module, output, written.bias)
    tensors = adapter.adapter_tensors(module, loaded.randomly_initialised)
    values = {name: value.to(torch.float32) for name, value in tensors.items()}
    adapter.write_adapter(target, module, written, values, label_names)
    if foreign.headless:
        head, _ = adapter.read_tensor_file(foreign.folder / HEAD, "the head of an adapter")
        _write_head(target, head, label_names)
    return _compared(foreign, module.eval(), encoder, target, label_names)


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


def _as_peft_reads_it(foreign: Foreign, loaded: Loaded) -> tuple[Any, LoraConfig]:
    """Return the model with the adapter as peft builds and fills it, and peft's configuration."""
    where = str(foreign.folder / ADAPTER)
    own = {name: value for name, value in foreign.settings.items() if name != "peft_type"}
    try:
        config = LoraConfig(**own | {"inference_mode": True})
        check_rank(config, loaded.family.inventory(loaded.config, 2).hidden, where)
        with quiet_libraries():
            module: Any = get_peft_model(loaded.model, config)
    except BadInput:
        raise
    except Exception as error:
        # peft raises whatever its code raises that meets a setting first; all mean the same here.
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise BadInput(Problem(where, "settings that fit the encoder", found)) from error
    tensors, _ = adapter.read_tensors(foreign.folder)
    _check(foreign, module, tensors, loaded.randomly_initialised)
    set_peft_model_state_dict(module, {name: value.float() for name, value in tensors.items()})
    return module, config


def _check(
    foreign: Foreign, module: Any, tensors: Mapping[str, torch.Tensor], missing: Sequence[str]
) -> None:
    """Refuse a file that lacks a tensor of the classifier, or holds one that it does not have."""
    file = str(foreign.folder / TENSORS)
    expected: dict[str, torch.Tensor] = get_peft_model_state_dict(module, save_embedding_layers=False)
    expected = {name: value for name, value in expected.items() if ".original_module." not in name}
    allowed = {**module.state_dict(), **expected}
    problems = [
        Problem(file, f"the tensor '{name}'", "no tensor of that name")
        for name in sorted(expected.keys() - tensors.keys())
        if ".modules_to_save." not in name
    ]
    problems += [
        Problem(file, "tensors that the settings explain", f"'{excerpt(name, 120)}'")
        for name in sorted(tensors.keys() - allowed.keys())
    ]
    for name in sorted(allowed.keys() & tensors.keys()):
        shape, own = list(tensors[name].shape), list(allowed[name].shape)
        if shape != own:
            problems.append(Problem(file, f"'{name}' of shape {own}", f"shape {shape}"))
        elif not bool(torch.isfinite(tensors[name]).all()):
            problems.append(
                Problem(file, f"finite numbers in '{name}'", "NaN or infinity", "Its training diverged.")
            )
    if lost := [name for name in missing if f"{adapter.PREFIX}{name}" not in tensors]:
        found = f"none in the adapter and none in the encoder: {listed(lost[:4])}"
        remedy = "They were random in its training and were not saved, so nobody can use this adapter."
        problems.append(Problem(file, "every tensor that the classifier needs", found, remedy))
    if problems:
        raise BadInput(problems)


def _explicit(module: Any, config: LoraConfig) -> LoraConfig:
    """Return a configuration without patterns that describes the adapters in a model, matrix by matrix.

    Raises:
        BadInput: a module other than a linear layer is adapted.
    """
    ranks: dict[str, int] = {}
    scales: dict[str, Any] = {}
    saved = []
    for name, layer in module.get_base_model().named_modules():
        if isinstance(layer, ModulesToSaveWrapper):
            saved.append(name)
        if isinstance(layer, LoraLayer):
            if not isinstance(layer, Linear):
                raise BadInput(
                    Problem(f"the adapter of '{name}'", "an adapter of a linear layer", type(layer).__name__)
                )
            ranks[name], scales[name] = layer.r["default"], layer.lora_alpha["default"]
    rank = Counter(ranks.values()).most_common(1)[0][0]
    scale = Counter(scales.values()).most_common(1)[0][0]
    return LoraConfig(
        task_type=config.task_type,
        base_model_name_or_path=module.get_base_model().name_or_path,
        r=rank,
        lora_alpha=scale,
        lora_dropout=config.lora_dropout,
        target_modules="|".join(map(re.escape, ranks)),  # peft saves a list of names in a random order
        rank_pattern={name: r for name, r in ranks.items() if r != rank},
        alpha_pattern={name: alpha for name, alpha in scales.items() if alpha != scale},
        modules_to_save=sorted(saved) or None,
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        bias=config.bias,
    )


def _write_head(target: Path, head: Mapping[str, torch.Tensor], label_names: Sequence[str]) -> None:
    from submillion.model import head_file  # noqa: PLC0415

    layer = torch.nn.Linear(head["weight"].shape[1], len(label_names))
    layer.load_state_dict({name: value.float() for name, value in head.items()})
    head_file.write(target, layer, label_names)


def _compared(
    foreign: Foreign, module: Any, encoder: Path, target: Path, label_names: Sequence[str]
) -> tuple[int, float]:
    """Return the number of random texts, and the largest difference of a logit between original and written adapter.

    Raises:
        RuntimeError: they compute different functions.
    """
    classifier = open_adapter(encoder, target, label_names)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(classifier.vocabulary, (4, min(16, classifier.longest)), generator=generator)
    ids[ids == classifier.pad_id] = (classifier.pad_id + 1) % classifier.vocabulary
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        ours = classifier(batch)
        if foreign.headless:
            head, _ = adapter.read_tensor_file(foreign.folder / HEAD, "the head of an adapter")
            theirs = (
                module(**batch).last_hidden_state.mean(dim=1) @ head["weight"].float().T
                + head["bias"].float()
            )
        else:
            theirs = module(**batch).logits.float()
    difference = float((ours - theirs).abs().max())
    if not difference <= CLOSE * max(1.0, float(theirs.abs().max())):
        raise RuntimeError(
            f"the adopted adapter gives logits that differ by {difference:g} from the original's"
        )
    return len(ids), difference
