"""Studies from which error of its products on a matrix costs answers in int8, on validation rows.

The classifier is changed so that its answers in float stay the same and its activations get an outlier: one channel of
the values is multiplied in every layer, and what reads it is divided. The larger the factor, the less int8 can hold the
input of the attention's output matrix. For each factor, the study prints the largest measured error, and how many rows
change their class in int8 with all matrices quantized, and with the outliers in float as `auto` has them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from submillion.assess.int8_proof import calibration_texts
from submillion.assess.run_context import RunContext
from submillion.data.readers import iter_rows
from submillion.data.tokens import Tokens, encode
from submillion.model.classifier import Classifier
from submillion.model.execution.int8_calibration import LARGEST_ERROR, product_errors
from submillion.model.execution.packed_int8 import open_int8
from submillion.model.infer import predict_logits

FACTORS = (1.0, 100.0, 300.0, 1000.0, 3000.0)
MATRIX = "attention_output"
BATCH = 64


def main() -> None:
    """Run the study and print one line for each factor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="a finished run on a BERT, RoBERTa or MPNet encoder")
    parser.add_argument("--texts", help="file of other texts; default: the run's validation rows")
    parser.add_argument("--rows", type=int, default=1000, help="texts to answer")
    parser.add_argument("--json", help="file to write")
    options = parser.parse_args()
    context = RunContext.open(options.run)
    texts = list(context.texts("validation")) if options.texts is None else _texts(options.texts)
    tokens = encode(context.opened.tokenizer, texts[: options.rows], context.opened.truncation)
    rows = []
    for row in study(context, tokens):
        rows.append(row)
        print(
            f"factor {row['factor']:6g}: largest error {row['largest_error']:.3f} ({MATRIX} from "
            f"{row['smallest_outlier']:.3f}), changed classes of {len(tokens):,}: {row['changed']} all int8, "
            f"{row['changed_float']} with {row['float_matrices']} matrices in float; largest change of a logit "
            f"{row['logit']:.2f}, {row['logit_float']:.2f}",
            flush=True,
        )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def study(context: RunContext, tokens: Tokens) -> Iterator[dict[str, Any]]:
    """Yield the figures of each factor.

    Args:
        context: a run whose classifier the study may change.
        tokens: texts to answer.
    """
    classifier = context.opened.classifier
    exact = predict_logits(context.opened.execution, tokens, BATCH)
    measured, _ = calibration_texts(context, context.opened)
    before = 1.0
    for factor in FACTORS:
        amplify(classifier, factor / before)
        before = factor
        errors = product_errors(classifier, measured)
        outliers = frozenset(name for name, error in errors.items() if error > LARGEST_ERROR)
        rounded, mixed = (
            predict_logits(open_int8(classifier, floats), tokens, BATCH) for floats in (frozenset(), outliers)
        )
        yield {
            "factor": factor,
            "largest_error": max(errors.values()),
            "smallest_outlier": min(error for (_, name), error in errors.items() if name == MATRIX),
            "float_matrices": len(outliers),
            "changed": int((rounded.argmax(1) != exact.argmax(1)).sum()),
            "changed_float": int((mixed.argmax(1) != exact.argmax(1)).sum()),
            "logit": float(np.abs(rounded - exact).max()),
            "logit_float": float(np.abs(mixed - exact).max()),
        }


def amplify(classifier: Classifier, factor: float) -> None:
    """Multiply one channel of the attention context of every layer by a factor; no answer in float changes."""
    suffixes = classifier.family.suffixes
    for layer in classifier.stack.layers:
        value: Any = layer.get_submodule(suffixes["value"])
        out: Any = layer.get_submodule(suffixes[MATRIX])
        with torch.no_grad():
            for linear, index in ((value, 0), (out, (slice(None), 0))):
                scale = factor if linear is value else 1 / factor
                base = getattr(linear, "base_layer", linear)
                base.weight.data = (
                    base.weight.data.clone()
                )  # the encoder's file is mapped, and not to be changed
                base.weight.data[index] *= scale
                if linear is value:
                    base.bias.data = base.bias.data.clone()
                    base.bias.data[0] *= scale
                if hasattr(linear, "lora_A"):
                    adapter = linear.lora_B if linear is value else linear.lora_A
                    adapter["default"].weight.data[index] *= scale


def _texts(file: str) -> list[str]:
    return [text for _, texts, _ in iter_rows(file) for text in texts]


if __name__ == "__main__":
    main()
