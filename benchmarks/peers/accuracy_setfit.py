"""SetFit as its paper trains it: 20 pairs of each sort a text, one epoch, then logistic regression.

Tunstall et al. 2022 (arXiv:2209.11055), section 4.1: R = 20, batches of 16, one epoch, at most 256 tokens; the learning
rate is the library's, 2e-5.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

from benchmarks.peers.accuracy_exchange import MAX_TOKENS, answer, request, seed_everything, timed

PAIRS = 20


def main() -> None:
    """Train on the request's rows and answer with the classes of its test texts."""
    asked = request()
    seed_everything(asked["seed"])
    values: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="setfit-") as folder:
        with timed(values, "train"):
            model = SetFitModel.from_pretrained(asked["encoder"])
            model.model_body.max_seq_length = MAX_TOKENS
            Trainer(
                model=model,
                args=TrainingArguments(
                    output_dir=folder,
                    batch_size=16,
                    num_epochs=1,
                    num_iterations=PAIRS,
                    seed=asked["seed"],
                    report_to="none",
                    save_strategy="no",
                    show_progress_bar=False,
                ),
                train_dataset=Dataset.from_dict({"text": asked["texts"], "label": asked["labels"]}),
            ).train()
        with timed(values, "predict"), torch.inference_mode():
            predicted = model.predict(asked["test_texts"], batch_size=32, as_numpy=True)
    body = sum(value.numel() for value in model.model_body.parameters() if value.requires_grad)
    head = model.model_head.coef_.size + model.model_head.intercept_.size
    answer(
        values
        | {
            "predicted": [int(label) for label in predicted],
            "parameters": int(body + head),
            "setting": f"num_iterations={PAIRS}",
        }
    )


if __name__ == "__main__":
    main()
