"""One look for all figures: colours that every eye tells apart, fonts, sizes, files equal at each drawing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.atomic import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue and vermilion are told apart with every common colour blindness (Wong, Nature Methods 8 (2011) 441).
# All contrast with the white ground at least 3 to 1 (WCAG 2.2, 1.4.11), text at least 4.5 to 1 (1.4.3).
INK = "#222222"
MUTED = "#595959"
GRID = "#E3E3E3"
BLUE = "#0173B2"
VERMILION = "#D55E00"
NAVY = "#12436D"
SKY = "#1A9CD8"
RIGHT, WRONG = BLUE, VERMILION
PRECISION, RECALL, F1 = NAVY, SKY, VERMILION
SHADES = "Blues"  # one hue, light to dark: readable in grey print as well
UNDEFINED = "#F2F2F2"
PNG_DPI = 150

SETTINGS: dict[str, Any] = {
    "figure.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "text.parse_math": False,  # a label may hold a dollar sign
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and set in the reader's font
    "svg.hashsalt": "submillion",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in this style, whatever the user's matplotlib settings are, and put those back afterwards."""
    from matplotlib import style

    with style.context(["default", SETTINGS]):
        yield


def new_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure, in inches, with its title wrapped to its width.

    Made without pyplot, so that no window system is asked for and no figure of the user's is touched.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(wrap(title, int(width * 11)), x=0.08 / width, ha="left", fontsize=11, fontweight="bold")
    return figure


def save(figure: Figure, folder: Path, name: str, title: str) -> list[Path]:
    """Write `name`.svg and `name`.png into `folder`; the same figure gives the same bytes (no date)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    files = [folder / f"{name}.{kind}" for kind in ("svg", "png")]
    # Not by savefig, which draws everything once more beforehand, to learn sizes that nobody asks for here.
    with atomic_file(files[0]) as temporary:
        FigureCanvasSVG(figure).print_svg(
            temporary, metadata={"Date": None, "Creator": "submillion", "Title": title}
        )
    figure.set_layout_engine("none")  # what the first drawing laid out stands for the second as well
    figure.set_dpi(PNG_DPI)
    with atomic_file(files[1]) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None, "Title": title})
    return files


def wrap(text: str, width: int) -> str:
    """Break `text` into lines of at most `width` characters, between words; its own line breaks stay."""
    return "\n".join(textwrap.fill(line, max(width, 20), break_long_words=False) for line in text.split("\n"))


def shorten(names: Sequence[str], longest: int = 28) -> list[str]:
    """Return the names cut to `longest` characters; both ends stay, for long names often differ late.

    Names that would look alike are left whole.
    """
    tail = (longest - 1) // 2
    cut = [name if len(name) <= longest else f"{name[: longest - 1 - tail]}…{name[-tail:]}" for name in names]
    return [short if cut.count(short) == 1 else name for short, name in zip(cut, names, strict=True)]


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as a percentage; what is not quite none or all is never rounded to it."""
    shown = f"{100 * share:.{decimals}f}"
    least, most = f"{0:.{decimals}f}", f"{100:.{decimals}f}"
    step = 10.0**-decimals
    if share > 0 and shown == least:
        return f"<{step:.{decimals}f}"
    if share < 1 and shown == most:
        return f">{100 - step:.{decimals}f}"
    return shown


def label_width(names: Sequence[str], points: float = 9) -> float:
    """Return about how many inches the longest name takes at a font size (a DejaVu letter is 0.6 em wide)."""
    return max(map(len, names)) * 0.6 * points / 72


def grid(axes: Axes, axis: str) -> None:
    """Draw light grid lines along the value axis only ('x' or 'y')."""
    axes.grid(True, axis=axis)  # type: ignore[arg-type]
    axes.tick_params(axis=axis, length=0)  # type: ignore[arg-type]
