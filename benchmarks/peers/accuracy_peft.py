"""A plain script of transformers and peft: LoRA on query and value, as in peft's example of sequence classification.

The settings are those of the example (rank 8, alpha 16, dropout 0.1, batches of 32, learning rate 3e-4, linear decay
after a warm-up of 6 %); the head is the family's own, so that it starts at random.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

from benchmarks.peers.accuracy_exchange import MAX_TOKENS, answer, request, seed_everything, timed

BATCH = 32
RATE = 3e-4
WARM_UP = 0.06
TARGETS = {"bert": ["query", "value"], "mpnet": ["q", "v"]}
POOLERS = {"bert": ["pooler"], "mpnet": []}
"""Layers of the head outside `classifier`, which peft trains by itself."""


def main() -> None:
    """Train on the request's rows and answer with the classes of its test texts."""
    asked = request()
    seed_everything(asked["seed"])
    values: dict[str, Any] = {}
    with timed(values, "train"):
        tokenizer = AutoTokenizer.from_pretrained(asked["encoder"])
        model = _model(asked["encoder"], asked["classes"])
        _train(model, tokenizer, asked)
    with timed(values, "predict"):
        predicted = _predict(model, tokenizer, asked["test_texts"])
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    setting = f"{asked['epochs']} epochs"
    answer(values | {"predicted": predicted, "parameters": trained, "setting": setting})


def _model(encoder: str, classes: int) -> Any:
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=classes)
    family = model.config.model_type
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=8,
        lora_alpha=16,
        lora_dropout=0.1,
        target_modules=TARGETS[family],
        modules_to_save=[*POOLERS[family], "classifier"],
    )
    return get_peft_model(model, config)


def _train(model: Any, tokenizer: Any, asked: dict[str, Any]) -> None:
    texts, labels = asked["texts"], torch.tensor(asked["labels"])
    steps = asked["epochs"] * -(-len(texts) // BATCH)
    trained = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE)
    linear: Any = get_linear_schedule_with_warmup  # has no types
    schedule = linear(optimizer, int(WARM_UP * steps), steps)
    model.train()
    for _ in range(asked["epochs"]):
        for rows in torch.split(torch.randperm(len(texts)), BATCH):
            batch = _tokens(tokenizer, [texts[row] for row in rows])
            model(**batch, labels=labels[rows]).loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


def _predict(model: Any, tokenizer: Any, texts: list[str]) -> list[int]:
    model.eval()
    predicted: list[int] = []
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH):
            logits = model(**_tokens(tokenizer, texts[start : start + BATCH])).logits
            predicted += logits.argmax(1).tolist()
    return predicted


def _tokens(tokenizer: Any, texts: list[str]) -> Any:
    return tokenizer(texts, truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt")


if __name__ == "__main__":
    main()
