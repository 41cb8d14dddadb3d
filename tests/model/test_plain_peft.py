"""Plain transformers and peft, without submillion, give the logits of every family, head, variant and pooling."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from submillion.budget.count import count
from submillion.families.families import FAMILIES, family_of
from submillion.model.build import open_adapter
from submillion.model.classifier import Classifier
from submillion.sources.adapter_files import TENSORS
from submillion.verification.run.budget import count_tensors, tensor_shapes
from support.plain_peft import logits_of, plain_peft, trained
from support.tiny import FAMILY_NAMES, LABELS, shared_encoder, tiny_recipe

HEADS = ("stock", "linear", "lora")
VARIANTS = ("dora", "pissa", "eva", "adalora", "vera", "bitfit")
WITH_HEAD_RANK = ("dora", "pissa", "eva", "bitfit")


def test_plain_peft_gives_the_same_logits_for_every_family_and_head(tmp_path: Path) -> None:
    variants = [(family, {"head": {"kind": kind}}) for family in FAMILY_NAMES for kind in HEADS]
    variants += [
        (family, {"head": {"kind": kind}, "lora": lora})
        for family in ("roberta", "bert-no-pooler", "distilbert")
        for kind in HEADS
        for lora in ({"bias": "all"}, {"bias": "lora_only", "rslora": True, "layers": "top-1"})
    ]
    cases, lacking = [], []
    for index, (family, sections) in enumerate(variants):
        classifier = trained(family, **sections)
        folder = tmp_path / str(index)
        classifier.save_adapter(folder)
        logits = logits_of(classifier)
        cases.append((f"{family} {sections}", shared_encoder(family), folder, logits))
        # The tensors that peft itself saves, to show below that saving more of them is necessary.
        if not index % len(HEADS) and index < len(FAMILY_NAMES) * len(HEADS):
            bare = trained(family, head={"kind": "linear"})
            folder = tmp_path / f"bare-{index}"
            bare.save_adapter(folder)
            save_file(peft_alone(bare), folder / TENSORS)
            lacking.append((family, shared_encoder(family), folder, logits_of(bare)))
    differences = plain_peft(cases + lacking)
    assert max(differences[name] for name, *_ in cases) < 1e-6, differences
    # peft's own saving preserves a linear head only if the checkpoint holds the projection.
    unharmed = {family for family, *_ in lacking if differences[family] < 1e-6}
    assert unharmed == {"bert", "modernbert"}


def peft_alone(classifier: Classifier) -> dict[str, torch.Tensor]:
    from peft import get_peft_model_state_dict

    saved = get_peft_model_state_dict(classifier.module, save_embedding_layers=False)
    return {name: value.detach().clone() for name, value in saved.items()}


def cases() -> list[tuple[str, str, dict[str, object]]]:
    pairs: list[tuple[str, str, dict[str, object]]] = []
    for variant in VARIANTS:
        for family in ("roberta", "distilbert", "bert-no-pooler", "mpnet", "deberta-v2", "modernbert"):
            if variant == "bitfit" and family == "modernbert":  # it has no biases
                continue
            pairs.append((variant, family, {"head": {"kind": "linear"}, "lora": {"variant": variant}}))
        pairs.append((variant, "electra", {"lora": {"variant": variant, "layers": "top-1", "bias": "all"}}))
        if variant in WITH_HEAD_RANK:
            pairs.append((variant, "roberta", {"head": {"kind": "lora"}, "lora": {"variant": variant}}))
            pairs.append((variant, "bert", {"head": {"kind": "lora"}, "lora": {"variant": variant}}))
    for variant in ("dora", "pissa", "eva"):
        lora = {"variant": variant, "rslora": True, "bias": "lora_only", "targets": ["value", "ffn_up"]}
        pairs.append((variant, "roberta", {"lora": lora}))
    pairs.append(("vera", "roberta", {"lora": {"variant": "vera", "bias": "lora_only", "r": 50}}))
    return pairs


def test_plain_peft_and_opening_give_the_same_logits_and_the_file_is_counted_exactly(tmp_path: Path) -> None:
    cases_of_peft = []
    for number, (variant, family, sections) in enumerate(cases()):
        classifier, folder = trained(family, **sections), tmp_path / str(number)
        classifier.save_adapter(folder)
        logits, encoder = logits_of(classifier), shared_encoder(family)
        cases_of_peft.append((f"{family} {sections}", encoder, folder, logits))

        opened = open_adapter(encoder, folder, LABELS)
        # PiSSA's file adds the principal part back to the encoder: the same sum, rounded in another order.
        torch.testing.assert_close(
            logits_of(opened),
            logits,
            atol=5e-6 if variant == "pissa" else 0,
            rtol=0,
            msg=cases_of_peft[-1][0],
        )
        recipe = tiny_recipe(encoder, **sections)
        counted = count(classifier.config, len(LABELS), recipe.lora, recipe.head, recipe.budget)
        shapes, names = tensor_shapes(folder / TENSORS), family_of(classifier.config)
        saved = count_tensors(shapes, names, classifier.config, recipe.lora, recipe.head)
        assert classifier.trainable_count() == counted.trainable
        assert (saved.parts, saved.unexpected) == (counted.parts, []), cases_of_peft[-1][0]
        assert saved.by_layer == [layer["trainable"] for layer in counted.by_layer]
    differences = plain_peft(cases_of_peft)
    assert max(differences.values()) < 5e-6, differences


def test_five_lines_give_the_logits_of_a_head_that_reads_the_mean(tmp_path: Path) -> None:
    mean = {"head": {"kind": "linear", "pooling": "mean"}}
    sections = {family: dict(mean) for family in FAMILIES}
    variants = ("lora", "dora", "pissa", "vera", "bitfit", "adalora")
    sections |= {f"roberta {variant}": mean | {"lora": {"variant": variant}} for variant in variants}
    cases_of_peft = []
    for name, changed in sections.items():
        family = name.split()[0]
        classifier = trained(family, **changed)
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        classifier.save_adapter(folder)
        opened, expected = open_adapter(shared_encoder(family), folder, LABELS), logits_of(classifier)
        torch.testing.assert_close(logits_of(opened), expected, rtol=1e-5, atol=1e-5)
        cases_of_peft.append((name, shared_encoder(family), folder, expected))
    differences = plain_peft(cases_of_peft, mean=True)
    assert set(differences) == set(sections)
    assert max(differences.values()) < 1e-4, differences
