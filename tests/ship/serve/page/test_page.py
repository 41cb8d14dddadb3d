"""Tests of the server's page in a browser: one text, two runs, a token, themes, a phone's width, the keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.browser import TIMEOUT, violations

TOKEN = "a-token-of-the-tests"
NARROW = {"width": 390, "height": 844}


def classify(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.click("#classify")
    page.wait_for_selector("#result:not([hidden])")
    page.wait_for_selector("#answer[aria-busy=false]")


def test_a_pasted_text_gets_a_class_confidence_by_class_and_marked_words(
    opened: Any, texts: list[str]
) -> None:
    classify(opened, texts[0])
    shares = [float(value.rstrip("%")) for value in opened.locator("#bars .value").all_inner_texts()]
    names = opened.locator("#bars .name").all_inner_texts()
    assert sorted(names) == ["0", "1"]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert opened.inner_text("#label") == names[0]
    assert opened.text_content("#spoken").startswith(f"{names[0]}. ")
    assert f"{shares[0]}%" in opened.text_content("#spoken")
    widths = opened.evaluate(
        "[...document.querySelectorAll('#bars .fill')].map(e => e.getBoundingClientRect().width)"
    )
    assert widths[0] > widths[1] > 0
    marked = opened.locator("#words mark").all_inner_texts()
    assert marked
    assert all(word.rstrip("+\N{MINUS SIGN}") in texts[0] for word in marked)


def test_a_text_less_certain_than_the_slider_gets_no_answer(opened: Any, texts: list[str]) -> None:
    classify(opened, texts[0])
    assert opened.inner_text("#result-kind") == "Class"
    opened.fill("#threshold", "100")
    assert opened.inner_text("#result-kind").startswith("No answer")
    assert "below 100.0%" in opened.inner_text("#certainty")


def test_a_list_chooses_the_run_and_confidence_is_calibrated_if_it_has_a_temperature(
    opened: Any, url: str, texts: list[str]
) -> None:
    assert opened.locator("#model option").all_inner_texts() == ["run", "calibrated"]
    scores = []
    for name, key, kind in [
        ("run", "score", "Confidence"),
        ("calibrated", "calibrated_score", "Calibrated confidence"),
    ]:
        opened.select_option("#model", name)
        assert opened.is_hidden("#result")  # the answer of the other run
        assert opened.inner_text("#name") == name
        classify(opened, texts[0])
        body = {"model": name, "texts": texts[:1]}
        scores.append(httpx.post(url + "classify", json=body, timeout=20).json()["results"][0][key])
        shown = re.fullmatch(rf"{kind} ([\d.]+)%\.", opened.inner_text("#certainty"))
        assert shown is not None
        assert float(shown[1]) == pytest.approx(100 * scores[-1], abs=0.06)
        assert opened.locator("#bars .value").first.inner_text() == f"{shown[1]}%"
    assert scores[1] < scores[0] - 0.01


def test_report_and_card_of_the_chosen_run_open(opened: Any, url: str) -> None:
    opened.select_option("#model", "calibrated")
    opened.click("#report")
    opened.wait_for_url(url + "report?model=calibrated")
    assert opened.locator("h1").count() == 1
    opened.goto(url)
    opened.wait_for_selector("#work:not([hidden])")
    opened.click("#card")
    opened.wait_for_url(url + "card?model=run")
    assert opened.inner_text("body").startswith("---")


def test_a_busy_server_is_asked_again_after_the_time_it_names(opened: Any, texts: list[str]) -> None:
    refused = {
        "status": 429,
        "headers": {"Retry-After": "0"},
        "json": {"error": "busy", "error_type": "overloaded"},
    }
    asked: list[str] = []

    def busy(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(**refused)

    opened.route("**/classify", busy, times=2)
    classify(opened, texts[1])
    assert len(asked) == 2
    assert opened.is_hidden("#problem")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_serious_objection_to_either_theme_or_the_switch(
    opened: Any, texts: list[str], csv_file: Callable[..., Path], scheme: str
) -> None:
    opened.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    classify(opened, texts[0])
    opened.set_input_files("#file", csv_file("rows.csv", 20))
    opened.click("#start")
    opened.wait_for_selector("#outcome:not([hidden])")
    grounds = []
    for _ in range(2):
        grounds.append(opened.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert violations(opened) == []
        opened.click("#theme")
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 27)"
    assert grounds == ([light, dark] if scheme == "light" else [dark, light])


def test_nothing_is_wider_than_a_phone_and_axe_has_no_serious_objection(
    opened: Any, texts: list[str], csv_file: Callable[..., Path]
) -> None:
    opened.set_viewport_size(NARROW)
    source = csv_file(f"{'long' * 30}.csv", 50, cells=[*texts, "word" * 100])
    classify(opened, "word" * 200)
    opened.set_input_files("#file", source)
    opened.click("#start")
    opened.wait_for_selector("#outcome:not([hidden])")
    wide = opened.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, .hidden, .skip, option') && "
        "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120))"
    )
    assert wide == []
    assert opened.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    for scheme in ("light", "dark"):
        opened.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert violations(opened) == []


def test_the_keyboard_alone_classifies_and_reaches_every_control(opened: Any, texts: list[str]) -> None:
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.activeElement.id") == "text"
    opened.keyboard.type(texts[0][:40])
    opened.keyboard.press("Control+Enter")
    opened.wait_for_selector("#result:not([hidden])")
    reached = []
    for _ in range(3):
        opened.keyboard.press("Tab")
        reached.append(opened.evaluate("document.activeElement.id || document.activeElement.type"))
    assert reached == ["classify", "reset", "file"]
    opened.focus("#threshold")
    opened.keyboard.press("End")
    assert opened.inner_text("#threshold-value") == "100%"
    assert opened.inner_text("#result-kind").startswith("No answer")


def test_a_server_with_a_token_asks_for_it(
    browser: Any, serve: Callable[..., Any], run: Path, texts: list[str]
) -> None:
    served = serve(run, token=TOKEN)
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT)
    page.goto(served.url)
    page.fill("#token", "another-token-than-this")
    page.click("#token-form button")
    page.locator("#problem-text", has_text="refuses this token").wait_for()
    page.fill("#token", TOKEN)
    page.click("#token-form button")
    classify(page, texts[0])
    assert page.is_hidden("#token-form")
    for link, name, file in [
        ("#report", "run-report.html", "report.html"),
        ("#card", "run-card.md", "README.md"),
    ]:
        with page.expect_download() as download:  # a link sends no token
            page.click(link)
        assert download.value.suggested_filename == name
        assert Path(download.value.path()).read_bytes() == (run / file).read_bytes()
    page.close()
    served.stop()
