"""Measures training speed of LoRA classifiers: the usual script, the fastest with peft, and submillion.

    python -m benchmarks.training --data FOLDER --encoder FOLDER [--json FILE] [--only NAME,...]

Rank 8 on query and value with the encoder's own head; `all_linear`: rank 6 on every linear layer, and only the output
layer of the head, in the peer as in submillion. Texts of AG News of at most 128 tokens; every variant trains on the
same texts. An encoder without weights gets random ones, which take as long. `minilm` and `mpnet` come from the catalog
and are compared with the usual script on the same encoder:

    python -m benchmarks.training --data FOLDER --encoder FOLDER \\
        --only usual_minilm,packed_minilm,usual_mpnet,packed_mpnet

Names with `_int8` train with `train.frozen_precision=int8`; `packed_int8` is `packed_12` with it.

`modernbert` has the shape of ModernBERT-base with random weights; its tokenizer is that of the encoder's folder. Every
linear layer gets an adapter of rank 4, the largest that leaves the output layer within a million parameters (847,876):

    python -m benchmarks.training --data FOLDER --encoder FOLDER --json FILE \\
        --only usual_modernbert,best_modernbert,reference_modernbert,packed_modernbert

`deberta` likewise has the shape of deberta-v3-small, with adapters of rank 12 (998,404 parameters):

    python -m benchmarks.training --data FOLDER --encoder FOLDER --json FILE \\
        --only usual_deberta,best_deberta,reference_deberta,packed_deberta
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.harness import main
from benchmarks.variants import Variant

USUAL = "benchmarks.peers.usual:open_training"
BEST = "benchmarks.peers.best:open_training"
OURS = "benchmarks.library:open_training"

VARIANTS = {
    "usual": Variant(USUAL),
    "best_peer": Variant(BEST),
    "reference_12": Variant(OURS, {"execution": "reference"}),
    "packed_12": Variant(OURS, {"execution": "packed"}),
    "packed_top6_cached": Variant(OURS, {"execution": "packed", "layers": "top-6"}),
    "usual_all_linear": Variant(USUAL, {"all_linear": True}, base="usual_all_linear"),
    "packed_all_linear": Variant(OURS, {"execution": "packed", "all_linear": True}, base="usual_all_linear"),
}
INT8 = {"execution": "packed", "frozen": "int8"}
# Other encoders, from the catalog.
ENCODERS = {
    "usual_minilm": Variant(USUAL, base="usual_minilm", encoder="minilm"),
    "packed_minilm": Variant(OURS, {"execution": "packed"}, base="usual_minilm", encoder="minilm"),
    "usual_mpnet": Variant(USUAL, base="usual_mpnet", encoder="mpnet-base"),
    "packed_mpnet": Variant(OURS, {"execution": "packed"}, base="usual_mpnet", encoder="mpnet-base"),
    "packed_int8": Variant(OURS, INT8),
    "packed_all_linear_int8": Variant(OURS, {**INT8, "all_linear": True}, base="usual_all_linear"),
    "packed_minilm_int8": Variant(OURS, INT8, base="usual_minilm", encoder="minilm"),
    "packed_mpnet_int8": Variant(OURS, INT8, base="usual_mpnet", encoder="mpnet-base"),
}
# The shape of ModernBERT-base.
_FULL: dict[str, Any] = {"all_linear": True, "rank": 4}
_SHAPE: dict[str, str] = {"base": "usual_modernbert", "encoder": "modernbert-base"}
MODERNBERT = {
    "usual_modernbert": Variant(USUAL, _FULL, **_SHAPE),
    "best_modernbert": Variant(BEST, _FULL, **_SHAPE),
    "reference_modernbert": Variant(OURS, {"execution": "reference", **_FULL}, **_SHAPE),
    "packed_modernbert": Variant(OURS, {"execution": "packed", **_FULL}, **_SHAPE),
    "packed_modernbert_int8": Variant(OURS, {**INT8, **_FULL}, **_SHAPE),
}
# The shape of deberta-v3-small.
_DEBERTA_FULL: dict[str, Any] = {"all_linear": True, "rank": 12}
_DEBERTA: dict[str, str] = {"base": "usual_deberta", "encoder": "deberta-v3-small"}
DEBERTA = {
    "usual_deberta": Variant(USUAL, _DEBERTA_FULL, **_DEBERTA),
    # transformers computes its attention in no other way.
    "best_deberta": Variant(BEST, {"attention": "eager", **_DEBERTA_FULL}, **_DEBERTA),
    "reference_deberta": Variant(OURS, {"execution": "reference", **_DEBERTA_FULL}, **_DEBERTA),
    "packed_deberta": Variant(OURS, {"execution": "packed", **_DEBERTA_FULL}, **_DEBERTA),
}
# The best peer with one choice removed or added.
CHOICES = {
    "best_peer_float32": Variant(BEST, {"autocast": False, "frozen_bf16": False, "casting": True}),
    "best_peer_random_batches": Variant(BEST, {"grouped": False}),
    "best_peer_frozen_float32": Variant(BEST, {"frozen_bf16": False}),
    "best_peer_eager": Variant(BEST, {"attention": "eager"}),
    "best_peer_unfused": Variant(BEST, {"fused": False}),
    "best_peer_casting": Variant(BEST, {"casting": True}),
    "best_peer_denormals": Variant(BEST, {"flush": False}),
    "best_peer_compiled": Variant(BEST, {"compiled": True, "casting": True}),
    "best_peer_all_linear": Variant(BEST, {"all_linear": True}, base="usual_all_linear"),
}

if __name__ == "__main__":
    sys.exit(main(__doc__, VARIANTS, {**ENCODERS, **MODERNBERT, **DEBERTA, **CHOICES}))
