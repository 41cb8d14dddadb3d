"""Tests of the figures of a run: which ones are drawn, reproducible files, nothing clipped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from submillion.report.class_figures import confusion_counts, confusion_matrix, normalized, per_class_scores
from submillion.report.confidence_figures import confidence_histogram
from submillion.report.figures import draw_all, drawings
from submillion.report.page_figures import figures_of
from submillion.report.theme import house_style
from submillion.report.training_figures import accuracy_curve, loss_curves, running_mean
from submillion.rundir import RunDir
from support.run import NEWS, TOPICS, made_manifest, made_predictions, made_run, save_split

OF_A_SPLIT = (
    "confusion_{}_counts",
    "confusion_{}_by_row",
    "confusion_{}_by_column",
    "classes_{}",
    "confidence_{}",
)
LONG = [f"a rather long label name, number {index}" for index in range(20)]


@pytest.fixture
def styled() -> Iterator[None]:
    with house_style():
        yield


def empty_run(path: Path) -> RunDir:
    run = RunDir.create(path)
    run.write_json(run.manifest, made_manifest(NEWS, training={}, status="interrupted"))
    return run


def texts_of(figure: object) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]  # type: ignore[attr-defined]


def test_a_finished_run_gets_every_figure_as_svg_and_png(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(20, 20, 20, 20))
    written = draw_all(run)
    names = {"loss", "accuracy"} | {
        name.format(split) for split in ("validation", "test") for name in OF_A_SPLIT
    }
    assert {file.name for file in written} == {f"{name}.{kind}" for name in names for kind in ("svg", "png")}
    assert set(written) == set(run.figures.iterdir())
    for file in written:
        if file.suffix == ".png":
            assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        else:
            root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
            title = root.find(".//{http://purl.org/dc/elements/1.1/}title")
            assert title is not None
            assert title.text


def test_a_split_of_any_name_gives_a_page(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(5, 5, 5, 5), splits=("test", "a\x1b[2J"))
    draw_all(run)
    assert figures_of(run, {}, [], {})["classes_a\x1b[2J"].title.endswith("a\\x1b[2J, 20 rows")


def test_drawing_again_gives_the_same_bytes_and_removes_old_files(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(9, 9, 9, 9), splits=("test",))
    first = {file.name: file.read_bytes() for file in draw_all(run)}
    (run.figures / "confusion_gone_counts.svg").write_text("old")
    assert {file.name: file.read_bytes() for file in draw_all(run)} == first
    assert {file.name for file in run.figures.iterdir()} == set(first)
    assert not any(b"<dc:date>" in content for content in first.values())


def test_a_run_without_test_split_or_history_gets_what_it_has(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run")
    assert draw_all(run) == []
    save_split(run, "validation", *made_predictions((5, 5, 5, 5), 3.0), NEWS)
    assert [drawing.name for drawing in drawings(run)] == [name.format("validation") for name in OF_A_SPLIT]
    run.append_history({"kind": "train", "step": 10, "epoch": 0.1, "loss": 1.4, "learning_rate": 1e-3})
    assert drawings(run)[0].name == "loss"
    assert all(file.is_file() for file in draw_all(run))


def test_an_unlabelled_split_gets_its_confidence_alone(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run")
    save_split(run, "new", None, made_predictions((5, 5, 5, 5), 3.0)[1], NEWS)
    assert [(drawing.name, drawing.title) for drawing in drawings(run)] == [
        ("confidence_new", "Confidence, new, 20 rows, unlabelled")
    ]


def test_counts_and_shares_by_hand() -> None:
    counts = confusion_counts(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    rows, columns = normalized(counts, "row"), normalized(counts, "column")
    assert rows[:2].tolist() == [[0.5, 0.5, 0.0], [1 / 3, 2 / 3, 0.0]]
    assert np.isnan(rows[2]).all()  # a class without rows has no recall
    assert columns[:, 0].tolist() == [0.5, 0.5, 0.0]
    assert np.isnan(columns[:, 2]).all()  # a class never predicted has no precision


@pytest.mark.usefixtures("styled")
def test_undefined_cells_are_dashes_and_undefined_bars_say_so() -> None:
    counts = np.array([[3, 0, 0], [1, 1, 0], [2, 0, 0]])  # the third class is never predicted
    assert texts_of(confusion_matrix(counts, ["a", "b", "c"], "column", "")).count("-") == 3
    assert texts_of(confusion_matrix(counts, ["a", "b", "c"], "row", "")).count("-") == 0
    assert texts_of(per_class_scores(counts, ["a", "b", "c"], "")).count("undefined") == 1


@pytest.mark.usefixtures("styled")
@pytest.mark.parametrize(
    "names", [NEWS, TOPICS, LONG, ("no", "yes"), (r"$\nonesuch$", "b_c^2", "c")], ids=len
)
@pytest.mark.parametrize("by", ["count", "row", "column", "bars"])
def test_no_label_is_clipped_or_lies_on_another(names: Sequence[str], by: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    labels, probabilities = made_predictions([60] * len(names), 3.0)
    counts = 40 * confusion_counts(labels, probabilities.argmax(axis=1), len(names))
    title = "Confusion in % of each predicted class\ntest, 7,600 rows"
    figure = (
        per_class_scores(counts, names, title) if by == "bars" else confusion_matrix(counts, names, by, title)
    )  # type: ignore[arg-type]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    shown = [*axes.get_xticklabels(), *axes.get_yticklabels(), *figure.texts, *axes.texts]
    width, height = canvas.get_width_height()
    for text in shown:
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text
    level = [text.get_window_extent() for text in shown if text.get_rotation() == 0 and text.get_text()]
    for index, box in enumerate(level):
        # Shrunk by a pixel: boxes may touch.
        overlapping = [o for o in level[:index] if box.padded(-1).overlaps(o.padded(-1))]
        assert not overlapping, shown[index]
    assert (
        names[0].startswith("a rather")
        or names[0] in texts_of(figure)
        or f"{names[0]} (2,400)" in texts_of(figure)
    )


@pytest.mark.usefixtures("styled")
def test_the_selected_checkpoint_is_marked() -> None:
    records = [{"step": 5, "epoch": 1, "accuracy": 0.75}, {"step": 10, "epoch": 2, "accuracy": 0.5}]
    assert "selected: epoch 1, 75.00%" in texts_of(accuracy_curve(records, 5, ""))
    assert "selected: epoch 1, 75.00%" in texts_of(accuracy_curve(records[:1], 5, ""))
    assert not any("chosen" in text for text in texts_of(accuracy_curve(records, None, "")))


@pytest.mark.usefixtures("styled")
def test_many_logged_losses_get_a_mean_and_few_do_not() -> None:
    few = [{"step": step, "loss": 1.0} for step in range(10)]
    many = [{"step": step, "loss": 1.0} for step in range(500)]
    evaluated = [{"step": 9, "epoch": 1, "loss": 0.9}]
    assert {"training", "validation"} <= set(texts_of(loss_curves(few, evaluated, "")))
    assert "training, mean of 25 records" in texts_of(loss_curves(many, [], ""))


def test_running_mean_by_hand() -> None:
    assert running_mean([1, 2, 6, 4, 5], 3).tolist() == [1, 3, 4, 5, 5]


@pytest.mark.usefixtures("styled")
def test_the_histogram_separates_correct_and_wrong_predictions() -> None:
    top = np.array([0.9, 0.8, 0.6])
    words = texts_of(confidence_histogram(top, np.array([True, True, False]), ""))
    assert "2 correct, median 85.0%" in words
    assert "1 wrong, median 60.0%" in words
    assert "0 wrong" in texts_of(confidence_histogram(top, np.array([True, True, True]), ""))
    assert "3 predictions, median 80.0%" in texts_of(confidence_histogram(top, None, ""))


def test_no_window_system_and_no_pyplot_are_touched(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(5, 5, 5, 5), splits=("test",))
    script = (
        "import sys; from submillion.report.figures import draw_all; from submillion.rundir import RunDir\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        f"draw_all(RunDir.open({str(run.path)!r}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    source = Path(__file__).resolve().parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(source), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
