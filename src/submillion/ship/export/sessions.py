"""Opens an exported file in the program that will read it: texts in, logits out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from submillion.errors import BadInput, Problem
from submillion.model import head_file
from submillion.model.heads import mean_over_tokens
from submillion.model.loading import CODE, quiet_libraries
from submillion.model.process_state import preserved_signal_stack
from submillion.sources.adapter_files import HEAD
from submillion.sources.folder import CONFIG, encoder_files, read_config

NAME_CODE = (*CODE, "_attn_implementation")
"""Entries of config.json that an export does not have, because transformers loads code by them."""


class Session(Protocol):
    """An exported classifier, opened by its own runtime."""

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return logits [B, C] of a batch of B texts; columns in the order of id2label."""
        ...


class Batches:
    """Makes batches with the exported tokenizer alone, as a user of the files does."""

    def __init__(self, folder: Path) -> None:
        """Load the tokenizer of the export `folder`."""
        with quiet_libraries():
            self._tokenizer: Any = AutoTokenizer.from_pretrained(  # nosec B615
                str(folder), local_files_only=True, trust_remote_code=False
            )

    def of(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the inputs of the model for B texts, int64 [B, S] each."""
        batch = self._tokenizer(list(texts), truncation=True, padding=True, return_tensors="np")
        return {name: values.astype(np.int64) for name, values in batch.items()}


class TransformersSession:
    """A merged checkpoint in transformers; a mean-pooled one as the five lines of its card do it."""

    def __init__(self, folder: Path) -> None:
        """Load the model from the export `folder`.

        Raises:
            BadInput: transformers would load code, a pickle or an adapter from the folder.
        """
        encoder_files(folder, str(folder))
        config = read_config(folder, str(folder))
        if named := [key for key in NAME_CODE if config.get(key) is not None]:
            found = f"{named[0]}, by which transformers may run other code"
            raise BadInput(Problem(str(folder / CONFIG), "the settings of a model of transformers", found))
        self._batches = Batches(folder)
        head = folder / HEAD
        self._head = load_file(head) if head.is_file() else None
        self._normalize = self._head is not None and head_file.normalizes(head)
        kind = AutoModelForSequenceClassification if self._head is None else AutoModel
        with quiet_libraries():
            self._model: Any = kind.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True
            ).eval()

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return logits; see `Session`."""
        batch = {name: torch.from_numpy(values) for name, values in self._batches.of(texts).items()}
        with torch.inference_mode():
            output = self._model(**batch)
            if self._head is None:
                logits = output.logits
            else:
                features = mean_over_tokens(output.last_hidden_state, batch["attention_mask"])
                if self._normalize:
                    features = torch.nn.functional.normalize(features)
                logits = features @ self._head["weight"].T + self._head["bias"]
        result: np.ndarray = logits.numpy()
        return result


class OnnxSession:
    """A graph in onnxruntime, on the CPU."""

    def __init__(self, folder: Path, file: str) -> None:
        """Load `file` of the export `folder`."""
        onnxruntime = import_onnxruntime()
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        self._batches = Batches(folder)
        self._session = onnxruntime.InferenceSession(
            str(folder / file), options, providers=["CPUExecutionProvider"]
        )
        self._names = {entry.name for entry in self._session.get_inputs()}

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return logits; see `Session`."""
        batch = self._batches.of(texts)
        fed = {name: values for name, values in batch.items() if name in self._names}
        result: np.ndarray = self._session.run(["logits"], fed)[0]
        return result


class OpenvinoSession:
    """A graph in OpenVINO, on the CPU."""

    def __init__(self, folder: Path, file: str) -> None:
        """Load `file` of the export `folder`."""
        openvino = import_openvino()
        self._batches = Batches(folder)
        with preserved_signal_stack():
            self._model = openvino.Core().compile_model(str(folder / file), "CPU")
        self._names = {name for entry in self._model.inputs for name in entry.names}

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return logits; see `Session`."""
        batch = self._batches.of(texts)
        fed = {name: values for name, values in batch.items() if name in self._names}
        return np.array(self._model(fed)["logits"])


def import_onnxruntime() -> Any:
    """Return the module onnxruntime."""
    import onnxruntime  # noqa: PLC0415 - an optional extra

    return onnxruntime


def import_openvino() -> Any:
    """Return the module openvino, imported without its telemetry."""
    with _no_telemetry():
        import openvino  # noqa: PLC0415 - an optional extra

    return openvino


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Let OpenVINO's Python package find no telemetry library while it is imported inside the block.

    With the library it would write to the home directory and send an event to Google Analytics when it is imported.
    """
    name = "openvino_telemetry"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # an import then fails
    try:
        yield
    finally:
        sys.modules.pop(name, None)
