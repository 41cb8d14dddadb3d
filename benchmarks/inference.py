"""Measures prediction speed with a LoRA classifier: transformers with a merged adapter, and submillion.

    python -m benchmarks.inference --data FOLDER --encoder FOLDER [--lengths 8-32] [--json FILE] [--only NAME,...]

Rank 8 on query and value; texts of AG News of at most 128 tokens, the same for all. --lengths cuts each at a random
number of tokens. `usual` is float32 with batches in
input order, padded to their longest text; `usual_sorted` is the same with batches of similar length, and `best_peer` in
bfloat16 as well. `packed` applies the adapters beside the weights; `packed_merged` merges them into the weights, as
`submillion predict` does; `packed_int8` quantizes them then, as `submillion predict --precision auto` does where a run
has proven it. The row names the number format of the kernels. `openvino_*` and `onnxruntime_*` are described in
benchmarks/peers/runtimes.py; they and the rows of submillion get all texts of a round at once, and sort them.
`packed_merged_modernbert` and `packed_int8_modernbert`, which run only if --only names them, have the shape of
ModernBERT-base with random weights, and adapters on every linear layer.
"""

from __future__ import annotations

import sys

from benchmarks.harness import main
from benchmarks.variants import Variant

_SHAPE = {"base": "packed_merged_modernbert", "encoder": "modernbert-base"}
_LINEAR = {"all_linear": True}
VARIANTS = {
    "usual": Variant("benchmarks.peers.usual:open_inference"),
    "usual_sorted": Variant("benchmarks.peers.usual:open_inference", {"by_length": True}),
    "best_peer": Variant("benchmarks.peers.best:open_inference"),
    "packed": Variant("benchmarks.library:open_inference", {"execution": "packed"}),
    "packed_merged": Variant("benchmarks.library:open_inference", {"execution": "packed", "merged": True}),
    "packed_int8": Variant("benchmarks.library:open_int8_inference", base="openvino_int8"),
    "openvino_int8": Variant("benchmarks.peers.runtimes:open_openvino", {"precision": "int8"}),
    "openvino_bf16": Variant("benchmarks.peers.runtimes:open_openvino", {"precision": "bf16"}),
    "onnxruntime_int8": Variant("benchmarks.peers.runtimes:open_onnxruntime", {"precision": "int8"}),
    "onnxruntime_float32": Variant("benchmarks.peers.runtimes:open_onnxruntime", {"precision": "f32"}),
}
CHOICES = {
    "openvino_float32": Variant("benchmarks.peers.runtimes:open_openvino", {"precision": "f32"}),
    "reference": Variant("benchmarks.library:open_inference", {"execution": "reference"}),
    "packed_merged_modernbert": Variant(
        "benchmarks.library:open_inference", {"execution": "packed", "merged": True, **_LINEAR}, **_SHAPE
    ),
    "packed_int8_modernbert": Variant("benchmarks.library:open_int8_inference", _LINEAR, **_SHAPE),
}

if __name__ == "__main__":
    sys.exit(main(__doc__, VARIANTS, CHOICES))
