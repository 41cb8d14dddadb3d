"""The sections `contrastive` and `train` of a recipe, with the help of every field."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from submillion.recipe_fields import MAX_COUNT, Count, Percent, Section

MAX_TEXTS = 8
"""Most texts of a batch by `batch_tokens`, times `batch_size`, however short they are."""


class ContrastiveRecipe(Section):
    """Contrastive stage before classification: pulls texts of one class together and pushes others apart, by
    the cosine of each pair in a batch (SetFit, Tunstall et al. 2022, arXiv:2209.11055). It trains the
    adapters; the probe of head.start follows."""

    steps: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    """Optimizer steps of this stage; 0 skips it."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Peak learning rate of this stage; warm-up, decay and the other optimizer settings are those of
    train."""
    batch_size: Annotated[int, Field(ge=4, le=MAX_COUNT)] = 64
    """Texts per step, as many of each class as possible."""


class TrainRecipe(Section):
    """AdamW with linear warm-up and decay, and early stopping on the validation score."""

    epochs: Count = 5
    """Maximum passes over the training texts; unused with steps."""
    steps: Annotated[int, Field(ge=0, le=MAX_COUNT)] | None = None
    """Maximum optimizer steps, instead of epochs: repeats the texts or ends the last pass early. 0 keeps the
    probe of head.start. Default: set by epochs."""
    max_tokens: Annotated[int, Field(ge=1, le=10**15)] | None = None
    """Stop after the step that reaches this number of tokens, without padding; the learning rate decays until then.
    Default: no limit."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Stop after the step that reaches this training time, which includes evaluations but not filling the
    prefix cache. The learning rate follows the clock if it is ahead of the steps. The number of steps depends
    on the machine, so the run is not reproducible. Single process only. Default: no limit."""
    batch_size: Count = 32
    """Texts per forward pass and process."""
    batch_tokens: Count | None = None
    """Tokens per forward pass and process, without padding, instead of a fixed number of texts: a batch takes
    as many texts as fit, at least 1, at most 8 times batch_size. Default: batch_size texts."""
    eval_batch_size: Count = 64
    """Texts per forward pass in evaluation; packed execution, which needs no padding, joins batches."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 3e-4
    """Peak learning rate."""
    lora_plus_ratio: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of the adapters' B, relative to that of all other parameters (LoRA+, Hayou et al. 2024,
    arXiv:2402.12354)."""
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Decoupled weight decay; not applied to biases and norms."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps over which the learning rate rises from 0 to its peak."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Maximum gradient norm; larger gradients are scaled down to it."""
    gradient_accumulation_steps: Count = 1
    """Forward passes per optimizer step."""
    eval_every: Literal["epoch"] | Count | Percent = "epoch"
    """Evaluate after every epoch, after every N optimizer steps, or after a share of the planned steps, such as 10%."""
    objective: Literal["accuracy", "macro_f1"] = "accuracy"
    """Validation score that selects the best adapter and controls early stopping; lower loss breaks ties."""
    patience: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 2
    """Stop after this many consecutive evaluations with neither a better validation score nor a new lowest
    validation loss; 0 never stops early."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target probability spread over all classes (Szegedy et al. 2016, arXiv:1512.00567)."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: weights each text by N / (C n) in the loss, so all classes count equally; N: training texts,
    n: those of its class, C: classes."""
    logit_adjustment: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Factor tau: adds tau times the log of each class's share of the training texts to its logit, in the
    loss only, so the trained logits do not favour frequent classes (Menon et al. 2021, arXiv:2007.07314). 1:
    the value from theory; 0: off."""
    r_drop: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Weight of the divergence between the predictions of two passes with different dropout (R-Drop, Wu et
    al. 2021, arXiv:2106.14448). It doubles the time of a step; 0 runs one pass."""
    average_from: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Average the trained values over the steps after this share of them (Izmailov et al. 2018,
    arXiv:1803.05407). Later evaluations also score the average, and the better one is selected; without
    validation texts, the average. Not with lora.variant=adalora. Default: no average."""
    wise_ft: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the training's change to keep: interpolates between the initial probe and the trained
    classifier (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903). Needs lora.variant=lora, head.start=probe
    and data.validation=cross-validation. Default: all."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the matrix products. auto: bfloat16 if the processor computes it in hardware."""
    execution: Literal["auto", "reference", "packed"] = "auto"
    """reference: the modules of transformers and peft; packed: the packed kernels on a CPU, packed tokens
    through transformers on a CUDA device; auto: the packed kernels if they support the encoder, else
    reference."""
    compile: bool = False
    """Compile the layers of transformers and peft with torch.compile, which takes time before the first step.
    execution auto then means reference, and packed is refused. Prediction with the finished run does not
    compile."""
    group_by_length: bool = True
    """Batch texts of similar length together; the first epoch begins with the longest batch."""
    prefix_cache: bool = True
    """Run the layers below the lowest adapter once per text and cache their output in a file, or in memory if the disk
    has no room."""
    prefix_precision: Literal["float", "int8"] = "float"
    """Number format of the cached lower layers. float: as precision; int8: 8-bit integer products, on
    processors with AMX, AVX-512 VNNI, or AVX2 without AVX-512. With int8, training and the choice of the best
    adapter use rounded states; saved predictions never do."""
    frozen_precision: Literal["float", "int8"] = "float"
    """Number format of a training step's products with frozen matrices. float: as precision; int8: 8-bit integer
    products in both passes, on processors with AMX, AVX512_BF16, or AVX2 without AVX-512. Evaluations and
    predictions never round. Not with lora.variant=dora."""
    log_every: Count = 10
    """Optimizer steps between two lines of the history."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processor threads. Default: PyTorch's choice."""

    @model_validator(mode="after")
    def _compiled_is_not_packed(self) -> TrainRecipe:
        if self.compile and self.execution == "packed":
            raise ValueError("compile=false with execution=packed|true")
        return self

    @model_validator(mode="after")
    def _int8_is_cached(self) -> TrainRecipe:
        if self.prefix_precision == "int8" and not self.prefix_cache:
            raise ValueError("prefix_cache=true with prefix_precision=int8|false")
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
