"""The adapters of the peers: the same matrices and heads as submillion's, configured with peft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

from benchmarks.texts import LABELS

QUERY_VALUE = ("query", "value", "q", "v", "q_lin", "v_lin")  # BERT and RoBERTa; MPNet; DistilBERT


def classifier(encoder: Path, **options: Any) -> Any:
    """Return an encoder of transformers with the family's own head and without adapters."""
    library: Any = logging  # its functions have no types
    library.set_verbosity_error()
    library.disable_progress_bar()
    return AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=len(LABELS), **options)


def adapted(model: Any, all_linear: bool = False, rank: int = 6) -> Any:
    """Return the model with adapters, ready to train.

    Args:
        model: the result of `classifier`.
        all_linear: adapters on every linear layer, and only the output layer of the head is trained; otherwise rank 8
            on query and value, and the whole head is trained.
        rank: of the adapters on every linear layer.
    """
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and (".layer." in name or ".layers." in name)
    ]
    if all_linear:
        # No task type: for sequence classification peft would train the whole head.
        output = "classifier.out_proj" if hasattr(model.classifier, "out_proj") else "classifier"
        config = LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=0.1, target_modules=linear, modules_to_save=[output]
        )
    else:
        targets = [name for name in linear if name.rpartition(".")[2] in QUERY_VALUE]
        # The task type saves, and so trains, the layers of the head; BERT's pooler is not one of them.
        pooler = [name for name, _ in model.named_modules() if name.endswith(".pooler.dense")]
        config = LoraConfig(
            task_type="SEQ_CLS",
            r=8,
            lora_alpha=16,
            lora_dropout=0.1,
            target_modules=targets,
            modules_to_save=pooler or None,
        )
    return get_peft_model(model, config).train()
