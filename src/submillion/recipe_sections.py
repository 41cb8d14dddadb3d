"""The sections of a recipe: encoder, data, lora, head and train, with the help of every field."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from submillion.errors import BadInput, Problem

TARGETS = ("query", "key", "value", "qkv", "attention_output", "ffn_up", "ffn_down")
TARGET_ALIASES = {
    "q": "query",
    "k": "key",
    "v": "value",
    "o": "attention_output",
    "up": "ffn_up",
    "down": "ffn_down",
}
"""Common short names of the same matrices."""
ALL_LINEAR = "all-linear"
NO_TEST = "none"
"""The value of `data.test` that means: no test split, even if one comes with the training texts."""
CROSS_VALIDATION = "cross-validation"
"""The value of `data.validation` that means: all rows are trained on, and scored by models of folds."""


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
MAX_COUNT = 10**9
"""Upper limit of steps, texts and passes: larger numbers are typing errors, and no counter overflows below it."""
MAX_LABEL_BYTES = 100_000
"""Class names of a recipe together: a recipe file stays far below the size that is read."""


def _printable(text: str) -> str:
    """Return a name or path of a file; refuses line breaks and other control characters, which no such name has."""
    if _CONTROL.search(text):
        raise ValueError(f"text without control characters|{text.encode('unicode_escape').decode('ascii')}")
    return text


def _directory_name(name: str) -> str:
    """Return a name; refuses one that cannot name a directory on every system."""
    if not re.fullmatch("[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise ValueError(f"letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`|{name}")
    return name


def _path_length(source: str) -> str:
    """Return a source; refuses what is longer than a path can be."""
    if len(source.encode("utf-8")) > 4000 or any(
        len(part.encode("utf-8")) > 255 for part in source.split("/")
    ):
        raise ValueError(f"a path of at most 4,000 bytes, each name in it of at most 255|{source}")
    return source


Name = Annotated[str, Field(max_length=100), AfterValidator(_directory_name)]
"""The name of a recipe or study, which also names its directory."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Percent = Annotated[str, Field(pattern=r"^([1-9][0-9]?|100)%$")]
Source = Annotated[str, Field(min_length=1), AfterValidator(_printable), AfterValidator(_path_length)]
"""A catalog name, hub id, file or folder."""


