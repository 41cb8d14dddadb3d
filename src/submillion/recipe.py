"""The typed recipe: everything that decides a run, read from yaml, overridden with --set, checked at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from submillion import recipe_file
from submillion.errors import BadInput, Problem

RECIPES = Path(__file__).parent / "recipes"

TARGETS = ("query", "key", "value", "qkv", "attention_output", "ffn_up", "ffn_down")
# Short forms that the field uses for the same matrices.
TARGET_ALIASES = {
    "q": "query",
    "k": "key",
    "v": "value",
    "o": "attention_output",
    "up": "ffn_up",
    "down": "ffn_down",
}
ALL_LINEAR = "all-linear"
TRACKERS = ("wandb", "tensorboard", "mlflow", "trackio")


class Section(BaseModel):
    """A part of the recipe: frozen, unknown keys refused, each field's docstring is its help."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, coerce_numbers_to_str=True
    )


class EncoderRecipe(Section):
    """The pretrained encoder and its regularisation."""

    source: str
    """Catalog name (roberta-base, minilm, mpnet-base ...), hub id (org/name) or local folder."""
    revision: str | None = None
    """Hub revision: branch, tag or commit; null takes the main branch."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout on hidden states while training; null keeps the encoder's own setting."""
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout on attention probabilities while training; null keeps the encoder's own setting."""
    classifier_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout before the output layer of the head; null keeps the encoder's own setting."""


class DataRecipe(Section):
    """The labelled texts: where they are, how to read them, how to split them."""

    train: str
    """Catalog name (ag_news, reuters-r8), hub id, file or folder with the training texts."""
    test: str | None = None
    """Where the test texts are; null takes the test split that comes with `train`, if any."""
    validation: str | None = None
    """Where the validation texts are; null carves them out of the training texts."""
    validation_size: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training texts held out for validation, stratified by label."""
    text: str | list[str] | None = None
    """Text column, or several to be joined with a space; null finds it by its usual names."""
    label: str | None = None
    """Label column; null finds it by its usual names."""
    labels: Annotated[list[str], Field(min_length=2)] | None = None
    """Label names in the order of their numbers; null takes them from the data."""
    max_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """Longest text in tokens, special tokens included; longer ones are cut, and counted in the manifest."""
    drop_train_rows_in_test: bool = True
    """Remove training rows whose text is also a test text."""
    drop_duplicates: bool = False
    """Remove training rows whose text and label appeared before."""
    trust_pickle: bool = False
    """Read pickle files. Unpickling runs code that the file's author chose; only for files of your own."""
    limit: Annotated[int, Field(ge=2)] | None = None
    """Use at most this many rows of each split, drawn with the seed; for a quick try."""

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, value: list[str] | None) -> list[str] | None:
        if value and len(set(value)) != len(value):
            raise ValueError("label names that differ from each other")
        return value


