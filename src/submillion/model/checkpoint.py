"""The tensors in an encoder's weight files, compared with its config.json before a model is built from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.model.heads import head_modules, outside_head
from submillion.sources.folder import weight_files
from submillion.wording import listed

if TYPE_CHECKING:
    from torch import Tensor

    from submillion.families.family import Family

# A checkpoint may lack some tensors, but the model built from config.json must not be larger than this many times its
# weights: its memory would be decided by a number in a text file.
LARGEST_RATIO = 2
SAME = "Are config.json and weights of the same encoder?"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors that an encoder's folder holds."""

    folder: Path
    shapes: Mapping[str, tuple[int, ...]]
    """By name, as in the files."""

    @classmethod
    def of(cls, folder: Path) -> Checkpoint:
        """Read the headers of the weight files.

        Raises:
            BadInput: a file cannot be read.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        try:
            for name in weight_files(folder):
                with safe_open(folder / name, framework="pt") as opened:
                    for tensor in opened.keys():  # noqa: SIM118 (not a mapping)
                        shapes[tensor] = tuple(opened.get_slice(tensor).get_shape())
        except (OSError, SafetensorError) as error:
            raise BadInput(
                Problem(str(folder), "an encoder that transformers can load", " ".join(str(error).split()))
            ) from error
        return cls(folder, shapes)

    def check_size(self, family: Family, config: Mapping[str, Any]) -> None:
        """Reject a config.json that describes a much larger encoder than the weights are.

        Raises:
            BadInput: see above.
        """
        inventory = family.inventory(config, 2)
        described = sum((part.total for part in inventory.layers), inventory.outside.total)
        held = sum(map(prod, self.shapes.values()))
        if described > LARGEST_RATIO * held:
            raise BadInput(
                Problem(
                    str(self.folder),
                    f"the weights of a {family.name} encoder with the {described:,} parameters of its config.json",
                    f"weights with {held:,} values",
                    SAME,
                )
            )

    def foreign_head(self, family: Family) -> ForeignHead | None:
        """Return the classification head in the checkpoint, None if it has none.

        A checkpoint without an output layer has no head: what precedes that layer (BERT's pooler, ModernBERT's dense
        layer) then comes from the pretraining.
        """
        output = f"{family.output}.weight"
        if output not in self.shapes:
            return None
        own = [module for module in head_modules(family) if not module.startswith(f"{family.base}.")]
        return ForeignHead(output, self.shapes[output], own)


@dataclass(frozen=True)
class ForeignHead:
    """The head of a classifier that this program did not train."""

    output: str
    """The weight of its output layer."""
    shape: tuple[int, ...]
    """Of that weight: classes, hidden size."""
    modules: Sequence[str]
    """The modules that belong to it and not to the encoder."""

    def other_tensors(self, folder: Path) -> dict[str, Tensor]:
        """Return the tensors in an encoder's weight files, without those of this head."""
        owners = tuple(f"{module}." for module in self.modules)
        return {
            name: tensor
            for file in weight_files(folder)
            for name, tensor in load_file(folder / file).items()
            if not name.startswith(owners)
        }

    def notice(self, config: Mapping[str, Any]) -> None:
        """Emit a notice that this head is not used, unless it is that of another task."""
        architectures = config.get("architectures")
        names = architectures if isinstance(architectures, list) else []
        if names and not any("SequenceClassification" in str(name) for name in names):
            return
        classes = self.shape[0] if self.shape else 0
        notices.emit(
            "foreign_head",
            f"the encoder comes with the head of another classifier ({classes:,} outputs); its encoder is used, and a "
            "new head is drawn from the seed.",
            tensor=self.output,
            outputs=classes,
        )


def check_tensors(folder: Path, family: Family, names: Sequence[str], info: Mapping[str, Any]) -> list[str]:
    """Reject the weights of another encoder; emit notices about tensors that are missing or not used.

    Args:
        folder: the encoder's, for messages.
        family: the encoder's family.
        names: the names of all tensors of the model.
        info: the loading info of transformers.

    Returns:
        The names of the tensors that the checkpoint lacks, those of the head among them.

    Raises:
        BadInput: a tensor has another shape, a layer lacks a tensor, or more than half of the tensors are missing.
    """
    missing, mismatched = sorted(info["missing_keys"]), sorted(info["mismatched_keys"])
    if mismatched:
        name, shape, expected = mismatched[0]
        where, found = str(folder / "model.safetensors"), f"shape {list(shape)}"
        raise BadInput(
            Problem(where, f"'{name}' of shape {list(expected)}, by the sizes in config.json", found, SAME)
        )
    of_encoder, lacking = outside_head(family, names), outside_head(family, missing)
    of_layers = [name for name in lacking if name.startswith(f"{family.layers}.")]
    if of_layers or len(lacking) * 2 > len(of_encoder):
        first = (of_layers or lacking)[0]
        raise BadInput(
            Problem(
                str(folder),
                f"the weights of a {family.name} encoder",
                f"a checkpoint that lacks {len(lacking)} of its {len(of_encoder)} tensors ('{first}'"
                f"{' and others' if len(lacking) > 1 else ''})",
                SAME,
            )
        )
    if lacking:
        notices.emit(
            "missing_tensors",
            f"the checkpoint lacks {len(lacking)} of the encoder's tensors ({', '.join(lacking[:3])}); they "
            "are initialised from the seed and saved with the adapter",
            tensors=lacking,
        )
    _notice_unused_layers(family, sorted(info["unexpected_keys"]))
    return missing


def _notice_unused_layers(family: Family, unexpected: Sequence[str]) -> None:
    """Emit a notice if the checkpoint has layers that config.json does not count."""
    pattern = re.compile(rf"(?:{re.escape(family.base)}\.)?{re.escape(family.layer_list)}\.(\d+)\.")
    layers = sorted({int(match[1]) for name in unexpected if (match := pattern.match(name))})
    if layers:
        notices.emit(
            "unused_layers",
            f"the checkpoint has layers that its config.json does not count, and they are not used: "
            f"{listed([str(layer) for layer in layers])}.",
            layers=layers,
        )
