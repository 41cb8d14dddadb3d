"""Tests of the page in a browser: axe-core, no overflow on narrow and wide screens, sortable tables."""

from __future__ import annotations

import functools
import html
import importlib.metadata
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG

from submillion.assess.score import assess_run
from submillion.report.figures import drawings
from submillion.report.page import render_page
from submillion.report.theme import house_style
from submillion.rundir import RunDir
from support.analysis import made_analysis
from support.run import TOPICS, made_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SCHEMES = {
    "light": ("--blink-settings=preferredColorScheme=1",),
    "dark": ("--force-dark-mode", "--blink-settings=preferredColorScheme=0"),
}
AXE = "axe-playwright-python"
MATTERS = ("serious", "critical")
MANY = [f"a rather long label name, number {index}" for index in range(60)]
NARROW, WIDE = 390, 1280


@functools.cache
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


@functools.cache
def axe() -> str:
    """Return axe-core as one script; the package that ships it is a browser driver's and is not imported."""
    try:
        files = importlib.metadata.files(AXE) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"no axe-core: {AXE} is not installed (`pip install submillion[dev]`)")
    script = next(file for file in files if file.name == "axe.min.js")
    return Path(str(script.locate())).read_text(encoding="utf-8")


def in_browser(
    frames: dict[str, tuple[str, int]], script: str, scheme: str = "light", before: str = ""
) -> dict[str, Any]:
    """Open pages in frames of some width, run `script` in each, and return what it returns by frame.

    A frame, because a window of the browser cannot be as narrow as a phone.

    Args:
        frames: (page, width in pixels) by name.
        script: the body of an async function.
        scheme: light or dark.
        before: a script to run before it.
    """
    opened = "".join(_frame(name, page, width, script, before) for name, (page, width) in frames.items())
    with tempfile.TemporaryDirectory(prefix="submillion-page-") as folder:
        file = Path(folder) / "frames.html"
        file.write_text(f"<!doctype html><meta charset=utf-8><body>{opened}", encoding="utf-8")
        flags = [
            *QUIET,
            *SCHEMES[scheme],
            f"--user-data-dir={folder}/profile",
            "--window-size=1400,1000",
            "--virtual-time-budget=60000",
            "--dump-dom",
        ]
        done = subprocess.run([browser(), *flags, file.as_uri()], capture_output=True, text=True, timeout=300)
    found = re.findall(r'<pre class="found" title="(\w+)">(.*?)</pre>', done.stdout, re.DOTALL)
    assert len(found) == len(frames), done.stderr[-2000:]
    return {name: json.loads(html.unescape(result)) for name, result in found}


def _frame(name: str, page: str, width: int, script: str, before: str) -> str:
    # The page allows no script but its own; the copy is allowed ours.
    copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert copy != page
    ours = (
        f"(async () => {{{script}}})().catch((error) => String(error)).then((found) => {{"
        "const out = parent.document.createElement('pre'); out.className = 'found';"
        f"out.title = '{name}'; out.textContent = JSON.stringify(found); parent.document.body.append(out); }});"
    )
    copy = copy.replace("</body>", f"<script>{before}</script><script>{ours}</script></body>")
    return f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{html.escape(copy)}"></iframe>'


def page_of(run: RunDir, drawn: bool = False) -> str:
    """Assess a run, draw its figures as svg alone (the page needs no png) and return its page."""
    assess_run(run)
    if drawn:
        run.figures.mkdir()
        with house_style():
            for drawing in drawings(run):
                # savefig would draw it twice.
                FigureCanvasSVG(drawing.draw(drawing.heading)).print_svg(run.figures / f"{drawing.name}.svg")
    return render_page(run)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return pages of three runs: with everything, with nothing but a manifest, and with very many classes."""
    browser()
    folder = tmp_path_factory.mktemp("pages")
    full = made_run(folder / "full", TOPICS, [12] * 8, skill=2.5)
    made_analysis(full)
    bare = made_run(folder / "bare", ("no", "yes"), (3, 3), splits=(), epochs=0, status="interrupted")
    many = made_run(folder / "many", MANY, [2] * 60, splits=("test",))
    return {"full": page_of(full, drawn=True), "bare": page_of(bare), "many": page_of(many)}


AXE_RUNS = """
    // What is in closed details is part of the page.
    for (const details of document.querySelectorAll("details")) details.open = true;
    const found = await axe.run(document, {resultTypes: ["violations"], ...RULES});
    return {
        dark: matchMedia("(prefers-color-scheme: dark)").matches,
        ran: found.passes.map((rule) => rule.id),
        violations: found.violations.map((rule) => ({
            impact: rule.impact, id: rule.id, nodes: rule.nodes.slice(0, 5).map((node) => node.html.slice(0, 200)),
        })),
    };
