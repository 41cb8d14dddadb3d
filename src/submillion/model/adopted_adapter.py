"""Writes a LoRA classifier that another program trained as an adapter of a run that computes the same function."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import Linear, LoraLayer
from peft.utils import ModulesToSaveWrapper

from submillion.errors import BadInput, Problem
from submillion.model import adapter, head_file
from submillion.model.adapter_settings import check_rank
from submillion.model.build import open_adapter, set_requires_grad
from submillion.model.foreign import Foreign
from submillion.model.heads import PooledHead
from submillion.model.loading import Loaded, load_encoder, quiet_libraries
from submillion.model.process_state import seeded
from submillion.model.variants import NO_MODULE
from submillion.sources.adapter_files import CONFIG, HEAD, PREFIX, TENSORS
from submillion.wording import excerpt, listed

CLOSE = 1e-3
"""Largest difference of a logit, as a share of the largest logit, between the original and the written adapter."""


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
    head = _head(foreign, label_names) if foreign.headless else None
    if head is not None:
        head_file.write(target, head, label_names)
    return _compared(module.eval(), head, encoder, target, label_names)


def _as_peft_reads_it(foreign: Foreign, loaded: Loaded) -> tuple[Any, LoraConfig]:
    """Return the model with the adapter as peft builds and fills it, and peft's configuration."""
    where = str(foreign.folder / CONFIG)
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
    if lost := [name for name in missing if f"{PREFIX}{name}" not in tensors]:
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
    # An adapter of biases alone has no rank of its own.
    rank = Counter(ranks.values()).most_common(1)[0][0] if ranks else config.r
    scale = Counter(scales.values()).most_common(1)[0][0] if scales else config.lora_alpha
    return LoraConfig(
        task_type=config.task_type,
        base_model_name_or_path=module.get_base_model().name_or_path,
        r=rank,
        lora_alpha=scale,
        lora_dropout=config.lora_dropout,
        target_modules="|".join(map(re.escape, ranks))
        or NO_MODULE,  # peft saves a list of names in a random order
        rank_pattern={name: r for name, r in ranks.items() if r != rank},
        alpha_pattern={name: alpha for name, alpha in scales.items() if alpha != scale},
        modules_to_save=sorted(saved) or None,
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        bias=config.bias,
    )


def _head(foreign: Foreign, label_names: Sequence[str]) -> PooledHead:
    """Return the head that reads the mean of the last states."""
    tensors, _ = adapter.read_tensor_file(foreign.folder / HEAD, head_file.EXPECTED)
    head = PooledHead(tensors["weight"].shape[1], len(label_names), foreign.normalize)
    head.layer.load_state_dict({name: value.float() for name, value in tensors.items()})
    return head


def _compared(
    module: Any,
    head: PooledHead | None,
    encoder: Path,
    target: Path,
    label_names: Sequence[str],
) -> tuple[int, float]:
    """Return the number of random texts, and the largest difference of a logit between original and written adapter.

    Args:
        module: the original as peft reads it; the encoder alone if there is a `head`.
        head: the original's own head, which reads the mean of the last states.
        encoder: folder of the encoder.
        target: folder of the written adapter.
        label_names: class names by index.

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
        if head is None:
            theirs = module(**batch).logits.float()
        else:
            theirs = head(module(**batch).last_hidden_state.mean(dim=1))
    difference = float((ours - theirs).abs().max())
    if not difference <= CLOSE * max(1.0, float(theirs.abs().max())):
        raise RuntimeError(
            f"the adopted adapter gives logits that differ by {difference:g} from the original's"
        )
    return len(ids), difference