class Section(BaseModel):
    """Base class of the recipe's sections: frozen, without unknown keys; the docstring of a field is its help."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )


class EncoderRecipe(Section):
    """The pretrained encoder and its regularisation."""

    source: Source
    """Catalog name (roberta-base, minilm, mpnet-base ...), hub id (org/name) or local folder."""
    revision: Annotated[str, AfterValidator(_printable), Field(max_length=255)] | None = None
    """Hub revision: branch, tag or commit. Default: the main branch."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout on hidden states in training. Default: the value in the encoder's config.json."""
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout on attention probabilities in training. Default: the value in the encoder's config.json."""
    classifier_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout before the head's output layer. Default: the value in the encoder's config.json."""


class DataRecipe(Section):
    """The labelled texts: their location, columns and splits."""

    train: Source
    """Catalog name (ag_news, reuters-r8), hub id, file or folder with the training texts."""
    test: Source | None = None
    """Location of the test texts, or none to train without a test split. Default: the test split that comes with
    `train`, if any."""
    test_size: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the training texts held out as the test split, stratified by label, before the validation texts are.
    Not together with test. Default: no texts are held out for testing."""
    validation: Source | None = None
    """Location of the validation texts, or cross-validation: all texts are trained on, and each is predicted by a model
    that was trained without it; with train.patience=0. Default: a part of the training texts."""
    validation_size: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training texts held out for validation, stratified by label."""
    folds: Annotated[int, Field(ge=2, le=100)] = 5
    """Folds of the cross-validation: each one's texts are predicted by a model trained on the others. Fewer if no class
    has that many different texts."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """Repetitions of the cross-validation, each with other folds; the scores of all are reported."""
    encoding: str | None = None
    """Character encoding of csv, tab-separated and JSON files, such as utf-8, cp1252 or utf-16. Default: detected, and
    named in a notice if it is not UTF-8."""
    text: str | list[str] | None = None
    """Text column, or a list of columns that are joined with a space. Default: the column with a usual name."""
    label: str | None = None
    """Label column. Default: the column with a usual name."""
    labels: Annotated[list[str], Field(min_length=2)] | None = None
    """Label names in the order of their numbers. Default: the labels in the data."""
    corrections: Source | None = None
    """File of corrected training labels, as report writes it with the part noise and a person fills it in. Default: the
    labels are used as they are."""
    max_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """Maximum tokens per text, special tokens included; longer texts are truncated and counted in the manifest."""
    windows: Literal["first", "head_tail"] = "first"
    """Tokens of a text longer than max_length that are read: first, those at its beginning (at its end with the
    tokenizers that truncate on the left); head_tail, half of them from its beginning and half from its end
    (arXiv:1905.05583)."""
    max_unknown_tokens: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Maximum share of tokens that the encoder's tokenizer does not know; training is refused above it, because such
    an encoder cannot read the texts."""
    drop_train_rows_in_test: bool = True
    """Drop training rows whose text also occurs in the test split."""
    drop_duplicates: bool = False
    """Drop training rows that repeat the text and label of an earlier row."""
    slice_columns: list[str] = []
    """Further columns of the files, such as source or language; the report shows the accuracy by their values."""
    limit: Annotated[int, Field(ge=2, le=MAX_COUNT)] | None = None
    """Maximum rows per split, drawn at random with the seed, for a quick test."""

    @field_validator("slice_columns", mode="before")
    @classmethod
    def _list_of_columns(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_are_words(cls, value: Any) -> Any:
        """Refuse what YAML has read as no value (null, ~) or a program as true and false."""
        for name in value if isinstance(value, list) else []:
            if name is None or isinstance(name, bool):
                written = {None: "null", True: "True", False: "False"}[name]
                raise ValueError(
                    f'class names as text, in quotes if they look like values: "{written}"|{written}'
                )
        return value

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, value: list[str] | None) -> list[str] | None:
        if value and len(set(value)) != len(value):
            raise ValueError("distinct label names")
        if value and (size := sum(len(name.encode("utf-8")) for name in value)) > MAX_LABEL_BYTES:
            raise ValueError(f"class names of at most {MAX_LABEL_BYTES:,} bytes together|{size:,}")
        return value

    @model_validator(mode="after")
    def _one_test_split(self) -> DataRecipe:
        if self.test_size is not None and self.test is not None:
            raise ValueError(f"data.test or data.test_size, not both|{self.test} and {self.test_size:g}")
        return self