class LoraRecipe(Section):
    """Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685): W x + (alpha / r) B A x; and its variants."""

    variant: Literal["lora", "dora", "pissa", "eva", "adalora", "vera", "bitfit"] = "lora"
    """lora; dora: magnitude and direction apart (arXiv:2402.09353); pissa: A and B begin as W's principal part
    (arXiv:2404.02948), dropout 0 suits it; eva: A begins as the principal directions of the matrix's input
    (arXiv:2410.07170); adalora: a third of the ranks is pruned on the way (arXiv:2303.10512); vera: random A and B
    shared by all, two vectors a matrix are trained (arXiv:2310.11454); bitfit: biases only (arXiv:2106.10199)."""
    r: Annotated[int, Field(ge=1)] = 8
    """Rank of the adapters; none with bitfit."""
    alpha: Annotated[float, Field(gt=0)] = 16
    """Scale: the adapter's output is multiplied by alpha / r (alpha / sqrt(r) with rslora); vera has none."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on the adapter's input."""
    targets: Annotated[list[str], Field(min_length=1)] = ["query", "value"]
    """Which matrices carry adapters: query, key, value, attention_output, ffn_up, ffn_down (ModernBERT: qkv
    for the fused three), or all-linear for every one of the encoder's layers."""
    layers: Literal["all"] | Annotated[str, Field(pattern=r"^top-[1-9]\d*$")] | list[int] = "all"
    """Which layers carry adapters: all, top-N, or a list of indices from 0. Layers below the lowest one
    are run once per text, and their output is cached."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which biases of the encoder are trained as well; all of them with bitfit."""
    rslora: bool = False
    """Scale by alpha / sqrt(r) (Kalajdzievski 2023, arXiv:2312.03732)."""

    @model_validator(mode="before")
    @classmethod
    def _bitfit_trains_biases(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("variant") == "bitfit":
            return {"bias": "all"} | values
        return values

    @model_validator(mode="after")
    def _variant_has_what_is_asked(self) -> LoraRecipe:
        if self.rslora and self.variant not in ("lora", "dora", "pissa", "eva"):
            raise ValueError(f"variant lora, dora, pissa or eva where rslora is true|{self.variant}")
        if self.variant == "bitfit" and self.bias != "all":
            raise ValueError(f"bias all where the variant is bitfit|{self.bias}")
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
    def _layers_make_sense(cls, value: Any) -> Any:
        if isinstance(value, list):
            if not value or min(value) < 0:
                raise ValueError("'all', 'top-N' or a list of layer indices from 0")
            return sorted(set(value))
        return value

    def layer_indices(self, n_layers: int) -> list[int]:
        """Return the adapted layers' indices, ascending, for an encoder of `n_layers` layers.

        Raises:
            BadInput: a layer is named that the encoder does not have.
        """
        if self.layers == "all":
            return list(range(n_layers))
        if isinstance(self.layers, str):
            count = int(self.layers.removeprefix("top-"))
            wanted = list(range(n_layers - count, n_layers))
        else:
            wanted = list(self.layers)
        if wanted[0] < 0 or wanted[-1] >= n_layers:
            raise BadInput(
                Problem(
                    "lora.layers",
                    f"layers among the encoder's {n_layers} (0 to {n_layers - 1})",
                    repr(self.layers),
                    f"For example lora.layers=top-{max(1, n_layers // 2)}.",
                )
            )
        return wanted


class HeadRecipe(Section):
    """What stands between the encoder's last hidden state and the logits."""

    kind: Literal["stock", "linear", "lora"] = "stock"
    """stock: the family's own head, fully trained; linear: only its output layer is trained;
    lora: the output layer is trained and the projection before it carries a low-rank adapter."""
    r: Annotated[int, Field(ge=1)] = 16
    """Rank of the projection's adapter; only for kind lora."""
    alpha: Annotated[float, Field(gt=0)] = 16
    """Scale of the projection's adapter; only for kind lora."""


class TrainRecipe(Section):
    """Optimisation: AdamW, linear warm-up then linear decay, early stopping on validation accuracy."""

    epochs: Annotated[int, Field(ge=1)] = 5
    """Passes over the training texts at most."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Stop after the step that reaches this many tokens, padding not counted; the learning rate decays until then.
    null trains all epochs."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Stop after the step in which training has taken this long, evaluations included, the filling of the prefix
    cache not; the learning rate follows the clock where that is ahead of the steps. How many steps fit depends on
    the machine, so such a run is not the same twice. One process only. null has no limit."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Texts per forward pass and process."""
    batch_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens per forward pass and process, padding not counted, instead of a number of texts; a batch then holds
    as many texts as fit, at least one and at most 8 times batch_size. null takes batch_size texts."""
    eval_batch_size: Annotated[int, Field(ge=1)] = 64
    """Texts per forward pass in evaluation, at least: the packed execution, which pads nothing, joins batches."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 3e-4
    """Peak learning rate."""
    lora_plus_ratio: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of the adapters' B over that of all else (LoRA+, Hayou et al. 2024, arXiv:2402.12354)."""
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Decoupled weight decay; biases and norms have none."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which the learning rate climbs from 0."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = 1
    """Forward passes per optimizer step."""
    eval_every: Literal["epoch"] | Annotated[int, Field(ge=1)] = "epoch"
    """Evaluate after every epoch, or after every N optimizer steps."""
    patience: Annotated[int, Field(ge=0)] = 2
    """Stop after this many evaluations in a row without a better validation accuracy; 0 never stops."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target probability spread over all classes (Szegedy et al. 2016, arXiv:1512.00567)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto takes bfloat16 only where the processor computes it in hardware."""
    execution: Literal["auto", "reference", "packed"] = "auto"
    """auto takes the packed kernels where they can run the encoder, else the modules of transformers and peft,
    which reference always takes. packed on a CUDA device lays tokens end to end through transformers; auto does not
    take that."""
    compile: bool = False
    """Run the layers of transformers and peft through torch.compile, which takes its time before the first step.
    auto then is reference, as the kernels have nothing to compile, and with packed it is refused. Predicting with
    the finished run does not compile."""
    group_by_length: bool = True
    """Batch texts of like length together; the longest batch comes first, once."""
    prefix_cache: bool = True
    """Run the layers below the lowest adapter once per text and keep their output, in memory or on disk."""
    log_every: Annotated[int, Field(ge=1)] = 10
    """Optimizer steps between two lines of the history."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Processor threads; null leaves torch's own choice."""

    @model_validator(mode="after")
    def _compiled_is_not_packed(self) -> TrainRecipe:
        if self.compile and self.execution == "packed":
            raise ValueError("compile false where execution is packed|true")
        return self


class Recipe(Section):
    """One run, completely described."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    """Name of the recipe; the run directory's default name."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of split, initial adapters, order and dropout."""
    budget: Annotated[int, Field(ge=1)] = 1_000_000
    """Trainable parameters that the run may not exceed."""
    track: list[Literal["wandb", "tensorboard", "mlflow", "trackio"]] = []
    """Experiment trackers to log to."""
    encoder: EncoderRecipe
    data: DataRecipe
    lora: LoraRecipe = LoraRecipe()
    head: HeadRecipe = HeadRecipe()
    train: TrainRecipe = TrainRecipe()

    @model_validator(mode="after")
    def _sections_agree(self) -> Recipe:
        has_b = self.lora.variant not in ("vera", "bitfit") or self.head.kind == "lora"
        if self.train.lora_plus_ratio != 1 and not has_b:
            found = f"{self.train.lora_plus_ratio:g}, and no matrix B is trained with lora.variant={self.lora.variant}"
            raise BadInput(Problem("train.lora_plus_ratio", "1", found))
        if self.lora.variant == "adalora" and self.train.max_seconds is not None:
            remedy = "AdaLoRA's schedule needs the number of steps; train.max_tokens gives one."
            raise BadInput(Problem("train.max_seconds", "null with lora.variant=adalora", "a limit", remedy))
        return self

    @classmethod
    def load(cls, name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a recipe by its shipped name or its file, then apply overrides.

        Args:
            name_or_path: such as `quickstart`, or a YAML file.
            overrides: fields to change, such as `["lora.r=8", "train.epochs=2"]`; values are YAML.

        Raises:
            BadInput: the file is missing or unreadable, or a key or value is wrong; all problems at once.

        Example:
            >>> Recipe.load("quickstart", ["lora.r=8"]).lora.r
            8
        """
        file = find_recipe(str(name_or_path))
        values = recipe_file.read_yaml(file)
        values.setdefault("name", file.stem)
        return cls._overridden(values, overrides, file)

    def with_overrides(self, overrides: Sequence[str]) -> Recipe:
        """Return a copy with fields changed, as `load` changes them.

        Raises:
            BadInput: a key or value is wrong; all problems at once.
        """
        return self._overridden(self.model_dump(mode="json"), overrides, Path(self.name))

    @classmethod
    def _overridden(cls, values: dict[str, Any], overrides: Sequence[str], file: Path) -> Recipe:
        problems = [problem for item in overrides if (problem := recipe_file.override(cls, values, item))]
        try:
            recipe = cls.model_validate(values)
        except ValidationError as error:
            raise BadInput(problems + recipe_file.problems_of(cls, error, file)) from None
        if problems:
            raise BadInput(problems)
        return recipe

    def with_data(self, **fields: Any) -> Recipe:
        """Return a copy with other fields of the `data` section."""
        return self.model_copy(update={"data": self.data.model_copy(update=fields)})

    def with_absolute_paths(self) -> Recipe:
        """Return a copy whose existing paths are absolute: a run may be resumed and used from another directory."""

        def absolute(source: str | None) -> str | None:
            return str(Path(source).resolve()) if source and Path(source).exists() else source

        encoder = self.encoder.model_copy(update={"source": absolute(self.encoder.source)})
        paths = {name: absolute(getattr(self.data, name)) for name in ("train", "validation", "test")}
        return self.with_data(**paths).model_copy(update={"encoder": encoder})

    def to_yaml(self) -> str:
        """Return the complete recipe, defaults included, as yaml."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return recipe_file.shipped_names(RECIPES)


def find_recipe(name_or_path: str) -> Path:
    """Return the file of a shipped recipe name or of a path; raises BadInput when there is none."""
    expected = f"one of {', '.join(recipe_names())}, or a yaml file"
    return recipe_file.find(name_or_path, RECIPES, "recipe", expected)


def field_help(path: str) -> str:
    """Return the help of one field by its dotted name, e.g. `lora.r`."""
    return recipe_file.field_help(Recipe, path)


def field_names() -> list[str]:
    """Return the dotted names of all fields of the recipe."""
    return recipe_file.field_names(Recipe)


__all__ = [
    "ALL_LINEAR",
    "TARGETS",
    "TRACKERS",
    "DataRecipe",
    "EncoderRecipe",
    "HeadRecipe",
    "LoraRecipe",
    "Recipe",
    "TrainRecipe",
    "field_help",
    "field_names",
    "find_recipe",
    "recipe_names",
]
