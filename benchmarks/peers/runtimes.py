"""Prediction in OpenVINO and onnxruntime: in float32 or bfloat16, and with products in int8.

Measured with MiniLM and mpnet-base on two cores with VNNI, each against the other settings of its runtime:

- batches of 32 of similar length, padded to their longest text; 16 and 64 differ by less than the noise.
- one batch per core at a time; both cores on one batch (OpenVINO's LATENCY) reach 0.65 to 0.8 of that speed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.lora import adapted, classifier
from benchmarks.texts import Texts, read_texts
from benchmarks.variants import Opened, Setting

Inputs = dict[str, np.ndarray]
OPSET = 18


def open_openvino(setting: Setting, precision: str) -> Opened:
    """Predict in OpenVINO with merged adapters.

    Args:
        setting: what all variants share.
        precision: `f32`, `bf16`, or `int8`: nncf's post-training quantization, calibrated on the warm-up's texts.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an import then fails, and nothing is sent
    import openvino

    texts = read_texts(setting)
    example = {name: torch.from_numpy(values) for name, values in _padded(texts, texts.longest[:2]).items()}
    model = openvino.convert_model(_merged(setting), example_input=example)
    if precision == "int8":
        os.environ["NNCF_CI"] = "1"  # no telemetry
        import nncf

        alone = [_padded(texts, [row]) for row in texts.longest]
        model = nncf.quantize(
            model, nncf.Dataset(alone), subset_size=len(alone), model_type=nncf.ModelType.TRANSFORMER
        )
    compiled = openvino.Core().compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        },
    )
    requests = openvino.AsyncInferQueue(compiled)

    def run(batches: Sequence[Inputs]) -> None:
        for batch in batches:
            requests.start_async(batch)
        requests.wait_all()

    return _opened(setting, texts, run)


def open_onnxruntime(setting: Setting, precision: str) -> Opened:
    """Predict in onnxruntime with merged adapters.

    Args:
        setting: what all variants share.
        precision: `f32`, or `int8`: dynamic quantization with scales per channel.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    texts, threads = read_texts(setting), torch.get_num_threads()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors
    with tempfile.TemporaryDirectory(prefix="onnx-") as folder:
        file = _write_onnx(setting, _padded(texts, texts.longest[:2]), Path(folder), precision == "int8")
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    pool = ThreadPoolExecutor(threads)

    def run(batches: Sequence[Inputs]) -> None:
        list(pool.map(lambda batch: session.run(None, batch), batches))

    return _opened(setting, texts, run)


def _merged(setting: Setting) -> torch.nn.Module:
    model: torch.nn.Module = adapted(classifier(setting.encoder)).merge_and_unload().eval()
    return model


def _padded(texts: Texts, rows: Sequence[int]) -> Inputs:
    batch = texts.padded(rows)
    return {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}


def _write_onnx(setting: Setting, example: Inputs, folder: Path, int8: bool) -> Path:
    """Write the graph for any number of texts and tokens, and return its file."""
    import onnx

    tensors = {name: torch.from_numpy(values) for name, values in example.items()}
    with torch.no_grad():
        exported: Any = torch.onnx.export(
            _merged(setting),
            (),
            kwargs=tensors,
            dynamic_shapes={name: dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC) for name in tensors},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    onnx.save(exported.model_proto, str(folder / "model.onnx"))  # one file, as the quantization expects
    if not int8:
        return folder / "model.onnx"
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, quantized = folder / "prepared.onnx", folder / "int8.onnx"
    quant_pre_process(str(folder / "model.onnx"), str(prepared), skip_symbolic_shape=True)
    quantize_dynamic(str(prepared), str(quantized), per_channel=True, weight_type=QuantType.QInt8)
    return quantized


def _opened(setting: Setting, texts: Texts, run: Callable[[Sequence[Inputs]], None]) -> Opened:
    """Return the variant whose round is one call with all texts, as in `library.open_inference`."""
    all_rows = [row for batch in texts.mixed for row in batch]

    def predict(rows: Sequence[int]) -> None:
        by_length = sorted(rows, key=lambda row: -len(texts.ids[row]))
        starts = range(0, len(by_length), setting.batch_size)
        run([_padded(texts, by_length[start : start + setting.batch_size]) for start in starts])

    facts = {"tokens_per_text": texts.tokens_per_text}
    return Opened(predict, [all_rows], [texts.longest, texts.grouped[0]], facts)
