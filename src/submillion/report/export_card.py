"""The card of an export: the README.md that says how to open each file and how far it agrees with the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from submillion.files.atomic import atomic_file
from submillion.report.card import card_engine
from submillion.report.export_figure import NAME, draw_export
from submillion.run_format.export import ExportRecord

TEMPLATE = "export_card.md.jinja"
CARD = "README.md"


def write_export_report(folder: Path, record: ExportRecord) -> None:
    """Write the card and the picture of an export into its folder; the same record gives the same bytes."""
    draw_export(record, folder)
    with atomic_file(folder / CARD) as temporary:
        temporary.write_text(render_export_card(record), encoding="utf-8", newline="\n")


def render_export_card(record: ExportRecord) -> str:
    """Return the card of an export as Markdown."""
    entries: dict[str, Any] = {**record["files"], **record["removed"]}
    return card_engine().get_template(TEMPLATE).render(record=record, entries=entries, picture=f"{NAME}.png")
