"""Tiny random encoders of every family, laid out as a hub snapshot is, and texts that they can learn."""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.recipe import Recipe

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens

LABELS = ["World", "Sports", "Business", "Sci/Tech"]
KEYWORDS = {
    "World": ["treaty", "minister", "border"],
    "Sports": ["goal", "coach", "season"],
    "Business": ["shares", "profit", "merger"],
    "Sci/Tech": ["software", "orbit", "genome"],
}
FILLERS = [f"word{i}" for i in range(40)]
SPECIAL = {
    # Order is id: RoBERTa's padding index is 1 and its positions start at 2; BERT's padding index is 0.
    "roberta": {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"},
    "bert": {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
}
ROBERTA_LIKE = ("roberta", "xlm-roberta", "mpnet")

# What each family's usual hub checkpoint is saved from: it decides which tensors of the head it holds.
SAVED_FROM = {
    "roberta": "RobertaForMaskedLM",
    "xlm-roberta": "XLMRobertaForMaskedLM",
    "bert": "BertForPreTraining",
    "bert-no-pooler": "BertForMaskedLM",
    "distilbert": "DistilBertForMaskedLM",
    "mpnet": "MPNetModel",
    "electra": "ElectraForPreTraining",
    "deberta-v2": "DebertaV2ForMaskedLM",
    "modernbert": "ModernBertForMaskedLM",
    "modernbert-no-head": "ModernBertModel",
}
FAMILY_NAMES = list(SAVED_FROM)


def tiny_config(
    family: str = "roberta",
    layers: int = 2,
    hidden: int = 32,
    vocab: int = 64,
    dropout: float = 0.1,
    longest: int = 64,
    heads: int = 2,
) -> dict[str, Any]:
    """Return the config.json of a tiny encoder; inputs up to `longest` tokens.

    `family` is a model type, or `bert-no-pooler`, `modernbert-no-head` for those checkpoints.
    """
    model_type = family.removesuffix("-no-pooler").removesuffix("-no-head")
    special = list(SPECIAL["roberta" if model_type in ROBERTA_LIKE else "bert"])
    ids = {"pad_token_id": special.index("pad_token")}
    common = {"model_type": model_type, "vocab_size": vocab, "initializer_range": 0.2, **ids}
    if model_type == "distilbert":
        sizes = {"dim": hidden, "n_layers": layers, "n_heads": heads, "hidden_dim": 2 * hidden}
        rest = {"max_position_embeddings": longest, "dropout": dropout, "attention_dropout": dropout}
        return common | sizes | rest | {"seq_classif_dropout": dropout}
    sizes = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": longest + 2 if model_type in ROBERTA_LIKE else longest,
    }
    if model_type == "modernbert":
        # Three layers apart, one attends to all; the window of the others is shorter than the longest texts.
        names = ("embedding_dropout", "mlp_dropout", "attention_dropout", "classifier_dropout")
        local = {"local_attention": 8, "global_attn_every_n_layers": 3}
        other_ids = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
        return common | sizes | dict.fromkeys(names, dropout) | local | other_ids
    sizes |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    if model_type == "electra":
        sizes |= {"embedding_size": hidden // 2}
    if model_type == "deberta-v2":
        sizes |= {
            "relative_attention": True,
            "position_buckets": 16,
            "max_relative_positions": -1,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
            "pooler_hidden_size": hidden,
        }
    return common | sizes


def tiny_encoder(
    folder: Path,
    family: str = "roberta",
    layers: int = 2,
    hidden: int = 32,
    words: Iterable[str] = (),
    seed: int = 0,
    dropout: float = 0.1,
    longest: int = 64,
    heads: int = 2,
    **more: Any,
) -> Path:
    """Write config.json, model.safetensors (no classification head) and the tokenizer's files into `folder`.

    Args:
        folder: made if absent.
        family: one of FAMILY_NAMES.
        words: vocabulary beside the words of `tiny_texts`.
        seed: of the random weights.
        dropout: of hidden states, attention and head.
        longest: tokens that it has positions for.
        heads: of attention.
        more: further values of config.json.
    """
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    vocab = _write_tokenizer(folder, family, words)
    values = tiny_config(family, layers, hidden, vocab, dropout, longest, heads) | more
    config = transformers.AutoConfig.for_model(**values)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, SAVED_FROM[family])(config)
        for name, tensor in model.named_parameters():
            # Fresh biases and norms are constants; moved, so that a test notices one that is left out.
            if name.endswith("bias") or "norm" in name.lower():
                tensor.data += 0.1 * torch.randn_like(tensor)
    model.save_pretrained(folder)
    return folder


@cache
def shared_encoder(family: str = "roberta", layers: int = 2, dropout: float = 0.1) -> Path:
    """Return a tiny encoder that all tests of this process share; not to be changed."""
    return tiny_encoder(
        Path(_shared_folder()) / f"{family}-{layers}-{dropout}", family, layers, dropout=dropout
    )


@cache
def _shared_folder() -> str:
    folder = tempfile.mkdtemp(prefix="tiny-encoders-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def tiny_recipe(encoder: Path, /, **sections: Any) -> Recipe:
    """Return a recipe for a tiny encoder: all-linear LoRA of rank 2, texts of at most 32 tokens, 1 epoch.

    Args:
        sections: values that differ, by section or field, e.g. `lora={"r": 4}, seed=7`.
    """
    values: dict[str, Any] = {
        "name": "tiny",
        "encoder": {"source": str(encoder)},
        "data": {"train": "train.csv", "max_length": 32},
        "lora": {"r": 2, "alpha": 4, "targets": "all-linear"},
        "head": {"r": 3},
        "train": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-2, "precision": "float32"},
    }
    for name, given in sections.items():
        values[name] = values.get(name, {}) | given if isinstance(given, dict) else given
    return Recipe.model_validate(values)


def tiny_texts(n: int, seed: int = 0, min_words: int = 3, max_words: int = 12) -> tuple[list[str], list[int]]:
    """Return n texts and their labels (indices into LABELS); about half of a text's words are its label's."""
    rng = random.Random(seed)
    texts, labels = [], []
    for row in range(n):
        label = row % len(LABELS) if row < len(LABELS) else rng.randrange(len(LABELS))
        words = rng.choices(FILLERS, k=rng.randint(min_words, max_words))
        for place in rng.sample(range(len(words)), k=(len(words) + 1) // 2):
            words[place] = rng.choice(KEYWORDS[LABELS[label]])
        texts.append(" ".join(words))
        labels.append(label)
    return texts, labels


def tiny_tokens(encoder: Path, texts: list[str], max_length: int = 32) -> Tokens:
    """Return the tokens of `texts`, made by the encoder's own tokenizer."""
    from submillion.data.tokenizer import load_tokenizer
    from submillion.data.tokens import encode
    from submillion.data.truncation import Truncation

    return encode(load_tokenizer(encoder), texts, Truncation(max_length))


def _write_tokenizer(folder: Path, family: str, words: Iterable[str]) -> int:
    """Write tokenizer.json and tokenizer_config.json; return the vocabulary's size."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = SPECIAL["roberta" if family in ROBERTA_LIKE else "bert"]
    known = [*FILLERS, *(word for group in KEYWORDS.values() for word in group), *words]
    ids = {word: index for index, word in enumerate(dict.fromkeys([*special.values(), *known]))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=special["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    cls, sep = special["cls_token"], special["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B {sep}",
        special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **special).save_pretrained(
        folder
    )
    return len(ids)