"""
RULES = {
    "light": "{}",
    # The colours are all that differs.
    "dark": '{runOnly: ["color-contrast", "link-in-text-block"]}',
}


@pytest.fixture(scope="module")
def spoilt(pages: dict[str, str]) -> str:
    """A page with grey writing on grey."""
    spoilt = pages["bare"].replace("--muted: #57606a", "--muted: #c0c4c9")
    assert spoilt != pages["bare"]
    return spoilt


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious_but_low_contrast_where_it_is(
    pages: dict[str, str], spoilt: str, scheme: str
) -> None:
    frames = {name: (pages[name], WIDE) for name in ("full", "bare")}
    if scheme == "light":  # whose colours were spoilt
        frames["spoilt"] = (spoilt, WIDE)
    answers = in_browser(frames, AXE_RUNS.replace("RULES", RULES[scheme]), scheme, axe())
    if scheme == "light":
        assert "color-contrast" in {rule["id"] for rule in answers.pop("spoilt")["violations"]}
    for name, found in answers.items():
        assert found["dark"] == (scheme == "dark"), name
        assert "color-contrast" in found["ran"], name
        if scheme == "light":
            assert {"heading-order", "td-headers-attr"} <= set(found["ran"]), name
        assert [rule for rule in found["violations"] if rule["impact"] in MATTERS] == [], name


LAYOUT = """
    for (const details of document.querySelectorAll("details")) details.open = true;
    await new Promise((done) => setTimeout(done, 50));
    const root = document.documentElement;
    const wide = [...document.querySelectorAll("main *, header *, footer *")].filter(
        (element) => !element.closest(".scroll, svg") && element.getBoundingClientRect().right > innerWidth + 1);
    const boxes = [...document.querySelectorAll(".scroll")].filter((box) => box.clientWidth);
    const table = [...document.querySelectorAll("table.sortable")].find(
        (one) => one.caption.textContent.startsWith("Precision, recall and F1"));
    const sorted = {states: [], orders: []};
    if (table) {
        const header = table.tHead.rows[0].cells[4];
        const look = () => {
            sorted.states.push(header.getAttribute("aria-sort"));
            sorted.orders.push([...table.tBodies[0].rows].map((row) => Number(row.cells[4].dataset.value)));
        };
        look(); header.querySelector("button").click(); look(); header.querySelector("button").click(); look();
    }
    return {
        inner: innerWidth, scroll: root.scrollWidth,
        wide: wide.map((element) => element.outerHTML.slice(0, 120)).slice(0, 5),
        boxes: boxes.map((box) => [box.scrollWidth > box.clientWidth, box.tabIndex === 0]),
        sorted,
    };
"""


@pytest.fixture(scope="module")
def layouts(pages: dict[str, str]) -> dict[str, Any]:
    frames = {f"{name}{width}": (page, width) for name, page in pages.items() for width in (NARROW, WIDE)}
    return in_browser(frames, LAYOUT)


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", ["full", "bare", "many"])
def test_nothing_is_wider_than_the_screen(layouts: dict[str, Any], name: str, width: int) -> None:
    found = layouts[f"{name}{width}"]
    assert found["wide"] == []
    assert found["inner"] == width
    assert found["scroll"] <= width


def test_only_scrolling_tables_are_focusable(layouts: dict[str, Any]) -> None:
    narrow, wide = layouts[f"full{NARROW}"]["boxes"], layouts[f"full{WIDE}"]["boxes"]
    assert all(scrolls == focusable for scrolls, focusable in [*narrow, *wide])
    assert sum(scrolls for scrolls, _ in narrow) > sum(scrolls for scrolls, _ in wide)


def test_a_table_sorts_by_a_column_and_sets_aria_sort(layouts: dict[str, Any]) -> None:
    sorting = layouts[f"full{WIDE}"]["sorted"]
    before, down, up = sorting["orders"]
    assert sorting["states"] == ["none", "descending", "ascending"]
    assert down == sorted(before, reverse=True)
    assert up == sorted(before)
    assert len(set(up)) > 2
