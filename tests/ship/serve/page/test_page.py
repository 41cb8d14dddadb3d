"""Tests of the server's page in a browser: one text, a csv of 10,000 rows, themes, a phone's width, the keyboard."""

from __future__ import annotations

import csv
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from submillion.ship.serve.models import open_runs
from submillion.ship.serve.options import ServeOptions
from support.browser import TIMEOUT, chromium, violations
from support.trained import trained_in, two_classes

ROWS = 10_000
TOKEN = "a-token-of-the-tests"
NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


class Served:
    """The app in a thread of this process."""

    def __init__(self, run: Path, **options: Any) -> None:
        uvicorn = pytest.importorskip("uvicorn")
        from submillion.ship.serve.app import create_app

        app = create_app(open_runs([run]), ServeOptions(**options))
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def run(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(trained_in(tmp_path_factory.mktemp("page")).path)


@pytest.fixture(scope="module")
def url(run: Path) -> Iterator[str]:
    served = Served(run)
    yield served.url
    served.stop()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return two_classes(40, seed=7)[0]


@pytest.fixture
def opened(browser: Any, url: str) -> Iterator[Any]:
    page = browser.new_page(viewport=WIDE, accept_downloads=True)
    page.set_default_timeout(TIMEOUT)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: problems.append(message.text) if "Content Security" in message.text else None,
    )
    page.goto(url)
    page.wait_for_selector("#work:not([hidden])")
    yield page
    page.close()
    assert problems == []


def classify(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.click("#classify")
    page.wait_for_selector("#result:not([hidden])")
    page.wait_for_selector("#answer[aria-busy=false]")


def write_csv(file: Path, texts: list[str], rows: int, separator: str = ";") -> None:
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream, delimiter=separator)
        writer.writerow(["id", "text", "note"])
        writer.writerows(
            [row, f'{texts[row % len(texts)]} "{row}"{separator}\nend', "=1+1"] for row in range(rows)
        )


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


def test_a_csv_of_ten_thousand_rows_is_classified_and_downloaded(
    opened: Any, texts: list[str], tmp_path: Path
) -> None:
    source = tmp_path / "reviews.csv"
    write_csv(source, texts, ROWS)
    opened.set_input_files("#file", source)
    opened.wait_for_selector("#table:not([hidden])")
    assert opened.inner_text("#facts") == "reviews.csv: 10,000 rows, 3 columns."
    assert opened.locator("#column option:checked").inner_text() == "text"
    assert opened.locator("#separator option:checked").inner_text() == "semicolon"
    opened.click("#start")
    opened.wait_for_selector("#outcome:not([hidden])")
    assert opened.inner_text("#file-status") == "Done: 10,000 rows classified."
    with opened.expect_download() as download:
        opened.click("#download")
    assert download.value.suggested_filename == "reviews-classified.csv"
    with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as stream:
        header, *rows = csv.reader(stream, delimiter=";")
    assert header == ["id", "text", "note", "predicted_label", "confidence", "abstained"]
    assert [row[0] for row in rows] == [str(number) for number in range(ROWS)]
    assert {row[2] for row in rows} == {"'=1+1"}
    assert {row[3] for row in rows} == {"0", "1"}
    assert all(0.5 <= float(row[4]) <= 1 and row[5] == "false" for row in rows)
    assert rows[7][1] == f'{texts[7]} "7";\nend'


def test_a_cancelled_file_keeps_what_is_done_and_continues(
    opened: Any, texts: list[str], tmp_path: Path
) -> None:
    source = tmp_path / "rows.csv"
    write_csv(source, texts, 640, ",")
    held: list[Any] = []

    def first_alone(route: Any) -> None:
        if len(held) < 2:
            route.continue_()
        held.append(route)

    opened.set_input_files("#file", source)
    opened.route("**/classify", first_alone)
    opened.click("#start")
    opened.locator("#rate", has_text="of 640 rows").wait_for()
    opened.locator("#rate", has_text=re.compile("^(64|128) of")).wait_for()
    opened.click("#cancel")
    opened.locator("#file-status", has_text="Stopped: ").wait_for()
    opened.unroute("**/classify")
    done = int(opened.inner_text("#outcome-caption").split()[0])
    assert done in (64, 128)
    assert opened.inner_text("#download") == f"Download the {done} rows as csv"
    assert opened.inner_text("#start") == f"Continue with {640 - done} rows"
    opened.click("#start")
    opened.locator("#file-status", has_text="Done: 640 rows classified.").wait_for()


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"text\n", "Expected at least one row"),
        (b'text,label\n"never closed,1\n', "Record 2: a quote is never closed"),
        (b'text,label\n"a"b,1\n', "Record 2: text after a closing quote"),
        (b"text,label\na,1\nb\n", "Record 3 has 1 field, the first record has 2"),
    ],
)
def test_a_file_that_is_no_csv_is_refused_with_its_record(
    opened: Any, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    opened.set_input_files("#file", tmp_path / "bad.csv")
    opened.locator("#file-status", has_text=message).wait_for()
    assert opened.is_hidden("#table")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_serious_objection_to_either_theme_or_the_switch(
    opened: Any, texts: list[str], tmp_path: Path, scheme: str
) -> None:
    opened.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    write_csv(tmp_path / "rows.csv", texts, 20)
    classify(opened, texts[0])
    opened.set_input_files("#file", tmp_path / "rows.csv")
    opened.click("#start")
    opened.wait_for_selector("#outcome:not([hidden])")
    grounds = []
    for _ in range(2):
        grounds.append(opened.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert violations(opened) == []
        opened.click("#theme")
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 27)"
    assert grounds == ([light, dark] if scheme == "light" else [dark, light])


def test_nothing_is_wider_than_a_phone(opened: Any, texts: list[str], tmp_path: Path) -> None:
    opened.set_viewport_size(NARROW)
    write_csv(tmp_path / f"{'long' * 30}.csv", [*texts, "word" * 100], 50)
    classify(opened, "word" * 200)
    opened.set_input_files("#file", tmp_path / f"{'long' * 30}.csv")
    opened.click("#start")
    opened.wait_for_selector("#outcome:not([hidden])")
    wide = opened.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, .hidden, .skip, option') && "
        "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120))"
    )
    assert wide == []
    assert opened.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


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


def test_a_server_with_a_token_asks_for_it(browser: Any, run: Path, texts: list[str]) -> None:
    served = Served(run, token=TOKEN)
    page = browser.new_page(viewport=WIDE)
    page.set_default_timeout(TIMEOUT)
    page.goto(served.url)
    page.fill("#token", "another-token-than-this")
    page.click("#token-form button")
    page.locator("#problem-text", has_text="refuses this token").wait_for()
    page.fill("#token", TOKEN)
    page.click("#token-form button")
    classify(page, texts[0])
    assert page.is_hidden("#token-form")
    page.close()
    served.stop()
