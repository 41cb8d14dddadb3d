"""The table of a study: one row per cell, for a terminal, as Markdown, and flat for csv and parquet."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from submillion.files.csv_rows import csv_writer
from submillion.run_format.interval import interval
from submillion.study.sentences import MEASURES, sentences, study_summary
from submillion.terminal import text_table
from submillion.wording import capitalized, duration, listed, percent

COLUMNS = (
    "cell",
    "seeds",
    "accuracy",
    "std. dev.",
    "macro F1",
    "std. dev.",
    "trainable",
    "tokens",
    "time",
    "memory",
)
COST_COLUMNS = 3  # the last ones
COSTS = ("tokens_seen", "wall_seconds", "samples_per_second", "peak_memory_mb")


def flat_rows(findings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row per cell: levels, scores with deviation and interval, parameters by part, costs."""
    rows = []
    parts = list(dict.fromkeys(part for cell in findings["cells"] for part in cell["parts"]))
    for cell in findings["cells"]:
        row: dict[str, Any] = {"cell": cell["name"]}
        row |= {f"axis {axis}": level for axis, level in cell["levels"].items()}
        row["seeds"] = len(cell["seeds"])
        for measure in ("accuracy", "macro_f1"):
            score = cell[measure] or {"mean": None, "deviation": None, "mean_interval": interval(None)}
            row |= {
                measure: score["mean"],
                f"{measure}_deviation": score["deviation"],
                f"{measure}_low": score["mean_interval"]["low"],
                f"{measure}_high": score["mean_interval"]["high"],
            }
        row["trainable"] = cell["trainable"]
        row |= {f"trainable {part}": cell["parts"].get(part, 0) for part in parts}
        row |= {cost: cell[cost] for cost in COSTS}
        rows.append(row)
    return rows


def table_rows(findings: Mapping[str, Any]) -> list[list[str]]:
    """Return the cells of the short table as text, one row per cell of the study, without the header."""
    rows = []
    for cell in findings["cells"]:
        scores: list[str] = []
        for measure in ("accuracy", "macro_f1"):
            score = cell[measure]
            scores.append(percent(score["mean"], 2) if score else cell.get("state") or "not trained")
            scores.append(percent(score["deviation"], 2) if score and score["deviation"] is not None else "-")
        rows.append([cell["name"], str(len(cell["seeds"])), *scores, f"{cell['trainable']:,}", *_costs(cell)])
    return rows


def as_text(findings: Mapping[str, Any]) -> str:
    """Return the short table for a terminal."""
    return "\n".join(text_table.align_columns([COLUMNS, *table_rows(findings)]))


def as_markdown(findings: Mapping[str, Any]) -> str:
    """Return the short table and the findings as Markdown."""
    lines = [
        f"# {findings['study']}",
        "",
        f"{capitalized(study_summary(findings))}. Scores are means over seeds on the validation split, with their "
        "standard deviation; intervals are 95%.",
        "",
        *text_table.markdown(COLUMNS, table_rows(findings)),
        "",
        *(f"- {sentence}" for sentence in sentences(findings)),
        "",
    ]
    for cost, title in (("trainable", "parameters"), ("wall_seconds", "training time")):
        front = listed(findings["pareto"][cost]) or "none yet"
        lines.append(f"Pareto front of {MEASURES[findings['objective']]} over {title}: {front}.")
    return "\n".join(lines) + "\n"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return flat rows as csv with a header."""
    text, header = io.StringIO(newline=""), list(rows[0])
    writer = csv_writer(text)
    writer.writerow(header)
    writer.writerows([row[name] for name in header] for row in rows)
    return text.getvalue()


def _costs(cell: Mapping[str, Any]) -> list[str]:
    if cell["tokens_seen"] is None:
        return ["-"] * COST_COLUMNS
    return [
        f"{cell['tokens_seen']:,.0f}",
        duration(cell["wall_seconds"]),
        f"{cell['peak_memory_mb'] / 1000:.1f} GB",
    ]
