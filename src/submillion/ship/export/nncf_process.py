"""A process that quantises an ONNX graph to int8 by nncf's post-training quantisation, and writes it for OpenVINO.

Run as `python -m submillion.ship.export.nncf_process GRAPH CALIBRATION OUT INPUT [INPUT ...]`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np


def quantise(graph: str, calibration: str, out: str, names: Sequence[str]) -> None:
    """Write the quantised graph.

    Args:
        graph: an ONNX file.
        calibration: an .npz file with `ids`, the tokens of all texts end to end, and `offsets` [N + 1].
        out: the .xml file to write.
        names: inputs of the graph.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an import then fails, and nothing is sent
    import nncf  # noqa: PLC0415 - after the line above
    import openvino  # noqa: PLC0415 - likewise

    arrays = np.load(calibration)
    ids, offsets = arrays["ids"].astype(np.int64), arrays["offsets"]

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for start, stop in pairwise(offsets):
            row = ids[None, start:stop]
            values = {
                "input_ids": row,
                "attention_mask": np.ones_like(row),
                "token_type_ids": np.zeros_like(row),
            }
            yield {name: values[name] for name in names}

    texts = list(batches())
    model = nncf.quantize(
        openvino.Core().read_model(graph),
        nncf.Dataset(texts),
        subset_size=len(texts),
        model_type=nncf.ModelType.TRANSFORMER,
    )
    openvino.save_model(model, out, compress_to_fp16=False)


if __name__ == "__main__":
    graph_file, calibration_file, out_file, *input_names = sys.argv[1:]
    quantise(graph_file, calibration_file, out_file, input_names)
