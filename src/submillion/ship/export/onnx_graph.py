"""Writes the ONNX graph of a classifier, in float32 and quantised to int8."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import torch
from torch import Tensor, nn

from submillion.model.heads import mean_over_tokens

if TYPE_CHECKING:
    from submillion.model.heads import PooledHead
    from submillion.ship.export.source import ExportSource

OPSET = 18
"""The one that torch's exporter writes without a conversion; onnxruntime 1.14 and later read it, its web build too."""
AXES = ("batch_size", "sequence_length")
_LOGGERS = ("torch.onnx", "torch.export", "torch._export", "onnxscript", "onnx_ir")


class Graph(nn.Module):
    """Token ids in, logits out: encoder, pooling and head in one module."""

    def __init__(self, model: nn.Module, head: PooledHead | None) -> None:
        """Take the parts of an `ExportSource`."""
        super().__init__()
        self.model, self.head = model, head

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return logits, float32 [B, C].

        Args:
            input_ids: int64 [B, S].
            attention_mask: int64 [B, S], 0 for padding.
            token_type_ids: int64 [B, S]; None for a model without token types.
        """
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
        if self.head is None:
            logits: Tensor = output.logits
            return logits
        pooled: Tensor = self.head(mean_over_tokens(output.last_hidden_state, attention_mask))
        return pooled


def write_graph(source: ExportSource, file: Path) -> None:
    """Write the graph in float32; inputs of any number of texts and of tokens, output `logits`.

    Args:
        source: the run.
        file: to write.
    """
    graph = Graph(source.model, source.head).eval()
    example = _example(source)
    shapes = {name: dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC) for name in example}
    with quiet_exporter(), torch.no_grad():
        program = torch.export.export(graph, (), kwargs=example, dynamic_shapes=shapes, strict=False)
        exported: Any = torch.onnx.export(
            program,
            input_names=list(example),
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    model = exported.model_proto
    _name_axes(model)
    _forget_sources(model)
    onnx.save(model, str(file))


def graph_of(source: ExportSource) -> Path:
    """Return the graph in float32 that several forms are made of; it is written when it is first needed."""
    file = source.scratch / "model.onnx"
    if not file.is_file():
        write_graph(source, file)
    return file


def write_int8(source: ExportSource, file: Path, reduce_range: bool) -> None:
    """Write the graph with weights in int8 by channel; activations are quantised while it runs.

    Args:
        source: the run.
        file: to write.
        reduce_range: weights of 7 bits, whose products cannot overflow the 16-bit sums of processors without VNNI.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - an optional extra
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415 - likewise

    prepared = source.scratch / "prepared.onnx"
    quantized = source.scratch / ("int7.onnx" if reduce_range else "int8.onnx")
    with quiet_exporter():
        if not prepared.is_file():
            quant_pre_process(str(graph_of(source)), str(prepared), skip_symbolic_shape=True)
        if not quantized.is_file():
            quantize_dynamic(
                str(prepared),
                str(quantized),
                per_channel=True,
                reduce_range=reduce_range,
                weight_type=QuantType.QInt8,
            )
    shutil.copyfile(quantized, file)


def _example(source: ExportSource) -> dict[str, Tensor]:
    """Return a batch to trace with: neither dimension is 0 or 1, which the tracer would take for constants."""
    length = min(16, source.longest)
    ids = torch.full((2, length), source.tokenizer.unk_token_id or 0, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, length // 2 :] = 0
    ids[mask == 0] = source.tokenizer.pad_token_id or 0
    values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return {name: values[name] for name in source.input_names}


def _name_axes(model: Any) -> None:
    """Give the axes of inputs and output the names that the ecosystem uses, in place of the tracer's symbols."""
    names: dict[str, str] = {}
    for entry in model.graph.input:
        for axis, name in zip(entry.type.tensor_type.shape.dim, AXES, strict=True):
            names[axis.dim_param] = name
    for entry in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in entry.type.tensor_type.shape.dim:
            if axis.dim_param in names:
                axis.dim_param = names[axis.dim_param]


def _forget_sources(model: Any) -> None:
    """Delete the Python stack traces of the exporter, which name folders of this machine."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    for function in model.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Suppress the warnings of torch's exporter inside the block: they concern its own code, not the graph."""
    loggers: Mapping[logging.Logger, int] = {
        logger: logger.level for logger in map(logging.getLogger, _LOGGERS)
    }
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
