"""Makes a run of a classifier that another program trained: counted, evaluated, reported, and checked against peft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from submillion import environment, notices, reporting, run_paths
from submillion.assess.evaluate import evaluation_entry
from submillion.assess.run_context import RunContext
from submillion.assess.score import assess_run
from submillion.budget.count import Count
from submillion.budget.render import render_count
from submillion.budget.saved import count_saved
from submillion.data.corpus import Split, read_labelled
from submillion.data.labels import Classes
from submillion.data.tokenizer import load_tokenizer
from submillion.errors import BadInput, OverBudget, Problem
from submillion.families.families import family_of
from submillion.files import strict_json
from submillion.files.atomic import atomic_dir
from submillion.report.write import write_report
from submillion.run_format.manifest import (
    FORMAT,
    AdoptionEntry,
    BudgetEntry,
    GitEntry,
    MachineEntry,
    Manifest,
)
from submillion.run_format.predictions import Predictions
from submillion.run_inputs import save_tokenizer
from submillion.rundir import RunDir
from submillion.sources import adapter_files
from submillion.sources.adapters import FetchedAdapter, class_names, fetch_adapter
from submillion.sources.fetch import FetchedEncoder, encoder_config, fetch_encoder, is_on_hub
from submillion.sources.folder import CONFIG, TOKENIZERS
from submillion.version import __version__
from submillion.wording import excerpt

if TYPE_CHECKING:
    from submillion.model.foreign import Foreign
    from submillion.model.trained import OpenedRun

# Torch is imported inside the functions that need it: an adapter that is over the budget is refused before.

BUDGET = 1_000_000
LONGEST = 512
"""Longest input of an adopted run unless the user names another: what it had in training is unknown."""
UNKNOWN = (
    "the training and validation rows",
    "the recipe: learning rate, epochs, batch size, dropout, seed",
    "the history: losses, steps, evaluations",
    "the longest input in training",
    "whether the test rows were among the training rows",
    "the machine, the duration and the versions of the training",
)


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
class _Subject:
    """An adapter with its encoder, before anything is written."""

    fetched: FetchedAdapter
    foreign: Foreign
    encoder: FetchedEncoder
    config: dict[str, Any]
    labels: list[str]
    counted: Count
    max_length: int


def adopt(
    adapter: str | Path, out: str | Path, options: Options, *, overwrite: bool = False, progress: bool = False
) -> RunDir:
    """Make a run directory of an adapter; everything that can be refused is refused before anything is written.

    Args:
        adapter: folder or hub id of a LoRA for sequence classification in peft's format.
        out: the run directory to make.
        options: what the user says about it.
        overwrite: replace an existing run.
        progress: show progress on standard error.

    Returns:
        The run. Facts about its training are unknown: there is no recipe, no history, and no training data.

    Raises:
        OverBudget: the adapter has more parameters than the budget; no weight is read.
        BadInput: the adapter cannot be adopted, or encoder, labels, data or directory do not fit.
    """
    run = RunDir(out)
    run.check_new(overwrite)
    subject = _subject(str(adapter), options, progress)
    split = None
    if options.data is not None:
        classes = Classes(subject.labels, numbered=True)
        split = read_labelled(Path(options.data), classes, "test", options.text, options.label)
    with run.new(overwrite):
        _write(run, subject, options)
        opened = _opened(run)
        if split is not None and options.data is not None:
            _evaluate(run, opened, split, options, progress)
        else:
            run.update_manifest(notices=notices.collected())
            run.seal()
            write_report(run.path)
        run.end(status="complete")
    return run


def _subject(adapter: str, options: Options, progress: bool) -> _Subject:
    """Find, check and count an adapter; the budget is checked before a weight is read."""
    fetched = fetch_adapter(adapter, options.revision, progress)
    # Loads torch, which no refusal above needs.
    from submillion.model.foreign import read_foreign  # noqa: PLC0415

    source, revision = _encoder(fetched, options.encoder)
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
    encoder = fetch_encoder(source, revision, progress)
    _notice_base(foreign, encoder)
    _check_encoder_labels(encoder, labels)
    return _Subject(fetched, foreign, encoder, config, labels, counted, max_length)


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
    if is_on_hub(source):
        return source, revision
    notices.emit(
        "encoder_revision",
        f"the adapter names revision {excerpt(revision, 60)} of its encoder, and the present copy of {source} is used.",
        revision=excerpt(revision, 60),
    )
    return source, None


def _labels(
    fetched: FetchedAdapter, foreign: Foreign, named: Sequence[str] | None, classes: int
) -> list[str]:
    """Return the class names by index, which must agree with the head and with names that the files hold."""
    own = foreign.label_names or fetched.class_names
    labels = list(named) if named is not None else own
    order = f"{classes} names, in the order of the head's outputs"
    if labels is None:
        raise BadInput(Problem("@{labels}", order, "none, and the adapter's files hold none"))
    if len(labels) != classes:
        raise BadInput(Problem("@{labels}", order, f"{len(labels)}: {', '.join(labels)}"))
    if len(set(labels)) != len(labels) or not all(name.strip() for name in labels):
        raise BadInput(Problem("@{labels}", "different names", ", ".join(labels)))
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


def _write(run: RunDir, subject: _Subject, options: Options) -> None:
    """Write adapter, tokenizer and manifest."""
    from submillion.model.adopted_adapter import adopt as adopt_adapter  # noqa: PLC0415

    compared: list[tuple[int, float]] = []

    def write(folder: Path) -> None:
        compared.append(
            adopt_adapter(
                subject.foreign, subject.encoder.path, subject.labels, subject.encoder.origin, folder
            )
        )

    atomic_dir(run.adapter, write)
    own_tokenizer = any(
        all((subject.fetched.path / name).is_file() for name in names) for names in TOKENIZERS
    )
    save_tokenizer(
        load_tokenizer(subject.fetched.path if own_tokenizer else subject.encoder.path), run.tokenizer
    )
    manifest = _manifest(run, subject, options, *compared[0])
    places = [subject.encoder.origin, subject.encoder.name, subject.fetched.origin]
    absolute = [place for place in places if Path(place).is_absolute()]
    run.write_json(run.manifest, run_paths.relative(manifest, absolute, run.path))


def _manifest(run: RunDir, subject: _Subject, options: Options, texts: int, difference: float) -> Manifest:
    encoder, fetched, text = subject.encoder, subject.fetched, options.text
    is_folder = encoder.via == "folder"
    adopted: AdoptionEntry = {
        "source": fetched.origin if fetched.revision is None else fetched.name,
        "origin": fetched.origin,
        "revision": fetched.revision,
        "licence": fetched.licence,
        "sha256": fetched.sha256,
        "base": subject.foreign.base,
        "peft_version": subject.foreign.settings.get("peft_version"),
        "pooling": "mean" if subject.foreign.headless else "first",
        "text": text if text is None or isinstance(text, str) else list(text),
        "label": options.label,
        "precision": "unknown",
        "execution": "unknown",
        "compared_texts": texts,
        "largest_difference": difference,
        "unknown": list(UNKNOWN),
    }
    return {
        "format": FORMAT,
        "submillion": __version__,
        "name": run.path.resolve().name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": "running",
        "labels": subject.labels,
        "max_length": subject.max_length,
        "versions": environment.versions(),
        "machine": cast(MachineEntry, environment.machine()),
        "git": cast(GitEntry | None, environment.git_state()),
        "encoder": {
            "source": encoder.origin if is_folder else encoder.name,
            "revision": encoder.revision,
            "name": encoder.name,
            "origin": encoder.origin,
            "via": encoder.via,
            "licence": encoder.licence,
            "model_type": subject.config["model_type"],
            "sha256": encoder.sha256,
        },
        "budget": cast(BudgetEntry, subject.counted.to_json()),
        "adopted": adopted,
    }  # type: ignore[typeddict-item]  # seed and data are unknown


def _opened(run: RunDir) -> OpenedRun:
    """Return the run's classifier, and record how it is run."""
    from submillion.model.trained import open_run_classifier  # noqa: PLC0415

    opened = open_run_classifier(run)
    how = {"precision": opened.execution.precision.dtype_name, "execution": opened.execution.name}
    run.update_manifest(adopted=dict(run.read_manifest()["adopted"]) | how)
    return opened


def _evaluate(run: RunDir, opened: OpenedRun, split: Split, options: Options, progress: bool) -> None:
    """Predict the rows of a file as the run's test split, score them, and make analysis and report."""
    file = Path(cast(str | Path, options.data))
    probabilities = opened.probabilities(split.texts, run.read_recipe().train.eval_batch_size, progress)
    text = options.text if options.text is None or isinstance(options.text, str) else list(options.text)
    entry = evaluation_entry(run, file, text, options.label, len(split))
    run.update_manifest(evaluations={split.name: entry})
    hashes = [split.text_sha256(row) for row in range(len(split))]
    run.save_predictions(
        split.name, Predictions.of(split.ids, hashes, split.labels, probabilities, opened.labels)
    )
    assess_run(run)
    reporting.after_training(RunContext(run, opened=opened, progress=progress))
