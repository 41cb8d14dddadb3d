"""Makes a run of a classifier that another program trained: counted, evaluated, reported, and checked against peft."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from submillion import environment, notices, reporting, run_paths
from submillion.adoption_subject import Options, Subject, subject_of
from submillion.assess.evaluate import evaluation_entry
from submillion.assess.run_context import RunContext
from submillion.assess.score import assess_run
from submillion.data.corpus import Split, read_labelled
from submillion.data.labels import Classes
from submillion.data.tokenizer import load_tokenizer
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
from submillion.sources.folder import TOKENIZERS
from submillion.version import __version__

if TYPE_CHECKING:
    from submillion.model.trained import OpenedRun

# Torch is imported inside the functions that need it: an adapter that is over the budget is refused before.

UNKNOWN = (
    "the training and validation rows",
    "the recipe: learning rate, epochs, batch size, dropout, seed",
    "the history: losses, steps, evaluations",
    "the longest input in training",
    "whether the test rows were among the training rows",
    "the machine, the duration and the versions of the training",
)


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
    subject = subject_of(str(adapter), options, progress)
    run.check_new(overwrite, [str(path.resolve()) for path in (subject.fetched.path, subject.encoder.path)])
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


def _write(run: RunDir, subject: Subject, options: Options) -> None:
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
    places = [subject.encoder.origin, subject.fetched.origin]
    absolute = [place for place in places if Path(place).is_absolute()]
    run.write_json(run.manifest, run_paths.relative(manifest, absolute, run.path))


def _manifest(run: RunDir, subject: Subject, options: Options, texts: int, difference: float) -> Manifest:
    encoder, fetched, text = subject.encoder, subject.fetched, options.text
    # A folder is the same wherever it was named from.
    named = encoder.origin if encoder.via == "folder" else encoder.name
    adopted: AdoptionEntry = {
        "source": fetched.origin if fetched.revision is None else fetched.name,
        "origin": fetched.origin,
        "revision": fetched.revision,
        "licence": fetched.licence,
        "sha256": fetched.sha256,
        "base": subject.foreign.base,
        "peft_version": subject.foreign.settings.get("peft_version"),
        "pooling": "mean" if subject.foreign.headless else "first",
        "normalize": subject.foreign.normalize,
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
            "source": named,
            "revision": encoder.revision,
            "name": named,
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
