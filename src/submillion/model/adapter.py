"""The adapter's two files, as plain peft reads them: written whole or not at all, read strictly."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from submillion.atomic import atomic_file
from submillion.errors import BadInput, Problem

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
PREFIX = "base_model.model."  # what peft puts before every name of the model that it wraps
ADDED = (
    ".lora_",
    ".vera_lambda_",
    ".modules_to_save.",
)  # what the names of trained parameters of peft's own hold
KINDS = ("LORA", "ADALORA", "VERA")
ANOTHER = "Was it trained with another recipe or another encoder?"


def adapter_tensors(module: PeftModel, drawn: Iterable[str]) -> dict[str, torch.Tensor]:
    """Return copies of all that the encoder's checkpoint does not hold, under the names that peft looks for.

    These are the adapters and trained modules, which peft itself would save, every other trained tensor,
    and every tensor that the checkpoint lacks: loading the encoder again would draw it anew.

    Args:
        drawn: names, in the model before peft wrapped it, of the tensors that the checkpoint lacks.
    """
    # save_embedding_layers="auto" would ask the hub for the encoder's config.
    found: dict[str, torch.Tensor] = get_peft_model_state_dict(module, save_embedding_layers=False)
    # Under bias="all" peft gives the biases of a trained module three times: as it was, as it is, and under its name.
    twice = (".original_module.", ".modules_to_save.")
    tensors = {name: value for name, value in found.items() if not any(part in name for part in twice)}
    state = module.state_dict()
    for name in drawn:
        owner, _, leaf = name.rpartition(".")
        # A module under LoRA holds its own tensors one level deeper; a module trained fully is in `tensors`.
        places = (f"{PREFIX}{name}", f"{PREFIX}{owner}.base_layer.{leaf}")
        if not any(place in tensors for place in places):
            place = next(place for place in places if place in state)
            tensors[place] = state[place]
    for name, value in module.named_parameters():
        if value.requires_grad and not any(part in name for part in ADDED):
            tensors.setdefault(name, value)
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


def write_adapter(
    folder: Path,
    module: PeftModel,
    config: PeftConfig,
    tensors: dict[str, torch.Tensor],
    label_names: Sequence[str],
) -> None:
    """Write adapter_config.json and adapter_model.safetensors; no hub is asked.

    Args:
        config: the adapter's, as it is to be read.
        tensors: as `adapter_tensors` gives them.
        label_names: class names by index, kept in the tensor file's metadata.

    Raises:
        SubmillionError: the disk refused; what stood there before still stands.
    """
    base = type(module.get_base_model())
    mapping = {"base_model_class": base.__name__, "parent_library": base.__module__}
    # peft's AutoPeftModel finds the class by task type, or by this mapping where there is none.
    named = {} if config.task_type else {"auto_mapping_dict": mapping}
    training, config.inference_mode = config.inference_mode, True
    try:
        with (
            atomic_file(folder / CONFIG) as temporary,
            tempfile.TemporaryDirectory(dir=folder, prefix=f".{CONFIG}.") as scratch,
        ):
            config.save_pretrained(scratch, **named)
            temporary.write_bytes((Path(scratch) / CONFIG).read_bytes())
    finally:
        config.inference_mode = training
    # One entry only: safetensors writes several in an order that changes from call to call.
    data = save(tensors, {"label_names": json.dumps(list(label_names))})
    with atomic_file(folder / TENSORS) as temporary:
        temporary.write_bytes(data)


def read_config(folder: Path) -> PeftConfig:
    """Return the adapter's configuration, set for use in training or evaluation.

    Raises:
        BadInput: the folder holds no adapter of the kinds that recipes know.
    """
    file = folder / CONFIG
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        kind = values["peft_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            Problem(str(file), "the configuration of a LoRA adapter", f"{error}", ANOTHER)
        ) from error
    if kind not in KINDS:
        raise BadInput(Problem(str(file), "a LoRA adapter", f"one of kind {kind}"))
    config: PeftConfig = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = False
    return config


def read_tensors(folder: Path) -> tuple[dict[str, torch.Tensor], list[str] | None]:
    """Return the adapter's tensors by name, and its label names (None in an adapter that others wrote).

    Raises:
        BadInput: the file is missing or damaged.
    """
    file = folder / TENSORS
    try:
        with safe_open(file, framework="pt") as opened:
            labels = (opened.metadata() or {}).get("label_names")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise BadInput(Problem(str(file), "the tensors of an adapter", f"{error}")) from error
    return tensors, None if labels is None else json.loads(labels)


def check_tensors(
    folder: Path,
    found: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    known: Iterable[str],
) -> None:
    """Refuse tensors that are not exactly those the classifier needs; nothing is ever drawn in their place.

    Args:
        found: what the file holds.
        expected: what the classifier would save.
        known: names that may be there as well: tensors of the encoder that its checkpoint has by now.

    Raises:
        BadInput: a tensor is missing, too many or of another shape; all of them are told.
    """
    file, allowed = str(folder / TENSORS), {*expected, *known}
    problems = [
        Problem(file, f"the tensor '{name}'", "none of that name", ANOTHER)
        for name in sorted(expected.keys() - found.keys())
    ]
    problems += [
        Problem(file, "only tensors of this classifier", f"'{name}'", ANOTHER)
        for name in sorted(found.keys() - allowed)
    ]
    problems += [
        Problem(file, f"'{name}' of shape {list(tensor.shape)}", f"shape {list(found[name].shape)}", ANOTHER)
        for name, tensor in sorted(expected.items())
        if name in found and found[name].shape != tensor.shape
    ]
    if problems:
        raise BadInput(problems)


def check_labels(folder: Path, saved: Any, wanted: Sequence[str]) -> None:
    """Refuse to read an adapter's logits under other names than it was trained with.

    Raises:
        BadInput: number, names or order of the labels differ.
    """
    if saved is not None and list(saved) != list(wanted):
        expected = f"the {len(saved)} labels it was trained with ({', '.join(saved)})"
        found = f"{len(wanted)}: {', '.join(wanted)}"
        raise BadInput(Problem(str(folder), expected, found, "Column i of the logits stands for label i."))
