"""Measures prediction speed with a LoRA classifier: transformers with a merged adapter, and submillion.

    python -m benchmarks.inference --data FOLDER --encoder FOLDER [--json FILE] [--only NAME,...]

Rank 8 on query and value; texts of AG News of at most 128 tokens, the same for all. `usual` is float32 with batches in
input order, padded to their longest text; `usual_sorted` is the same with batches of similar length, and `best_peer` in
bfloat16 as well. `packed` applies the adapters beside the weights; `packed_merged` merges them into the weights, as
`submillion predict` does. The row names the number format of the kernels.
"""

from __future__ import annotations

import sys

from benchmarks.harness import main
from benchmarks.variants import Variant

VARIANTS = {
    "usual": Variant("benchmarks.peers.usual:open_inference"),
    "usual_sorted": Variant("benchmarks.peers.usual:open_inference", {"by_length": True}),
    "best_peer": Variant("benchmarks.peers.best:open_inference"),
    "packed": Variant("benchmarks.library:open_inference", {"execution": "packed"}),
    "packed_merged": Variant("benchmarks.library:open_inference", {"execution": "packed", "merged": True}),
}
CHOICES = {
    "reference": Variant("benchmarks.library:open_inference", {"execution": "reference"}),
}

if __name__ == "__main__":
    sys.exit(main(__doc__, VARIANTS, CHOICES))
