"""The csv of training rows whose labels look wrong, for a person to correct."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from submillion.assess.data_quality.confident_learning import ranked_suspects
from submillion.assess.data_quality.label_noise import SAVED_AS, check_cleanlab
from submillion.assess.run_context import RunContext
from submillion.data.corrections import (
    CORRECTED,
    ID,
    LABEL,
    TEXT_SHA256,
    Correction,
    read_corrections,
    rows_meant,
)
from submillion.data.labels import Classes
from submillion.errors import BadInput, Problem
from submillion.files.output_file import OutputFile
from submillion.files.spreadsheet_cells import write_sheet
from submillion.wording import percent

COLUMNS = ("place", "text", LABEL, "suggested_label", CORRECTED, "confidence", "why", ID, TEXT_SHA256)


def write_suspects(context: RunContext, target: OutputFile) -> int:
    """Write every training row whose label looks wrong, most suspicious first.

    The column `corrected_label` is empty, and `data.corrections` reads what a person writes there. Corrections that
    the run was trained with follow, filled in, so that the next training needs this file alone.

    Args:
        context: a run whose part "noise" is computed.
        target: the csv, written for spreadsheets.

    Returns:
        Number of suspects.

    Raises:
        BadInput: the part "noise" was not computed, or the texts are not the run's.
        SubmillionError: the disk refused the file.
    """
    if context.run.read_analysis("noise") is None:
        remedy = "Add @{parts} noise."
        raise BadInput(Problem(str(context.run.analysis_file("noise")), "the part 'noise'", "none", remedy))
    check_cleanlab()
    source = context.recipe.data.corrections
    earlier = [line for line in read_corrections(source).lines if line.corrected] if source else []
    lines = _suspects(context, _decided(context, earlier))
    write_sheet(target, COLUMNS, [*lines, *_corrected(context, earlier)])
    return len(lines)


def _decided(context: RunContext, earlier: Sequence[Correction]) -> set[tuple[str, str]]:
    """Return id and text's sha256 of each row whose label was corrected, matched as the training matched them."""
    train, classes = context.train, Classes.of_run(context.manifest)
    by_text: dict[str, list[int]] = {}
    for row in range(len(train)):
        by_text.setdefault(train.text_sha256(row), []).append(row)
    # Rows that a line dropped are gone; one with the same text may have stayed.
    corrected = [line for line in earlier if classes.find(line.corrected) is not None]
    return {
        (train.ids[row], line.text_sha256)
        for line in corrected
        for row in rows_meant(line, by_text.get(line.text_sha256, []), train.ids)
    }


def _suspects(context: RunContext, decided: set[tuple[str, str]]) -> list[list[str]]:
    """Return one line per suspect that no person has decided about."""
    train, saved = context.train, context.run.load_predictions("train", baseline=SAVED_AS)
    names = saved.label_names
    row_of = {
        (train.ids[row], train.text_sha256(row), context.labels[train.labels[row]]): row
        for row in range(len(train))
    }
    labels = saved.known_labels().astype(np.int64)
    ranked, quality, suggested = ranked_suspects(labels, saved.probabilities.astype(np.float64))
    lines = []
    for at in ranked.tolist():
        row_id, digest, label = saved.ids[at], saved.text_sha256[at], names[labels[at]]
        row = row_of.get((row_id, digest, label))
        if row is None:
            where = str(context.run.prediction_file("train", SAVED_AS))
            remedy = "Compute the part 'noise' again with `report`."
            raise BadInput(Problem(where, "the training rows of the run", "other rows or labels", remedy))
        if (row_id, digest) in decided:
            continue
        other = names[suggested[at]]
        confidence = float(saved.probabilities[at, suggested[at]])
        why = (
            f"A model trained without this row gives {other} {percent(confidence)} and "
            f"{label} {percent(float(quality[at]))}."
        )
        line = [train.place(row), train.texts[row], label, other, "", f"{confidence:.4f}", why, row_id]
        lines.append([*line, digest])
    return lines


def _corrected(context: RunContext, earlier: list[Correction]) -> list[list[str]]:
    """Return one line per correction that the run was trained with."""
    texts = {
        split.text_sha256(row): split.texts[row]
        for split in context.corpus.splits
        for row in range(len(split))
    }
    return [
        [
            *("", texts.get(line.text_sha256, ""), line.label, "", line.corrected, ""),
            *("Corrected earlier.", line.id, line.text_sha256),
        ]
        for line in earlier
    ]