class LoraRecipe(Section):
    """Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685), W x + (alpha / r) B A x, and its variants."""

    variant: Literal["lora", "dora", "pissa", "eva", "adalora", "vera", "bitfit"] = "lora"
    """lora; dora: separate magnitude and direction (arXiv:2402.09353); pissa: A and B start as the principal part of W
    (arXiv:2404.02948), best without dropout; eva: A starts as the principal directions of the matrix's input
    (arXiv:2410.07170); adalora: prunes a third of the ranks during training (arXiv:2303.10512); vera: A and B are
    random and shared by all matrices, two vectors per matrix are trained (arXiv:2310.11454); bitfit: trains biases
    only (arXiv:2106.10199)."""
    r: Count = 8
    """Rank of the adapters; not used by bitfit."""
    alpha: Annotated[float, Field(gt=0)] = 16
    """Scale: the adapter's output is multiplied by alpha / r (alpha / sqrt(r) with rslora); not used by vera."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on the adapter's input."""
    targets: Annotated[list[str], Field(min_length=1)] = ["query", "value"]
    """Matrices that carry adapters: query, key, value, attention_output, ffn_up, ffn_down (ModernBERT: qkv for the
    fused first three), or all-linear for all of them."""
    layers: Literal["all"] | Annotated[str, Field(pattern=r"^top-[1-9][0-9]{0,3}$")] | list[int] = "all"
    """Layers that carry adapters: all, top-N, or a list of indices from 0. The layers below the lowest one run once
    per text, and their output is cached."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Biases of the encoder that are trained as well: none, all, or those of the adapted matrices; bitfit: all."""
    rslora: bool = False
    """Scale by alpha / sqrt(r) instead of alpha / r (Kalajdzievski 2023, arXiv:2312.03732)."""

    @model_validator(mode="before")
    @classmethod
    def _bitfit_trains_biases(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("variant") == "bitfit":
            return {"bias": "all"} | values
        return values

    @model_validator(mode="after")
    def _variant_supports_fields(self) -> LoraRecipe:
        if self.rslora and self.variant not in ("lora", "dora", "pissa", "eva"):
            raise ValueError(f"variant lora, dora, pissa or eva with rslora=true|{self.variant}")
        if self.variant == "bitfit" and self.bias != "all":
            raise ValueError(f"bias=all with variant=bitfit|{self.bias}")
        return self

    @field_validator("targets", mode="before")
    @classmethod
    def _canonical_targets(cls, value: Any) -> Any:
        names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return value
        canonical = [TARGET_ALIASES.get(name, name) for name in names]
        unknown = [name for name in canonical if name not in (*TARGETS, ALL_LINEAR)]
        if unknown:
            raise ValueError(f"targets among {', '.join((*TARGETS, ALL_LINEAR))}|{unknown[0]}")
        if ALL_LINEAR in canonical:
            return [ALL_LINEAR]
        return list(dict.fromkeys(canonical))

    @field_validator("layers")
    @classmethod
    def _valid_layers(cls, value: Any) -> Any:
        if isinstance(value, list):
            if not value or min(value) < 0:
                raise ValueError("'all', 'top-N' or a list of layer indices from 0")
            return sorted(set(value))
        return value

    def layer_indices(self, n_layers: int) -> list[int]:
        """Return the indices of the adapted layers, ascending, in an encoder of `n_layers` layers.

        Raises:
            BadInput: the encoder does not have one of the layers.

        Example:
            >>> LoraRecipe(layers="top-2").layer_indices(12)
            [10, 11]
        """
        if self.layers == "all":
            return list(range(n_layers))
        if isinstance(self.layers, str):
            count = int(self.layers.removeprefix("top-"))
            indices = list(range(n_layers - count, n_layers))
        else:
            indices = list(self.layers)
        if indices[0] < 0 or indices[-1] >= n_layers:
            raise BadInput(
                Problem(
                    "lora.layers",
                    f"layers among the encoder's {n_layers} (0 to {n_layers - 1})",
                    repr(self.layers),
                    f"Choose layers with @{{lora.layers}}, for example top-{max(1, n_layers // 2)}.",
                )
            )
        return indices


class HeadRecipe(Section):
    """The classification head between the last hidden state and the logits."""

    kind: Literal["stock", "linear", "lora"] = "stock"
    """stock: trains the whole head of the encoder family; linear: trains only its output layer; lora: trains the
    output layer and a low-rank adapter on the projection before it."""
    pooling: Literal["first", "mean", "auto"] = "first"
    """What the head reads: first, the last state of a text's first token; mean, the mean of the last states of all its
    tokens, special ones included, with kind linear; auto, the one that the encoder was trained with."""
    start: Literal["random", "probe"] = "random"
    """First values of the output layer. probe: those of a logistic regression on the features that the encoder gives
    the training texts before the first step, so that training begins at its accuracy (Kumar et al. 2022,
    arXiv:2202.10054); with kind linear."""
    finish: Literal["trained", "probe"] = "trained"
    """Last values of the output layer: the trained ones, or those of the same regression on the features that the
    trained encoder gives the training texts; with kind linear and data.validation=cross-validation."""
    r: Count = 16
    """Rank of the projection's adapter, with kind lora."""
    alpha: Annotated[float, Field(gt=0)] = 16
    """Scale of the projection's adapter, with kind lora."""

    @model_validator(mode="after")
    def _mean_is_linear(self) -> HeadRecipe:
        if self.pooling == "mean" and self.kind != "linear":
            raise ValueError(f"head.kind=linear with head.pooling=mean|{self.kind}")
        return self


class ContrastiveRecipe(Section):
    """A stage before the classification that moves texts of one class together and others apart, by the cosine of each
    pair of a batch (SetFit, Tunstall et al. 2022, arXiv:2209.11055); it trains the adapters and is followed by the
    probe of head.start."""

    steps: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    """Optimizer steps of the stage; 0 has none."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Peak learning rate of the stage; warm-up, decay and the rest of the optimizer are those of train."""
    batch_size: Annotated[int, Field(ge=4, le=MAX_COUNT)] = 64
    """Texts per step, as many of each class as possible."""


class TrainRecipe(Section):
    """Optimization: AdamW, linear warm-up and linear decay, early stopping on the validation score."""

    epochs: Count = 5
    """Maximum passes over the training texts; not used with steps."""
    steps: Annotated[int, Field(ge=0, le=MAX_COUNT)] | None = None
    """Maximum optimizer steps, in place of epochs: texts are repeated, or the last pass ends early, as needed. 0 trains
    no step after the probe of head.start. Default: as many as epochs has."""
    max_tokens: Annotated[int, Field(ge=1, le=10**15)] | None = None
    """Stop after the step that reaches this number of tokens, without padding; the learning rate decays until then.
    Default: no limit."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Stop after the step that reaches this training time, including evaluations but not the filling of the prefix
    cache; the learning rate follows the clock if that is ahead of the steps. The number of steps depends on the
    machine, so such a run is not reproducible. Single process only. Default: no limit."""
    batch_size: Count = 32
    """Texts per forward pass and process."""
    batch_tokens: Count | None = None
    """Tokens per forward pass and process, without padding, in place of a fixed number of texts: a batch holds as many
    texts as fit, from 1 to 8 times batch_size. Default: batch_size texts."""
    eval_batch_size: Count = 64
    """Texts per forward pass in evaluation; the packed execution, which needs no padding, joins batches."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 3e-4
    """Peak learning rate."""
    lora_plus_ratio: Annotated[float, Field(gt=0)] = 1.0
    """Ratio of the learning rate of the adapters' B to that of all other parameters (LoRA+, Hayou et al. 2024,
    arXiv:2402.12354)."""
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Decoupled weight decay; not applied to biases and norms."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which the learning rate rises from 0 to its peak."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Maximum norm of the gradient; larger gradients are scaled down to it."""
    gradient_accumulation_steps: Count = 1
    """Forward passes per optimizer step."""
    eval_every: Literal["epoch"] | Count | Percent = "epoch"
    """Evaluate after every epoch, after every N optimizer steps, or after a share of the planned steps, such as 10%."""
    objective: Literal["accuracy", "macro_f1"] = "accuracy"
    """Validation score that selects the best adapter and that early stopping follows; equal scores are decided by the
    lower loss."""
    patience: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 2
    """Stop after this many consecutive evaluations without progress, which is a better validation score or the lowest
    validation loss so far; 0 never stops early."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target probability that is spread over all classes (Szegedy et al. 2016, arXiv:1512.00567)."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: a text counts N / (C n) times in the loss, where n of the N training texts are in its class, and C is
    the number of classes, so that all classes count equally."""
    logit_adjustment: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Factor tau of the logarithm of each class's share of the training texts, which is added to its logit in the loss
    only; the trained logits then favour no frequent class (Menon et al. 2021, arXiv:2007.07314). 1 is the theory's
    value; 0 adds nothing."""
    r_drop: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Weight of the divergence between the predictions of two passes with different dropout (R-Drop, Wu et al. 2021,
    arXiv:2106.14448), which doubles the time of a step; 0 runs one pass."""
    average_from: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Average the trained values over the steps after this share of them (Izmailov et al. 2018, arXiv:1803.05407).
    Evaluations from then on score the average too, and the better one is selected; without validation texts, the
    average. Not with lora.variant=adalora. Default: no average."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the matrix products; auto uses bfloat16 if the processor computes it in hardware."""
    execution: Literal["auto", "reference", "packed"] = "auto"
    """reference runs the modules of transformers and peft; packed runs the packed kernels on a CPU, and packed tokens
    through transformers on a CUDA device; auto uses the packed kernels if they support the encoder, else
    reference."""
    compile: bool = False
    """Compile the layers of transformers and peft with torch.compile, which takes time before the first step. With
    compile, execution auto means reference, and packed is refused. Prediction with the finished run does not
    compile."""
    group_by_length: bool = True
    """Batch texts of similar length together; the longest batch comes first in the first epoch."""
    prefix_cache: bool = True
    """Run the layers below the lowest adapter once per text and cache their output, in memory or on disk."""
    log_every: Count = 10
    """Optimizer steps between two lines of the history."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Number of processor threads. Default: the choice of torch."""

    @model_validator(mode="after")
    def _compiled_is_not_packed(self) -> TrainRecipe:
        if self.compile and self.execution == "packed":
            raise ValueError("compile=false with execution=packed|true")
        return self

    @property
    def evaluation_share(self) -> float | None:
        """The share of the planned steps between two evaluations; None if `eval_every` is no percentage."""
        every = self.eval_every
        return int(every[:-1]) / 100 if isinstance(every, str) and every != "epoch" else None

    def share_done(self, step: int, epoch: float) -> float:
        """Return the trained share of the planned steps or epochs, after a step of the history."""
        if self.steps is None:
            return min(1.0, epoch / self.epochs)
        return min(1.0, step / self.steps) if self.steps else 1.0
