"""Writes the OpenVINO graph of a classifier, in float32 and quantised to int8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from submillion.errors import SubmillionError
from submillion.ship.export.onnx_graph import graph_of
from submillion.ship.export.sessions import import_openvino

if TYPE_CHECKING:
    from submillion.ship.export.source import ExportSource

CHILD = "submillion.ship.export.nncf_process"


def write_openvino(source: ExportSource, file: Path) -> None:
    """Write the graph in float32: an .xml with its weights in the .bin beside it.

    Args:
        source: the run.
        file: to write, its name ends in .xml.
    """
    openvino = import_openvino()
    model = openvino.Core().read_model(str(graph_of(source)))
    openvino.save_model(model, str(file), compress_to_fp16=False)


def write_openvino_int8(source: ExportSource, file: Path) -> None:
    """Write the graph with weights and activations in int8, calibrated on the source's training texts.

    nncf replaces functions of torch when it is imported, draws progress bars and sends events to Google Analytics.
    Therefore it runs in a process of its own, without its telemetry.

    Args:
        source: the run.
        file: as in `write_openvino`.

    Raises:
        SubmillionError: nncf failed.
    """
    ids = source.tokenizer(list(source.calibration_texts), truncation=True)["input_ids"]
    calibration = source.scratch / "calibration.npz"
    np.savez(calibration, ids=np.concatenate(ids), offsets=np.cumsum([0, *map(len, ids)]))
    done = subprocess.run(
        [sys.executable, "-P", "-m", CHILD, graph_of(source), calibration, file, *source.input_names],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NNCF_CI": "1", "CI": "1"},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SubmillionError(f"nncf could not quantise the graph: {last}")
