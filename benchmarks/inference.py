"""Speed of prediction with a LoRA classifier: transformers with the adapter merged, and submillion.

    python -m benchmarks.inference --data FOLDER --encoder FOLDER [--json FILE] [--only NAME,...]

Rank 8 on query and value; texts of AG News of at most 128 tokens, the same for all, sorted by length.
"""

from __future__ import annotations

import sys

from benchmarks.harness import Variant, main

VARIANTS = {
    "usual": Variant("benchmarks.peers.usual:open_inference"),
    "best_peer": Variant("benchmarks.peers.best:open_inference"),
    "packed": Variant("benchmarks.library:open_inference", {"execution": "packed"}),
}
CHOICES = {
    "reference": Variant("benchmarks.library:open_inference", {"execution": "reference"}),
}

if __name__ == "__main__":
    sys.exit(main(__doc__, VARIANTS, CHOICES))
