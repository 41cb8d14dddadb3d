"""Tests of the page: self-contained, numbers of the files, escaping, accessibility of its markup."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from submillion import report
from submillion.assess.score import assess_run
from submillion.report import page_data
from submillion.report.budget_bar import budget_bar
from submillion.report.figures import drawings
from submillion.report.inline_svg import PALETTE, inline
from submillion.report.page import ANALYSIS_PARTS, OF_PART, SECTIONS, render_page, write_page
from submillion.report.write import write_report
from submillion.rundir import RunDir
from support.analysis import HOSTILE, made_analysis
from support.intervals import limits
from support.page_reader import ParsedPage
from support.run import NEWS, made_manifest, made_predictions, made_run, save_split

BESIDE = Path(report.__file__).parent


def paged(path: Path, **facts: Any) -> tuple[RunDir, str]:
    """Make a run of 80 test rows, assess it and return it with its page (no figures)."""
    run = made_run(path, sizes=(20, 20, 20, 20), **facts)
    assess_run(run, [0.99])
    return run, render_page(run)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Return a run with every part of the analysis, hostile texts and names, figures, card and page."""
    run = made_run(
        tmp_path_factory.mktemp("full") / "run",
        ("<script>x</script>", "a&b", "c\"d'", "</style>"),
        (20, 20, 20, 20),
        skill=2.5,
        name="<script>alert('name')</script>",
    )
    assess_run(run)
    made_analysis(run)
    write_report(run.path)
    return run


@pytest.fixture(scope="module")
def page(full: RunDir) -> str:
    return full.report.read_text(encoding="utf-8")


def test_hostile_texts_labels_and_names_are_escaped(full: RunDir, page: str) -> None:
    read = ParsedPage(page)
    assert len(read.of("script")) == 1
    assert len(read.of("style")) == 1
    assert not [attributes for _, attributes in read.elements for name in attributes if name.startswith("on")]
    assert HOSTILE in read.text()
    for words in ("<script>alert('name')</script>", "<script>x</script>", "</style>"):
        assert words in read.text()
    assert (BESIDE / "page.js").read_text(encoding="utf-8") in page


def test_the_page_loads_nothing_external(page: str) -> None:
    read = ParsedPage(page)
    for tag, attributes in read.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base", "form"), tag
        for name, value in attributes.items():
            if name in ("href", "src", "xlink:href", "srcset", "action"):
                assert value and (value.startswith("#") or value.startswith("data:image/png;base64,")), value
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style and "@import" not in style
    policies = [meta["content"] for meta in read.of("meta") if "http-equiv" in meta]
    assert policies and policies[0] and policies[0].startswith("default-src 'none';")
    assert "'unsafe-inline'" not in policies[0].split("script-src")[1]


def test_ids_are_unique_and_every_reference_has_its_target(page: str) -> None:
    read = ParsedPage(page)
    ids = [value for _, attributes in read.elements for name, value in attributes.items() if name == "id"]
    assert len(ids) == len(set(ids))
    for _, attributes in read.elements:
        references = [*(attributes.get("aria-labelledby") or "").split()]
        if (attributes.get("href") or "").startswith("#"):
            references.append(str(attributes["href"])[1:])
        references += re.findall(r"url\(#([^)]+)\)", " ".join(str(value) for value in attributes.values()))
        assert set(references) <= set(ids), attributes


def test_landmarks_headings_and_tables_are_in_order(page: str) -> None:
    read = ParsedPage(page)
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(read.of(landmark)) == 1, landmark
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(read.of("table")) == len(read.of("caption")) > 15
    assert all(header.get("scope") in ("col", "row", "rowgroup") for header in read.of("th"))
    figures = [svg for svg in read.of("svg") if svg.get("role") == "img"]
    assert len(figures) == len(read.of("svg")) > 8
    assert all(svg.get("aria-labelledby") for svg in figures)
    links = [f"#{section}" for section in SECTIONS]
    # The first one skips to the summary; the verdict links to its table.
    assert [item["href"] for item in read.of("a")][1:] == [*links, "#baselines"]


