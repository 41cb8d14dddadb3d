"""An adapter to adopt: what the user says about it, and the adapter with its encoder, found, checked and counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion import notices
from submillion.budget.count import Count
from submillion.budget.render import render_count
from submillion.budget.saved import count_saved
from submillion.data.label_values import tidy
from submillion.errors import BadInput, OverBudget, Problem
from submillion.families.families import family_of
from submillion.files import strict_json
from submillion.sources import adapter_files
from submillion.sources.adapters import FetchedAdapter, class_names, fetch_adapter
from submillion.sources.catalog import ENCODERS
from submillion.sources.fetch import FetchedEncoder, encoder_config, fetch_encoder, is_on_hub
from submillion.sources.folder import CONFIG
from submillion.wording import excerpt, printable

if TYPE_CHECKING:
    from submillion.model.foreign import Foreign


BUDGET = 1_000_000
LONGEST = 512
"""Longest input of an adopted run unless the user names another: what it had in training is unknown."""


@dataclass(frozen=True)
class Options:
    """What a user may say about an adapter, besides its name."""

    encoder: str | None = None
    """Catalog name, hub id or folder; None takes the encoder that the adapter names."""
    labels: Sequence[str] | None = None
    """Class names in the order of the head's outputs; None takes those that its files name."""
    data: str | Path | None = None
    """A file of labelled texts to evaluate it on."""
    text: str | Sequence[str] | None = None
    """Text column of `data`, or several."""
    label: str | None = None
    """Label column of `data`."""
    max_length: int | None = None
    """Longest input in tokens; None takes the encoder's own, at most LONGEST."""
    budget: int = BUDGET
    """Trainable parameters allowed."""
    revision: str | None = None
    """Of the adapter's repository: branch, tag or commit."""


@dataclass(frozen=True)
class Subject:
    """An adapter with its encoder, before anything is written."""

    fetched: FetchedAdapter
    foreign: Foreign
    encoder: FetchedEncoder
    config: dict[str, Any]
    labels: list[str]
    counted: Count
    max_length: int


def subject_of(adapter: str, options: Options, progress: bool) -> Subject:
    """Find, check and count an adapter; the budget is checked before a weight is read.

    Args:
        adapter: folder or hub id.
        options: what the user says about it.
        progress: show downloads on standard error.

    Raises:
        OverBudget: the adapter has more parameters than the budget.
        BadInput: the adapter cannot be adopted, or encoder or labels do not fit.
    """
    fetched = fetch_adapter(adapter, options.revision, progress)
    # Loads torch, which no refusal above needs.
    from submillion.model.foreign import read_foreign  # noqa: PLC0415

    source, revision = _encoder(fetched, options.encoder)
    with _encoder_option(source, options.encoder):
        config = encoder_config(source, revision)
    family = family_of(config)
    foreign = read_foreign(fetched.path, family)
    classes = foreign.classes(family)
    labels = _labels(fetched, foreign, options.labels, classes)
    counted = count_saved(foreign.shapes, config, classes, options.budget, headless=foreign.headless)
    if not counted.fits:
        excess = counted.trainable - counted.budget
        raise OverBudget(
            f"over budget: the {counted.trainable:,} values in {fetched.name} are {excess:,} more than the budget of "
            f"{counted.budget:,}. Nothing was written.\n{render_count(counted)}\n"
            "An adapter cannot be made smaller: adopt another one, or raise the budget."
        )
    longest = family.longest_input(config)
    max_length = options.max_length or min(longest, LONGEST)
    if not 4 <= max_length <= longest:
        expected = f"from 4 to the {longest:,} tokens that the encoder has positions for"
        raise BadInput(Problem("@{max_length}", expected, f"{max_length:,}"))
    with _encoder_option(source, options.encoder):
        encoder = fetch_encoder(source, revision, progress)
    _notice_base(foreign, encoder)
    _check_encoder_labels(encoder, labels)
    return Subject(fetched, foreign, encoder, config, labels, counted, max_length)


