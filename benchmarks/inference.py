"""Speed of prediction with a LoRA classifier: transformers with the adapter merged, and submillion.

    python -m benchmarks.inference --data FOLDER --encoder FOLDER [--json FILE] [--only NAME,...]

Rank 8 on query and value; texts of AG News of at most 128 tokens, the same for all. `usual` is float32, batches of
the texts as they come, padded to their longest; `usual_sorted` the same with batches of like length, and `best_peer`
that in bfloat16. `packed` has the adapters beside the weights; `packed_merged` has none left, as `submillion predict`,
whose kernels merge them into the weights. In which format the kernels computed stands in the row.
"""

from __future__ import annotations

import sys

from benchmarks.harness import Variant, main

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
