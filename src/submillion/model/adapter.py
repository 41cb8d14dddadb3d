"""The two files of an adapter in peft's format: written atomically, read strictly."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from submillion.errors import BadInput, Problem
from submillion.files import strict_json
from submillion.files.atomic import atomic_file
from submillion.model.adapter_settings import ANOTHER, settings_of
from submillion.sources.adapter_files import CONFIG, PREFIX, TENSORS

# A name that contains one of these is a trained parameter that peft added.
ADDED = (".lora_", ".vera_lambda_", ".modules_to_save.")


def adapter_tensors(module: PeftModel, randomly_initialised: Iterable[str]) -> dict[str, torch.Tensor]:
    """Return copies of all tensors that the encoder's checkpoint lacks, under the names that peft reads.

    These are the adapters and trained modules, which peft itself would save, every other trained tensor, and every
    randomly initialised tensor: loading the encoder again would draw other values.

    Args:
        module: the PeftModel.
        randomly_initialised: names, in the model before peft wrapped it, of the tensors that the checkpoint lacks.
    """
    # save_embedding_layers="auto" would ask the hub for the encoder's config.
    saved: dict[str, torch.Tensor] = get_peft_model_state_dict(module, save_embedding_layers=False)
    # Under bias="all" peft returns a trained module's bias three times: the original, the trained, and by its name.
    duplicates = (".original_module.", ".modules_to_save.")
    tensors = {name: value for name, value in saved.items() if not any(part in name for part in duplicates)}
    state = module.state_dict()
    for name in randomly_initialised:
        owner, _, leaf = name.rpartition(".")
        # A module with LoRA holds its own tensors one level deeper; a fully trained module is in `tensors`.
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
    """Write adapter_config.json and adapter_model.safetensors without a request to the hub.

    Args:
        folder: the folder of the two files.
        module: the PeftModel.
        config: the configuration to write.
        tensors: the result of `adapter_tensors`.
        label_names: class names by index, stored in the tensor file's metadata.

    Raises:
        SubmillionError: the disk refused a file; the file that was there before is unchanged.
    """
    base = type(module.get_base_model())
    mapping = {"base_model_class": base.__name__, "parent_library": base.__module__}
    # AutoPeftModel finds the class by the task type, or by this mapping if there is no task type.
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
    # Only one entry: safetensors writes several entries in an order that differs between calls.
    data = save(tensors, {"label_names": json.dumps(list(label_names))})
    with atomic_file(folder / TENSORS) as temporary:
        temporary.write_bytes(data)


def read_adapter_config(folder: Path) -> PeftConfig:
    """Return an adapter's configuration, for training or evaluation.

    Raises:
        BadInput: the folder holds no adapter of a kind that recipes support.
    """
    file = folder / CONFIG
    config = settings_of(strict_json.read(file, "the configuration of a LoRA adapter", ANOTHER), str(file))
    config.inference_mode = False
    return config


def read_tensors(folder: Path) -> tuple[dict[str, torch.Tensor], list[str] | None]:
    """Return an adapter's tensors by name, and its label names (None if another program wrote the file).

    Raises:
        BadInput: the file is missing or damaged.
    """
    return read_tensor_file(folder / TENSORS, "the tensors of an adapter")


def read_tensor_file(file: Path, expected: str) -> tuple[dict[str, torch.Tensor], list[str] | None]:
    """Return the tensors of a safetensors file by name, and the label names in its metadata.

    Args:
        file: to read.
        expected: what it should hold, for messages.

    Raises:
        BadInput: the file is missing or damaged.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            labels = (opened.metadata() or {}).get("label_names")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise BadInput(Problem(str(file), expected, f"{error}")) from error
    if labels is None:
        return tensors, None
    names = strict_json.parse(labels, f"{file}, label_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(Problem(f"{file}, label_names", "a list of names", "something else"))
    return tensors, names


def check_tensors(
    folder: Path,
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    known: Mapping[str, torch.Tensor],
) -> None:
    """Reject tensors that are not exactly those of the classifier; a missing tensor is never randomly initialised.

    Args:
        folder: the adapter's folder, for messages.
        tensors: the tensors in the file.
        expected: the tensors that the classifier would save.
        known: tensors that may also be in the file: those of the encoder that its checkpoint holds now.

    Raises:
        BadInput: a tensor is missing, unexpected, of another shape or number format, or has values that are not finite;
            the error lists all of them.
    """
    file, allowed = str(folder / TENSORS), {**known, **expected}
    problems = [
        Problem(file, f"the tensor '{name}'", "no tensor of that name", ANOTHER)
        for name in sorted(expected.keys() - tensors.keys())
    ]
    problems += [
        Problem(file, "only tensors of this classifier", f"'{name}'", ANOTHER)
        for name in sorted(tensors.keys() - allowed.keys())
    ]
    for name in sorted(allowed.keys() & tensors.keys()):
        found, own = tensors[name], allowed[name]
        if found.shape != own.shape:
            expectation = f"'{name}' of shape {list(own.shape)}"
            problems.append(Problem(file, expectation, f"shape {list(found.shape)}", ANOTHER))
        elif found.dtype != own.dtype:
            problems.append(Problem(file, f"'{name}' in {own.dtype}", str(found.dtype), ANOTHER))
        elif not bool(torch.isfinite(found).all()):
            remedy = "The training diverged, or the file is damaged."
            problems.append(Problem(file, f"finite numbers in '{name}'", "NaN or infinity", remedy))
    if problems:
        raise BadInput(problems)


def check_labels(folder: Path, saved: Sequence[str] | None, labels: Sequence[str]) -> None:
    """Reject labels that are not those the adapter was trained with.

    Args:
        folder: the adapter's folder, for messages.
        saved: the adapter's own labels by index; None if it has none.
        labels: the labels to use.

    Raises:
        BadInput: number, names or order of the labels differ.
    """
    if saved is not None and list(saved) != list(labels):
        expected = f"the {len(saved)} labels it was trained with ({', '.join(saved)})"
        others = f"{len(labels)}: {', '.join(labels)}"
        raise BadInput(Problem(str(folder), expected, others, "Pass the labels in the order of training."))
