"""The section `data` of a recipe, with the help of every field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from submillion.recipe_fields import MAX_COUNT, Section, Source

NO_TEST = "none"
"""The value of `data.test` that means: no test split, even if one comes with the training texts."""
CROSS_VALIDATION = "cross-validation"
"""The value of `data.validation` that means: all rows are trained on, and scored by models of folds."""
MAX_LABEL_BYTES = 100_000
"""Class names of a recipe together: a recipe file stays far below the size that is read."""


class DataRecipe(Section):
    """Location, columns and splits of the labelled texts."""

    train: Source
    """Training texts: catalog name (ag_news, reuters-r8), hub id, file or folder."""
    more: Source | None = None
    """Further training texts: a file or a folder of files, such as those that `suggest` chose and a person has
    labelled. They are read with the columns of train where they have them. Default: none."""
    test: Source | None = None
    """Location of the test texts, or none to train without a test split. Default: the test split that comes
    with train, if any."""
    test_size: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the training texts held out for testing, stratified by label, before the validation split is
    drawn. Not with test. Default: none."""
    validation: Source | None = None
    """Location of the validation texts, or cross-validation: train on all texts, and predict each with a
    model trained without it (needs train.patience=0). Default: a share of the training texts."""
    validation_size: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training texts held out for validation, stratified by label."""
    folds: Annotated[int, Field(ge=2, le=100)] = 5
    """Folds of the cross-validation; each is predicted by a model trained on the others. Fewer if no class
    has that many different texts."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """Repetitions of the cross-validation, each with other folds; the scores of all are reported."""
    encoding: str | None = None
    """Character encoding of csv, tab-separated and JSON files, such as utf-8, cp1252 or utf-16. Default:
    detected; a notice names it if it is not UTF-8."""
    text: str | list[str] | None = None
    """Text column, or a list of columns joined with a space. Default: the column with a usual name."""
    label: str | None = None
    """Label column. Default: the column with a usual name."""
    split: str | None = None
    """Column of the training file that says for each row whether it is for training, validation or testing
    (train, validation or dev, test). Default: all rows are for training."""
    labels: Annotated[list[str], Field(min_length=2)] | None = None
    """Label names in the order of their numbers. Default: the labels in the data."""
    skip_unlabelled: bool = False
    """Leave out rows of the training files that have no label, and count them. Default: they are refused."""
    corrections: Source | None = None
    """File of corrected training labels: the output of `report --with noise --out FILE`, filled in by a
    person. Default: no corrections."""
    max_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """Maximum tokens per text, special tokens included. Longer texts are truncated and counted in the
    manifest."""
    windows: Literal["first", "head_tail", "all"] = "first"
    """Which tokens of a text longer than max_length are read. first: the first ones (the last ones if the
    tokenizer truncates on the left); head_tail: half from the beginning, half from the end
    (arXiv:1905.05583); all: every token, in windows of at most max_length tokens whose features are
    averaged."""
    max_unknown_tokens: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Maximum share of unknown tokens in the training texts; above it training is refused, because the
    encoder cannot read them."""
    drop_train_rows_in_test: bool = True
    """Drop training rows whose text also occurs in the test split or in a separate validation split."""
    drop_duplicates: bool = False
    """Drop training rows that repeat the text and label of an earlier row."""
    slice_columns: list[str] = Field(default_factory=list)
    """Further columns, such as source or language; the report shows the accuracy for each of their values."""
    limit: Annotated[int, Field(ge=2, le=MAX_COUNT)] | None = None
    """Maximum rows per split, drawn at random with the seed, for a quick test."""

    @field_validator("test")
    @classmethod
    def _no_test_in_any_case(cls, value: str | None) -> str | None:
        return NO_TEST if value is not None and value.lower() == NO_TEST else value

    @field_validator("validation")
    @classmethod
    def _cross_validation_in_any_case(cls, value: str | None) -> str | None:
        word = "" if value is None else value.lower()
        if word == NO_TEST:
            raise ValueError(
                f"a source, {CROSS_VALIDATION}, or null for a part of the training texts|{value}"
            )
        return CROSS_VALIDATION if word == CROSS_VALIDATION else value

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
