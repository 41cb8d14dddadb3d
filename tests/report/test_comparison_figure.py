"""Tests of the figure of a comparison: values, layout, reproducible files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from submillion import reporting
from submillion.errors import BadInput
from submillion.report.comparison_figure import comparison_figure, draw
from submillion.report.theme import house_style
from submillion.run_format.interval import interval


def found(names: list[str], groups: int = 1) -> dict[str, Any]:
    """Return a comparison as `Comparison.to_json` gives it, of runs whose accuracy falls by a point each."""
    values = [0.95 - 0.01 * index for index in range(len(names))]
    of = [interval(value, value - 0.01, value + 0.008) for value in values]
    pairs = [
        {
            "a": names[i],
            "b": names[j],
            "shown": j - i > 1,
            "accuracy": {
                "difference": values[i] - values[j],
                "difference_interval": interval(
                    values[i] - values[j], values[i] - values[j] - 0.012, values[i] - values[j] + 0.011
                ),
            },
        }
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    return {
        "split": "test",
        "rows": 7600,
        "runs": [{"name": name, "accuracy": accuracy} for name, accuracy in zip(names, of, strict=True)],
        "pairs": pairs,
        "groups": [{"name": "recipe", "accuracy": {"mean": 0.94, "mean_interval": interval(0.94, 0.9, 0.98)}}]
        * groups,
    }


@pytest.mark.parametrize("name", ["all", "all.svg", "all.png"])
def test_it_is_written_as_svg_and_png(tmp_path: Path, name: str) -> None:
    files = draw(found(["a", "b"]), tmp_path / "new" / name)
    assert files == [tmp_path / "new" / "all.svg", tmp_path / "new" / "all.png"]
    first = [file.read_bytes() for file in files]
    assert first[1][:4] == b"\x89PNG"
    assert "Accuracy of 2 runs" in first[0].decode()
    assert [file.read_bytes() for file in draw(found(["a", "b"]), tmp_path / "new" / name)] == first


@pytest.mark.parametrize("out", ["", ".", "..", "made/.."])
def test_a_folder_is_no_name_of_a_figure(out: str) -> None:
    with pytest.raises(BadInput, match="`out`: expected the path of a figure"):
        draw(found(["a", "b"]), Path(out))


def test_existing_figures_are_replaced_only_on_request_and_links_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    result = SimpleNamespace(to_json=lambda: found(["a", "b"]))
    monkeypatch.setattr(reporting, "compare_runs", lambda *_: compared.append("") or result)
    (tmp_path / "real.png").write_bytes(b"before")
    (tmp_path / "all.png").symlink_to("real.png")
    with pytest.raises(BadInput, match=r"a file that does not exist yet, found '.*real.png'"):
        reporting.compare([], out=tmp_path / "all")
    assert compared == [] and (tmp_path / "real.png").read_bytes() == b"before"
    reporting.compare([], out=tmp_path / "all", overwrite=True)
    assert (tmp_path / "all.png").is_symlink() and (tmp_path / "real.png").read_bytes()[:4] == b"\x89PNG"
    assert b"Accuracy of 2 runs" in (tmp_path / "all.svg").read_bytes()


@pytest.mark.parametrize("count", [2, 5])
def test_lines_are_at_the_values_of_the_comparison(count: int) -> None:
    names = [f"run-{index}" for index in range(count)]
    with house_style():
        figure = comparison_figure(found(names), "title")
    above, below = figure.axes
    assert [label.get_text() for label in above.get_yticklabels()] == [*names, "mean of recipe"]
    pairs = found(names)["pairs"]
    assert len(below.get_yticklabels()) == len(pairs)
    points = [line for line in below.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in points] == pytest.approx(  # type: ignore[index]
        [100 * pair["accuracy"]["difference"] for pair in pairs]
    )
    colours = {line.get_color() for line, pair in zip(points, pairs, strict=True) if pair["shown"]}
    assert len(colours) == (1 if count > 2 else 0)
    assert colours.isdisjoint(
        line.get_color() for line, pair in zip(points, pairs, strict=True) if not pair["shown"]
    )


def test_nothing_is_clipped_however_long_the_names_are() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    names = [f"runs/with/a/rather/long/path/number-{index}" for index in range(3)]
    with house_style():
        figure = comparison_figure(
            found(names, groups=0), "Accuracy of 3 runs\ntest, the same 7,600 rows for all"
        )
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    width, height = canvas.get_width_height()
    for axes in figure.axes:
        for text in (*axes.get_yticklabels(), axes.xaxis.label, *figure.texts):
            box = text.get_window_extent()
            assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text
