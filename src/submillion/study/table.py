"""The table of a study, as csv, parquet, Markdown and a page, with its findings in words and drawn."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submillion import report, text_table
from submillion.atomic import atomic_file
from submillion.report.inline_svg import inline
from submillion.run_format.interval import interval
from submillion.study.figures import draw
from submillion.study.grid import BASE

TEMPLATE = "page.html.jinja"


def rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row per cell: its levels, scores with deviation and interval, parameters by part, costs."""
    flat = []
    parts = list(dict.fromkeys(part for cell in found["cells"] for part in cell["parts"]))
    for cell in found["cells"]:
        row: dict[str, Any] = {"cell": cell["name"]} | {
            f"axis {axis}": level for axis, level in cell["levels"].items()
        }
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
        for cost in ("tokens_seen", "wall_seconds", "samples_per_second", "peak_memory_mb"):
            row[cost] = cell[cost]
        flat.append(row)
    return flat


def sentences(found: Mapping[str, Any]) -> list[str]:
    """Return the findings: one per effect, what a search drew, the winner, and what test says of it."""
    told = [effect["sentence"] for effect in found["effects"]]
    told += _of_search(found)
    winner = found["winner"]
    if winner is None:
        return [*told, "Winner: none yet, no cell is trained with every seed."]
    best = next(cell for cell in found["cells"] if cell["name"] == winner)[found["objective"]]["mean"]
    measure = found["objective"].replace("macro_f1", "macro F1")
    if "search" in found:
        told.append(f"Higher mean {measure} on validation, of the two: {winner}, {best:.2%}.")
    else:
        told.append(
            f"Highest mean {measure} on validation: {winner}, {best:.2%}. It is the best of {len(found['cells'])} "
            "cells, so it flatters."
        )
    if "test" in found:
        for_whom = "the base" if winner == BASE else "it and the base"
        told.append(f"Test was looked at for {for_whom} alone, once each was trained with every seed.")
    if "test_effect" in found:
        told.append(f"On test: {found['test_effect']['sentence']}")
    if winner == BASE:
        told.append("No other cell has a higher mean than the base.")
    return told


def _of_search(found: Mapping[str, Any]) -> list[str]:
    """Say how many recipes were drawn, and what the chosen one does against the base."""
    if "search" not in found:
        return []
    search = found["search"]
    told = [
        f"Search: {search['complete'] + search['pruned'] + search['failed']} of {search['asked']} trials with seed "
        f"{search['seed']}: {search['complete']} trained to the end, {search['pruned']} ended early, "
        f"{search['failed']} failed."
    ]
    if search["chosen"]:
        told.append(
            f"Chosen: {search['chosen']}, the best with seed {search['seed']}; that seed flatters it against the base."
        )
    return told + [pair["sentence"] for pair in found["pairs"]]


def how(found: Mapping[str, Any]) -> str:
    """Return how many cells there are, and with which seeds they were trained."""
    cells, seeds = f"{len(found['cells'])} cells", ", ".join(map(str, found["seeds"]))
    if "search" not in found:
        return f"{cells}, each trained with the seeds {seeds}"
    return f"{cells}, trained with the seed {found['search']['seed']}; the base and the best one with the seeds {seeds}"


def write(found: Mapping[str, Any], place: Path) -> None:
    """Write study.json, table.csv, table.parquet, table.md, report.html and figures/, each whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = rows(found)
    drawn = draw(found, place / "figures")
    written = {
        "study.json": json.dumps(found, indent=2, ensure_ascii=False) + "\n",
        "table.csv": _csv(flat),
        "table.md": as_markdown(found),
        "report.html": as_page(found, drawn),
    }
    for name, text in written.items():
        with atomic_file(place / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    with atomic_file(place / "table.parquet") as temporary:
        pq.write_table(pa.Table.from_pylist(flat), temporary)


def as_text(found: Mapping[str, Any]) -> str:
    """Return the short table for a terminal."""
    head, body = _short(found)
    return "\n".join(text_table.align([head, *body]))


def as_markdown(found: Mapping[str, Any]) -> str:
    """Return table and findings as Markdown."""
    head, body = _short(found)
    lines = [
        f"# {found['study']}",
        "",
        f"{how(found)}; scores on validation, mean and deviation over seeds; intervals of 95 %.",
        "",
        *text_table.markdown(head, body),
        "",
        *(f"- {sentence}" for sentence in sentences(found)),
        "",
    ]
    for cost, title in (("trainable", "parameters"), ("wall_seconds", "time")):
        lines.append(
            f"No other cell beats these for their {title}: {', '.join(found['pareto'][cost]) or 'none yet'}."
        )
    return "\n".join(lines) + "\n"


def as_page(found: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """Return the study's page: table, findings and figures in one file.

    Args:
        figures: title -> svg.
    """
    import jinja2
    from markupsafe import Markup

    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    head, body = _short(found)
    style = Path(report.__file__).with_name("page.css").read_text(encoding="utf-8")
    return engine.get_template(TEMPLATE).render(
        style=Markup(style),
        found=found,
        how=how(found),
        head=head,
        body=body,
        sentences=sentences(found),
        pairs=[pair for pair in found["pairs"] if pair["difference"] is not None],
        figures=[
            Markup(inline(svg, f"f{number}-", title, "The numbers stand in the table and the findings."))
            for number, (title, svg) in enumerate(figures.items())
        ],
    )


def _short(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    head = [
        "cell",
        "seeds",
        "accuracy",
        "deviation",
        "macro F1",
        "deviation",
        "trainable",
        "tokens",
        "time",
        "memory",
    ]
    body = []
    for cell in found["cells"]:
        scores: list[str] = []
        for measure in ("accuracy", "macro_f1"):
            score = cell[measure]
            scores.append(f"{score['mean']:.2%}" if score else cell.get("state") or "not trained")
            scores.append(f"{score['deviation']:.2%}" if score and score["deviation"] is not None else "-")
        body.append(
            [
                cell["name"],
                str(len(cell["seeds"])),
                *scores,
                f"{cell['trainable']:,}",
                *_costs(cell),
            ]
        )
    return head, body


def _costs(cell: Mapping[str, Any]) -> list[str]:
    if cell["tokens_seen"] is None:
        return ["-", "-", "-"]
    return [
        f"{cell['tokens_seen']:,.0f}",
        f"{cell['wall_seconds']:.0f} s",
        f"{cell['peak_memory_mb'] / 1000:.1f} GB",
    ]


def _csv(flat: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()
