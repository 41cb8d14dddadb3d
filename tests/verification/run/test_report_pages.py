"""Tests of the check of card, page and figures, with a report that is copied instead of drawn."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from submillion.rundir import RunDir
from submillion.verification.run import report_pages
from submillion.verification.run.case import Case, Options


@pytest.mark.usefixtures("copied_report")
def test_missing_changed_and_foreign_figures_are_detected(run: RunDir, tmp_path: Path) -> None:
    (check,) = report_pages.pages(Case(run, tmp_path / "first", Options()))
    assert check.holds

    missing, changed = sorted(run.path.glob("figures/*.svg"))[:2]
    missing.unlink()
    changed.write_text(changed.read_text(encoding="utf-8") + "<!-- edited -->\n", encoding="utf-8")
    (run.path / "figures" / "foreign.svg").write_text("<svg/>", encoding="utf-8")
    again = Case(run, tmp_path / "second", Options())
    found = {check.where.partition(": line")[0]: check.found for check in report_pages.pages(again)}
    assert found == {
        f"figures/{missing.name}": "no such file",
        f"figures/{changed.name}": "''",
        "figures/foreign.svg": "a figure that its report does not have",
    }


@pytest.mark.usefixtures("copied_report")
def test_files_of_a_desktop_are_no_figures(run: RunDir, tmp_path: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._confusion.png"):
        (run.path / "figures" / name).touch()
    (check,) = report_pages.pages(Case(run, tmp_path / "scratch", Options()))
    assert check.holds


@pytest.mark.usefixtures("copied_report")
def test_a_run_without_a_report_claims_none(run: RunDir, tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    shutil.move(run.figures, figures)
    run.report.unlink()
    card = run.card.rename(tmp_path / "card")
    case = Case(run, tmp_path / "removed", Options())
    assert {check.holds for check in report_pages.pages(case)} == {False}  # a report was made

    run.update_manifest(test_held_back=True)
    (check,) = report_pages.pages(Case(run, tmp_path / "none", Options()))
    assert (check.strength, check.found) == ("not checked", "no report was made")
    shutil.copy(card, run.card)
    found = [check.where for check in report_pages.pages(Case(run, tmp_path / "card alone", Options()))]
    assert found[0] == "report.html" and len(found) == 1 + len(list(figures.iterdir()))


@pytest.fixture
def copied_report(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a report that is written again be the one that training wrote."""

    def write(folder: Path) -> None:
        for name in ("README.md", "report.html"):
            shutil.copy(project / "run" / name, folder / name)
        shutil.copytree(project / "run" / "figures", folder / "figures")

    monkeypatch.setattr(report_pages, "write_report", write)
