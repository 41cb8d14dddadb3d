"""Tests of the audit on the page, in the card and in its figure."""

from __future__ import annotations

from typing import Any

import pytest
from markupsafe import escape

from submillion.assess.score import assess_run
from submillion.report.audit_figures import replacement_rates
from submillion.report.card import render_card
from submillion.report.figures import drawings
from submillion.report.page import render_page
from submillion.report.page_figures import figures_of
from submillion.report.theme import house_style
from submillion.rundir import RunDir
from support.audit import made_audit
from support.page_reader import ParsedPage
from support.run import made_run

CLASSES = ["World", "Sports", "Business", "Sci/Tech"]


@pytest.fixture(scope="module")
def assessed(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = made_run(tmp_path_factory.mktemp("made") / "run", sizes=(20, 20, 20, 20))
    assess_run(run)
    return run


@pytest.fixture
def run(assessed: RunDir) -> RunDir:
    assessed.analysis_file("audit").unlink(missing_ok=True)
    return assessed


def ethics(run: RunDir) -> str:
    return render_card(run).split("## Ethics")[1].split("\n## ")[0]


def of_page(run: RunDir) -> str:
    return render_page(run).split('<section id="audit"')[1].split("</section>")[0]


def texts_of(figure: Any) -> list[str]:
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_without_an_audit_page_and_card_name_the_command(run: RunDir) -> None:
    assert "not measured (`submillion report RUN --with audit`)" in ethics(run)
    page = ParsedPage(render_page(run))
    assert "audit" not in page.words and "submillion report RUN --with audit" in page.text("provenance")
    assert not {"swaps", "mentions"} & {drawing.name for drawing in drawings(run)}


def test_the_card_contains_the_figures_of_the_audit(run: RunDir) -> None:
    found = made_audit(CLASSES)
    run.write_analysis("audit", found)
    card, overall = ethics(run), found["swaps"][0]["overall"]
    for sentence in (*found["summary"], *found["limits"]):
        assert f"- {sentence}\n".replace("<", "\\<") in card
    assert (overall["flip_rate"], overall["control_rate"]) == (1.0, 0.0)
    low, high = overall["flip_rate_interval"]["low"], overall["control_rate_interval"]["high"]
    assert (
        f"| given names, by group | {overall['texts']} | 100.00% | {100 * low:.2f} to 100.00% "
        f"| 0.00% | 0.00 to {100 * high:.2f}% | < 0.0001 |"
    ) in card
    assert "| companies, by group | 0 | too few texts to test | " in card


def test_a_label_or_list_cannot_break_the_card_or_the_page(run: RunDir) -> None:
    run.write_analysis("audit", made_audit(["<b>|x", *CLASSES[1:]], "<script>alert(1)</script>"))
    assert "<b>|x" not in ethics(run)
    page = of_page(run)
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page and "&lt;b&gt;|x" in page


def test_the_page_separates_tested_and_untested_groups(run: RunDir) -> None:
    found = made_audit(CLASSES)
    run.write_analysis("audit", found)
    words = " ".join(of_page(run).replace("\N{NO-BREAK SPACE}", " ").split())
    for sentence in (*found["summary"], *found["limits"]):
        assert str(escape(sentence)) in words
    assert "too few texts to test" in words and "significant" in words
    assert "0 predictions changed, and no probability by more than 1.5e-07." in words
    assert "(changed by the audit.yaml of the run)" in words


def test_two_classes_a_hundred_classes_and_no_tested_group(run: RunDir) -> None:
    for names in (CLASSES[:2], [f"class {number}" for number in range(100)]):
        run.write_analysis("audit", made_audit(names))
        assert "Limitations of the audit" in of_page(run)
    found = made_audit(CLASSES)
    found |= {"swaps": found["swaps"][1:], "mentions": found["mentions"][1:]}
    run.write_analysis("audit", found)
    assert "The test rows contain no listed word." in of_page(run)
    assert not {"swaps", "mentions"} & {drawing.name for drawing in drawings(run)}


def test_the_figure_marks_significant_differences() -> None:
    biased = made_audit(CLASSES)["swaps"]
    with house_style():
        figure = replacement_rates(biased, "Swaps")
        figure.draw_without_rendering()
    axes = figure.axes[0]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    groups = biased[0]["groups"]
    assert labels == [
        "given names, by group",
        f"to any other group ({biased[0]['texts']})",
        *(f"to {group['group']} ({group['texts']})" for group in groups),
    ]
    dots = [line for line in axes.lines if line.get_linestyle() == "None"]
    rates = [
        value
        for part in (biased[0]["overall"], *groups)
        for value in (part["flip_rate"], part["control_rate"])
    ]
    assert [line.get_xdata()[0] for line in dots] == pytest.approx([100 * rate for rate in rates])
    beyond = [part["beyond_chance"] for part in (biased[0]["overall"], *groups)]
    assert any(beyond)
    assert [line.get_marker() for line in dots[::2]] == ["D" if one else "o" for one in beyond]
    assert {line.get_marker() for line in dots[1::2]} == {"s"}
    assert "control: to another word of the same group" in texts_of(figure)
    low, high = axes.get_xlim()
    assert low < 0 and high >= max(
        100 * part["flip_rate_interval"]["high"] for part in (biased[0]["overall"], *groups)
    )


def test_an_unbiased_run_has_small_rates_that_look_small() -> None:
    with house_style():
        figure = replacement_rates(made_audit(CLASSES, biased=False)["swaps"], "Swaps")
    assert figure.axes[0].get_xlim()[1] >= 10
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "D"]


def test_the_figure_has_a_text_alternative(run: RunDir) -> None:
    found = made_audit(CLASSES)
    run.write_analysis("audit", found)
    run.figures.mkdir()
    with house_style():
        for drawing in drawings(run):
            if drawing.name in ("swaps", "mentions"):
                drawing.draw(drawing.heading).savefig(run.figures / f"{drawing.name}.svg")
    figures = figures_of(run, {}, [], {"audit": found})
    assert set(figures) == {"swaps", "mentions"}
    texts = found["swaps"][0]["overall"]["texts"]
    assert (
        f"given names, by group: 100.0% of {texts} predictions change, 0.0% in the control."
        in figures["swaps"].svg
    )