def _encoder(fetched: FetchedAdapter, wanted: str | None) -> tuple[str, str | None]:
    """Return the encoder to use, and its revision if the adapter names both."""
    values = strict_json.read(
        fetched.path / adapter_files.CONFIG, "the configuration of an adapter", "Copy it again."
    )
    values = values if isinstance(values, dict) else {}
    name, revision = values.get("base_model_name_or_path"), values.get("revision")
    source = wanted or name
    if not isinstance(source, str) or not source:
        raise BadInput(
            Problem("@{encoder}", "the encoder of the adapter", "none, and the adapter names none")
        )
    if source != name or not isinstance(revision, str) or not revision:
        return source, None
    with _encoder_option(source, wanted):
        on_hub = is_on_hub(source)
    if on_hub:
        return source, revision
    notices.emit(
        "encoder_revision",
        f"the adapter names revision {excerpt(revision, 60)} of its encoder, and the present copy of {source} is used.",
        revision=excerpt(revision, 60),
    )
    return source, None


@contextmanager
def _encoder_option(source: str, wanted: str | None) -> Iterator[None]:
    """Let an encoder that is refused in the block name the option of `adopt`, which has no field of a recipe.

    Args:
        source: the encoder.
        wanted: as the user named it; None if the adapter names it.
    """
    try:
        yield
    except BadInput as error:
        # Without a hub, its copy in a wheel may still be reached.
        copy = next((entry.name for entry in ENCODERS.values() if entry.wheels and entry.hub == source), None)
        problems = []
        for one in error.problems:
            remedy = one.remedy.replace("@{encoder.source}", "@{encoder}")
            if copy is not None:
                remedy += f" Or take the copy in the catalog: @{{encoder={copy}}}."
            elif wanted is None and "@{encoder}" not in remedy:
                remedy += " The adapter names this encoder; name another place of it with @{encoder}."
            problems.append(replace(one, remedy=remedy.strip()))
        raise BadInput(problems or str(error)) from error


def _labels(
    fetched: FetchedAdapter, foreign: Foreign, named: Sequence[str] | None, classes: int
) -> list[str]:
    """Return the class names by index, which must agree with the head and with names that the files hold."""
    own = foreign.label_names or fetched.class_names
    # As labels are read: names that differ in nothing that can be seen are one class.
    labels = [tidy(name) for name in named] if named is not None else own
    order = f"{classes} names, in the order of the head's outputs"
    if labels is None:
        raise BadInput(Problem("@{labels}", order, "none, and the adapter's files hold none"))
    if len(labels) != classes:
        raise BadInput(Problem("@{labels}", order, f"{len(labels)}: {', '.join(labels)}"))
    if len(set(map(tidy, labels))) != len(labels) or not all(map(tidy, labels)):
        raise BadInput(Problem("@{labels}", "different names", ", ".join(labels)))
    if unprintable := [name for name in labels if printable(name) != name]:
        found = ", ".join(repr(name) for name in unprintable)
        raise BadInput(Problem("@{labels}", "class names without control characters", excerpt(found, 200)))
    if own is not None and sorted(own) == sorted(labels) and own != labels:
        raise BadInput(
            Problem(
                "@{labels}", f"the order that the adapter's files hold: {', '.join(own)}", ", ".join(labels)
            )
        )
    if own is not None and sorted(own) != sorted(labels):
        notices.emit(
            "other_labels",
            f"the adapter's files name other classes ({', '.join(own)}); the names passed are used.",
            labels=own,
        )
    return labels


def _check_encoder_labels(encoder: FetchedEncoder, labels: list[str]) -> None:
    """Refuse class names that the encoder's config.json lists in another order."""
    own = class_names(encoder.path / CONFIG)
    if own is not None and sorted(own) == sorted(labels) and own != labels:
        expected = f"the order in the encoder's config.json: {', '.join(own)}"
        raise BadInput(Problem("@{labels}", expected, ", ".join(labels)))


def _notice_base(foreign: Foreign, encoder: FetchedEncoder) -> None:
    """Emit a notice if the adapter names another encoder than the one that is used."""
    if foreign.base and foreign.base not in (encoder.origin, encoder.name, str(encoder.path)):
        notices.emit(
            "other_encoder",
            f"the adapter names the encoder {foreign.base}, and {encoder.name} is used; with other weights than those "
            "of its training its answers are wrong.",
            base=foreign.base,
        )