def test_writing_again_gives_the_same_bytes(full: RunDir, page: str, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(full.path, tmp_path / "elsewhere")
    again = write_page(RunDir.open(elsewhere))
    assert again.read_text(encoding="utf-8") == page
    assert again == elsewhere / "report.html"
    assert str(full.path) not in page


def test_the_summary_comes_first_and_has_the_numbers_of_the_files(tmp_path: Path) -> None:
    run, page = paged(tmp_path / "run")
    scores = run.read_json(run.metrics)["test"]
    read = ParsedPage(page)
    text = read.text("summary")
    assert next(iter(read.words)) == ""
    assert list(read.words)[1] == "summary"
    low, high = limits(scores["accuracy_interval"])
    for words in (
        f"{100 * scores['accuracy']:.2f}% 95% interval {100 * low:.2f} to {100 * high:.2f}%",
        f"{scores['correct']} of 80 rows correct.",
        f"{scores['macro_f1']:.4f} Interval not measured. Run submillion report RUN --with intervals to measure it.",
        "888,580 of 1,000,000",
        "head.projection 590,592",
        "unused 111,420",
        "1 h 2 min 3 s",
        "2.3 GB",
        "33.2 texts/s",
        "Example CPU, 2 cores",
    ):
        assert words in text, words


def test_one_changed_metric_changes_the_page(tmp_path: Path) -> None:
    run, page = paged(tmp_path / "run")
    metrics = run.read_json(run.metrics)
    metrics["test"]["accuracy"] = 0.4321
    run.write_json(run.metrics, metrics)
    assert "43.21%" not in page
    assert "43.21%" in render_page(run)


def test_every_number_of_the_analysis_is_that_of_the_file(full: RunDir, page: str) -> None:
    read = ParsedPage(page)
    found = {part: full.read_analysis(part) or {} for part in ("confidence", "intervals", "errors")}
    rated = found["confidence"]["splits"]["test"]
    sure = found["intervals"]["splits"]["test"]
    low, high = limits(sure["macro_f1"])
    assert f"95% interval {low:.4f} to {high:.4f}" in read.text("summary")
    for score in sure["per_class"].values():
        for key in ("precision", "recall", "f1"):
            low, high = limits(score[key])
            assert f"{score[key]['value']:.4f} {low:.3f} to {high:.3f}" in read.text("classes")
    words = read.text("confidence")
    assert f"(ECE, {rated['ece']['bins']} bins of equal size) is {rated['ece']['value']:.4f}" in words
    assert f"rows is {found['confidence']['temperature']['value']:.3f}" in words
    assert found["confidence"]["rule"] in words
    text = read.text("errors")
    assert (
        "5 of 96 test rows were misclassified. For 4 of these (80.0%, 95% interval 37.6 to 96.4%), the true"
        in text
    )
    assert "(98.7%), labelled" in text and "(<0.1%)" in text
    assert "up to 20 tokens (48 rows): \N{MINUS SIGN}10.00 points" in text
    assert "too few rows to test" in text


def test_an_explained_prediction_is_readable_without_colours(page: str) -> None:
    text = ParsedPage(page).text("attribution")
    assert f"shares+ of {HOSTILE}\N{MINUS SIGN} rose+." in text
    assert f"For: shares 2.50, rose 0.60, of 0.01. Against: {HOSTILE} \N{MINUS SIGN}1.00." in text
    assert page.count('class="for strong"') == 6
    assert "1 more" in text


def test_missing_analysis_parts_name_their_command(tmp_path: Path) -> None:
    read = ParsedPage(paged(tmp_path / "run")[1])
    for part in ANALYSIS_PARTS:
        assert f"submillion report RUN --with {part}" in read.text("provenance"), part
    assert set(OF_PART).isdisjoint(read.words)


def test_an_empty_run_claims_nothing(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    run.write_json(run.manifest, {"format": 2, "name": "bare", "status": "running"})
    text = ParsedPage(render_page(run)).text()
    assert "This run is not complete: its training was interrupted." in text
    for known in ("95%", "SHA-256", "F1"):
        text = text.replace(known, "")
    assert not re.search(r"\d", text), re.findall(r".{20}\d.{20}", text)
    assert text.lower().count("not measured") > 20


def test_without_a_test_split_the_score_is_called_optimistic(tmp_path: Path) -> None:
    read = ParsedPage(paged(tmp_path / "run", splits=("validation",))[1])
    assert "Accuracy on validation" in read.text("summary")
    assert (
        "There is no test split. The checkpoint was selected on validation, so this score is optimistically biased."
        in (read.text("summary"))
    )


def test_predictions_of_folds_are_called_cross_validation(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(5, 5, 5, 5), splits=("validation",))
    data = run.read_manifest()["data"]
    data["validation"] = {"from": "cross-validation", "folds": 5, "repeats": 1, "seed": 1}
    run.update_manifest(data=data)
    assess_run(run)
    read = ParsedPage(render_page(run))
    assert "Accuracy on cross-validation" in read.text("summary")
    assert "optimistically" not in read.text()
    titles = [drawing.title for drawing in drawings(run) if drawing.split == "validation"]
    assert titles and all("cross-validation" in title for title in titles)


def test_the_weakest_classes_and_their_mistakes_are_in_the_summary(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", splits=("test",))
    assess_run(run)
    scores = run.read_json(run.metrics)["test"]
    lowest = min(scores["per_class"].items(), key=lambda item: item[1]["f1"])[0]
    assert f"Misclassified as {lowest} " in ParsedPage(render_page(run)).text("summary")


def test_an_unlabelled_split_has_confidences_and_no_scores(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(5, 5, 5, 5), splits=())
    save_split(run, "test", None, made_predictions((5, 5, 5, 5), 3.0)[1], NEWS)
    assess_run(run)
    read = ParsedPage(render_page(run))
    assert "Not measured: the run has no scored predictions." in read.text("summary")
    assert "test 20" in read.text("confidence")


@pytest.mark.parametrize(
    ("names", "table"), [(("no", "yes"), True), ([f"class {i}" for i in range(60)], False)]
)
def test_few_classes_get_a_matrix_and_many_classes_the_largest_cells(
    tmp_path: Path, names: list[str], table: bool
) -> None:
    run = made_run(tmp_path / "run", names, [3] * len(names), skill=1.0, splits=("test",))
    assess_run(run)
    page = render_page(run)
    text = ParsedPage(page).text("classes")
    assert ("true \\ predicted" in text) == table
    assert ("Largest cells off the diagonal on test" in text) == (not table)
    assert len(page) < 300_000


def test_no_path_of_the_machine_is_published(tmp_path: Path) -> None:
    from submillion.recipe import Recipe

    run = made_run(tmp_path / "run", sizes=(5, 5, 5, 5))
    recipe = Recipe.load(
        "agnews-reference", ["data.train=/home/ann/secret/train.csv", "encoder.source=/srv/models/enc"]
    )
    run.write_text(run.recipe, recipe.to_yaml())
    manifest = run.read_manifest()
    manifest["encoder"] |= {
        "source": "/srv/models/enc",
        "name": "/srv/models/enc",
        "origin": "/srv/models/enc",
    }
    manifest["data"] |= {"name": "/home/ann/secret/train.csv", "origin": "/home/ann/secret/train.csv"}
    manifest["notices"] = [{"code": "x", "text": "/home/ann/secret/train.csv: 3 rows of /srv/b.csv."}]
    run.write_json(run.manifest, manifest)
    page = render_page(run)
    assert "train.csv: 3 rows of b.csv." in page
    assert "/home/ann" not in page
    assert "/srv/" not in page


def test_the_budget_bar_by_hand() -> None:
    counted = {"budget": 200, "parts": {"lora.query": 50, "lora.key": 25, "head.output": 75}}
    bar = budget_bar(counted)
    assert bar is not None
    assert [(part.start, part.width) for part in bar.segments] == [(0, 25), (25, 12.5), (37.5, 37.5)]
    assert (bar.trainable, bar.left, bar.limit) == (150, 50, 100)
    assert bar.words.endswith("in total 150 of 200 trainable parameters.")
    over = budget_bar(counted | {"budget": 120})
    assert over is not None
    assert (over.left, over.limit) == (-30, 80)
    assert sum(part.width for part in over.segments) == 100
    assert budget_bar({"parts": {}}) is None


def test_heat_by_hand() -> None:
    steps = [[cell.step for cell in row] for row in page_data.heat([[81, 1, 0], [0, 0, 0], [0, 25, 75]])]
    # 9 steps by the root of the share: 9 sqrt(81 / 82) = 8.9, 9 sqrt(1 / 82) = 0.99, 9 sqrt(1 / 4) = 4.5.
    assert steps == [[9, 1, 0], [0, 0, 0], [0, 5, 8]]


def test_marked_words_joined_are_the_text() -> None:
    words = [["  The ", 0.1], ["bank", -2.0], [", ", 0.0], [" rose", 0.5], ["\n", 3.0], ["!", 0.0]]
    pieces = page_data.marked(words)
    assert "".join(piece.text for piece in pieces) == "  The bank,  rose\n!"
    # The greatest weight is the line break's, which nobody could see marked.
    assert [(piece.text, piece.kind, piece.strong) for piece in pieces if piece.kind] == [
        ("bank", "against", True)
    ]
    assert page_data.marked([]) == []
    gapped = page_data.marked([("the ", 0.0), ("goal", 1.0), ("end", 0.0)], gap=2)
    assert "".join(piece.text for piece in gapped) == "the goal [...] end"


def test_thinning_keeps_the_ends() -> None:
    assert page_data.thinned(range(100), 4) == [0, 33, 66, 99]
    assert page_data.thinned([1, 2], 4) == [1, 2]


SVG = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="100pt" height="50pt"
 viewBox="0 0 100 50" onload="alert(1)">
 <metadata>who</metadata><style>* {color: red}</style><script>alert(2)</script>
 <defs><clipPath id="p"><rect width="9" height="9"/></clipPath><path id="m" d="M 0.123456 1"/></defs>
 <g clip-path="url(#p)" style="fill: #0173b2; filter: url(http://example.org/x)"><use xlink:href="#m"/></g>
 <a xlink:href="http://example.org/"><text>gone</text></a>
 <text style="font-size: 9px; font-family: 'DejaVu Sans'; fill: #222222" x="1.23456">a &lt; b</text>
 <image xlink:href="http://example.org/p.png"/>
</svg>"""


def test_an_inlined_figure_has_no_active_or_external_content() -> None:
    plain = SVG.replace('<image xlink:href="http://example.org/p.png"/>', "")
    inlined = inline(plain, "f1-", "Title", "What it <shows>")
    root = ElementTree.fromstring(inlined)
    assert root.attrib["role"] == "img"
    assert [child.tag for child in root][:2] == ["title", "desc"]
    assert "What it &lt;shows&gt;" in inlined
    for gone in (
        "script",
        "alert",
        "metadata",
        "color: red",
        "example.org",
        "onload",
        "gone",
        "DejaVu",
        "#0173b2",
    ):
        assert gone not in inlined, gone
    assert 'id="f1-p"' in inlined and "url(#f1-p)" in inlined and 'href="#f1-m"' in inlined
    assert 'd="M 0.12 1"' in inlined and "a &lt; b" in inlined
    assert "var(--figure-ink)" in inlined


def test_a_figure_with_an_image_keeps_its_colours_on_paper() -> None:
    inlined = inline(SVG, "f1-", "Title", "Words")
    assert 'class="drawing paper"' in inlined
    assert "#222222" in inlined and "var(--" not in inlined
    assert "example.org" not in inlined


def variables(scheme: str) -> dict[str, str]:
    """Return the page's colours in one scheme."""
    style = (BESIDE / "page.css").read_text(encoding="utf-8")
    light, dark = re.split(r"@media screen and \(prefers-color-scheme: dark\)", style)[:2]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark)) if scheme == "dark" else {})


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2.2, relative luminance)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_have_contrast(scheme: str) -> None:
    colours = variables(scheme)
    for ground in ("ground", "panel", "accent-soft", "warn-soft", "for", "against"):
        assert contrast(colours["ink"], colours[ground]) >= 4.5, ground
    for text, ground in (
        ("muted", "ground"),
        ("muted", "panel"),
        ("muted", "accent-soft"),
        ("accent", "ground"),
        ("figure-ink", "figure-ground"),
        ("figure-muted", "figure-ground"),
    ):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for step in range(1, 10):
        ink = colours["heat-ink-strong" if step > 5 else "heat-ink"]
        assert contrast(ink, colours[f"heat-{step}"]) >= 4.5, step
    for drawn in set(PALETTE.values()) - {"ground", "grid", "undefined"}:
        assert contrast(colours[f"figure-{drawn}"], colours["figure-ground"]) >= 3, drawn


def test_the_dark_scheme_redefines_every_colour() -> None:
    light, dark = variables("light"), variables("dark")
    assert light.keys() == dark.keys()
    assert all(light[name] != dark[name] for name in light)
    assert {f"figure-{name}" for name in PALETTE.values()} <= set(light)


def test_made_manifests_without_parts_of_the_data_still_have_a_page(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(2, 2, 2, 2), splits=())
    manifest = made_manifest(NEWS)
    del manifest["data"]["tokens"], manifest["data"]["checks"], manifest["data"]["validation"]
    run.write_json(run.manifest, manifest)
    assert "not measured" in ParsedPage(render_page(run)).text("data")


def test_the_page_does_not_depend_on_the_seal(tmp_path: Path) -> None:
    """A seal may be put after the page is written; hashes of files on the page would age."""
    run, _ = paged(tmp_path / "run")
    pages = set()
    for sha in ("ab", "cd"):
        run.update_manifest(files={"recipe.yaml": sha * 32}, analysis_files={})
        pages.add(render_page(run))
    assert len(pages) == 1
