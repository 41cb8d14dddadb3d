"""`BatchPredictor`: a run as a function from arrays to arrays, for the workers of other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from submillion import notices
from submillion.arguments import check_count, check_flags, check_path, check_text
from submillion.errors import BadInput, Problem
from submillion.model.precisions import check_precision
from submillion.rundir import RunDir

LABEL, CONFIDENCE = "predicted_label", "confidence"


class HasPath(Protocol):
    """A run that is opened already, such as `submillion.Run`."""

    @property
    def path(self) -> Path:
        """The run directory."""
        ...


class BatchPredictor:
    """Labels batches of texts with a run, for the maps of Ray Data, Spark and Dask.

    An instance is small and can be pickled: it holds the run's path and its options. The first batch loads the
    classifier, once per process for all instances. Every machine must see the run and its encoder under the same paths.

    Example:
        >>> predictor = sm.BatchPredictor("runs/reviews")  # doctest: +SKIP
        >>> predictor({"text": np.array(["arrived broken"])})["predicted_label"]  # doctest: +SKIP
        array(['complaint'], dtype='<U9')
    """

    def __init__(
        self,
        run: str | Path | HasPath,
        *,
        text: str = "text",
        probabilities: bool = False,
        batch_size: int = 64,
        precision: str = "auto",
    ) -> None:
        """Describe a predictor; loads nothing.

        Args:
            run: finished run directory, or an opened `Run`, of which only the path is used.
            text: column of a batch that holds the texts.
            probabilities: add the column `p_<class>` for every class.
            batch_size: texts per forward pass.
            precision: `auto`, `float32`, `bfloat16` or `int8`. `auto`: int8 if the run has proven it and the processor
                has the kernels, else as in training; each process decides for itself.

        Raises:
            BadInput: there is no run, the precision is unknown, `text` is not a name, or `batch_size` is below 1.
        """
        place: Any = getattr(run, "path", run)
        check_path(place, "run")
        check_text(precision, "precision", optional=False)
        check_flags(probabilities=probabilities)
        check_precision(precision)
        check_count(batch_size, "batch_size")
        if not isinstance(text, str):
            raise BadInput(Problem("@{text}", "the name of one column", repr(text)))
        opened = RunDir.open(place)
        manifest = opened.read_manifest()
        self._path = str(opened.path.resolve())
        self._classes = np.array(manifest.get("label_values") or manifest["labels"])
        self._names = [str(label) for label in manifest["labels"]]
        self._text, self._probabilities, self._batch_size = text, probabilities, batch_size
        self._precision = precision

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return a batch with added columns.

        Args:
            batch: arrays of N values by column; one has the texts.

        Returns:
            The columns of the batch; `predicted_label`, in the type of the training labels; `confidence`, float32 [N];
            and, with `probabilities`, `p_<class>`, float32 [N].

        Raises:
            BadInput: the batch is not a dict of columns, lacks the texts or already has these columns; a text is
                missing; or the run or its encoder cannot be opened.
        """
        # Loads torch.
        from submillion.data.in_memory import text_values  # noqa: PLC0415
        from submillion.ship.opened_runs import opened_once  # noqa: PLC0415

        added = [LABEL, CONFIDENCE, *([f"p_{name}" for name in self._names] if self._probabilities else [])]
        # A DataFrame of pandas has keys, a table of pyarrow or polars does not.
        if not hasattr(batch, "keys"):
            expected = "a dict of arrays by column"
            raise BadInput(Problem("the batch", expected, f"one {type(batch).__name__}"))
        if self._text not in batch:
            found = f"the columns {', '.join(map(repr, batch))}"
            raise BadInput(Problem("@{text}", f"a batch with the column '{self._text}'", found))
        if taken := [name for name in added if name in batch]:
            raise BadInput(
                Problem("the batch", f"no column '{taken[0]}', which is added", "one", "Rename it.")
            )
        texts = text_values(batch[self._text])
        values = np.zeros((0, len(self._names)), np.float32)
        if texts:
            with notices.collecting(quiet=True):
                values = opened_once(self._path, self._precision).probabilities(texts, self._batch_size)
        best = values.argmax(axis=1)
        columns = [self._classes[best], values[np.arange(len(best)), best], *values.T]
        return {**batch, **dict(zip(added, columns, strict=False))}

    def __repr__(self) -> str:
        return f"BatchPredictor({self._path!r}, text={self._text!r})"
