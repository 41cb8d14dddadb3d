"""Small files in place of drawn figures: drawing takes most of the time of a training with a few texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from submillion.files.atomic import atomic_file
from submillion.report import figures
from submillion.report.figures import Drawing
from submillion.rundir import RunDir
from submillion.study import figures as study_figures

DRAWINGS, SAVE = figures.drawings, figures.save
"""Those of the package."""
PICTURE = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'><path d='M 0 0 L 9 9'/></svg>"


def use_plain_figures(plain: bool = True) -> None:
    """Write two small files for every figure of a report, or draw figures as the package does."""
    figures.drawings = _plain_drawings if plain else DRAWINGS
    figures.save = study_figures.save = _save_plain if plain else SAVE


def _plain_drawings(run: RunDir) -> list[Drawing]:
    return [replace(one, draw=lambda _: Figure()) for one in DRAWINGS(run)]


def _save_plain(_figure: Figure, folder: Path, name: str, title: str) -> list[Path]:
    files = [folder / f"{name}.{kind}" for kind in ("svg", "png")]
    for file in files:
        with atomic_file(file) as temporary:
            temporary.write_text(f"{PICTURE}<!-- {title} -->\n", encoding="utf-8")
    return files
