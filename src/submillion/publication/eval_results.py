"""The evaluation result of a run in the format of the hub's benchmarks (`.eval_results`)."""

from __future__ import annotations

from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from submillion.errors import BadInput, Problem
from submillion.report.card import dataset_of
from submillion.rundir import RunDir
from submillion.version import __version__

FILE = ".eval_results/submillion.yaml"


def eval_results(run: RunDir, task: str) -> str:
    """Return the accuracy on the test rows as YAML.

    The hub shows it on the page of the model, and on the board of the data set if that is a benchmark
    (https://huggingface.co/docs/hub/eval-results).

    Args:
        run: the run.
        task: id of the task in the data set's `eval.yaml`.

    Raises:
        BadInput: the test rows are not all those of a data set on the hub, or the run has no score on them.
    """
    manifest: dict[str, Any] = dict(run.read_manifest())
    data, scores = manifest.get("data", {}), run.read_metrics().get("test")
    dataset, test = dataset_of(manifest), data.get("test") or {}
    found = None
    if "adopted" in manifest:
        found = "an adopted run, whose training rows may contain the test rows"
    elif dataset is None or "/" not in dataset:
        found = "data that is not on the hub"
    elif test.get("from") != "source" or test.get("source") not in (None, data.get("source")):
        found = "test rows that are not the data set's own"
    elif data.get("limit") is not None:
        found = f"at most {data['limit']:,} rows of each split (data.limit)"
    elif scores is None or "accuracy" not in scores:
        found = "no score on test rows"
    if found is not None or dataset is None or scores is None:
        expected = "a run that is scored on the whole test split of a data set on the hub"
        raise BadInput(Problem("@{eval_results}", expected, found or "none"))
    entry = EvalResultEntry(
        dataset_id=dataset,
        task_id=task,
        value=round(100 * scores["accuracy"], 4),
        date=manifest["created"][:10],
        notes=f"accuracy in percent on {scores['rows']:,} test rows; submillion {__version__}",
    )
    text: str = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True)
    return text
