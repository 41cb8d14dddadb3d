"""Writes the files of a study: study.json, the tables, the figures and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
from markupsafe import Markup

from submillion.files.atomic import atomic_file
from submillion.report.inline_svg import inline
from submillion.study.figures import draw
from submillion.study.layout import write
from submillion.study.sentences import sentences, study_summary
from submillion.study.table import COLUMNS, as_csv, as_markdown, flat_rows, table_rows
from submillion.wording import p_equals

TEMPLATE = "page.html.jinja"
FIGURE_DESCRIPTION = "The table and the findings above contain the numbers."


def write_outputs(findings: Mapping[str, Any], folder: Path) -> None:
    """Write study.json, table.csv, table.parquet, table.md, report.html and figures/, each atomically."""
    rows = flat_rows(findings)
    figures = draw(findings, folder / "figures")
    write(folder / "study.json", json.dumps(findings, indent=2, ensure_ascii=False) + "\n")
    write(folder / "table.csv", as_csv(rows))
    write(folder / "table.md", as_markdown(findings))
    write(folder / "report.html", as_page(findings, figures))
    with atomic_file(folder / "table.parquet") as temporary:
        pq.write_table(pa.Table.from_pylist(rows), temporary)


def as_page(findings: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """Return the page of a study: table, findings and figures in one HTML file.

    Args:
        findings: as `compute_findings` returns them.
        figures: title -> svg.
    """
    engine = jinja2.Environment(
        loader=jinja2.PackageLoader("submillion.study", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    engine.filters["p_equals"] = p_equals
    style = resources.files("submillion.report").joinpath("page.css").read_text(encoding="utf-8")
    return engine.get_template(TEMPLATE).render(
        style=Markup(style),  # noqa: S704 - our own style sheet
        findings=findings,
        summary=study_summary(findings),
        header=COLUMNS,
        rows=table_rows(findings),
        sentences=sentences(findings),
        pairs=[pair for pair in findings["pairs"] if pair["difference"] is not None],
        figures=[
            Markup(inline(svg, f"f{number}-", title, FIGURE_DESCRIPTION))  # noqa: S704 - inline() escapes and filters
            for number, (title, svg) in enumerate(figures.items())
        ],
    )
