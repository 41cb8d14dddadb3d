"""Lets opened runs on the same encoder use one copy of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch

from submillion.model import adapter
from submillion.model.execution.packed import Packed
from submillion.model.execution.windowed import unwindowed

if TYPE_CHECKING:
    from submillion.model.classifier import Classifier
    from submillion.model.trained import OpenedRun


def share_encoder(opened: Mapping[str, OpenedRun]) -> list[list[str]]:
    """Let runs use the first one's frozen weights where all of theirs are equal, bit by bit.

    The frozen tensors of the others then are the first one's, and its kernels' copy of them serves all. Runs that
    share weights must be used by one thread, since the kernels hold one batch.

    Args:
        opened: runs by name, opened with their adapters beside the weights; none of them has been used.

    Returns:
        The names of the runs, grouped by the weights that they use. A run whose weights differ, for example because
        its biases were trained, is alone.
    """
    groups: list[list[str]] = []
    for name, one in opened.items():
        for group in groups:
            if _share(opened[group[0]], one):
                group.append(name)
                break
        else:
            groups.append([name])
    return groups


def _share(first: OpenedRun, other: OpenedRun) -> bool:
    """Let `other` use the frozen weights of `first`; False if they differ, and nothing is changed."""
    executions = unwindowed(first.execution), unwindowed(other.execution)
    if type(executions[0]) is not type(executions[1]):
        return False
    shared = _equal_frozen(first.classifier, other.classifier)
    if shared is None:
        return False
    if isinstance(executions[0], Packed) and not cast(Packed, executions[1]).use_weights_of(executions[0]):
        return False
    for mine, theirs in shared:
        mine.data = theirs.data
    return True


def _equal_frozen(
    first: Classifier, other: Classifier
) -> list[tuple[torch.nn.Parameter, torch.nn.Parameter]] | None:
    """Return the pairs of the encoders' frozen tensors, `other`'s first; None if one differs or is trained.

    Tensors of the adapters are not compared: they differ in rank and place.
    """
    mine, theirs = _encoder_tensors(other), _encoder_tensors(first)
    if mine.keys() != theirs.keys():
        return None
    pairs = [(value, theirs[name]) for name, value in mine.items()]
    for value, same in pairs:
        if (
            value.requires_grad
            or same.requires_grad
            or value.shape != same.shape
            or not torch.equal(value, same)
        ):
            return None
    return pairs


def _encoder_tensors(classifier: Classifier) -> dict[str, torch.nn.Parameter]:
    """Return the parameters of embeddings and layers without those of the adapters, by the encoder's own names."""
    modules = [*classifier.stack.embedding_modules, classifier.stack.owner]
    return {
        f"{number}.{name.replace('.base_layer', '')}": value
        for number, module in enumerate(modules)
        for name, value in module.named_parameters()
        if not any(part in f".{name}" for part in adapter.ADDED)
    }
