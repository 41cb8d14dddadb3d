"""Tests of the growth benchmark on a tiny encoder: points, texts, memory, file and figure, not speed."""

import csv
import json
from collections import Counter

import numpy as np
import pytest

from benchmarks import growth, growth_rows
from benchmarks.distinct_texts import distinct_texts, read_labelled, write_rows
from benchmarks.growth import AXES, Range, steps_to
from benchmarks.library import open_growth
from benchmarks.texts import exact_texts
from benchmarks.variants import Setting
from support.tiny import LABELS, tiny_encoder, tiny_texts

SPAN = Range(layers=12, longest=256, cores=6, text=64, threads=None, tokens=8192)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("growth")
    texts, labels = tiny_texts(40)
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *zip(texts, (LABELS[n] for n in labels), strict=True)])
    encoder = tiny_encoder(folder / "encoder", layers=3, hidden=64)
    return Setting(folder, encoder, batch_size=2, max_length=32)


def test_each_axis_varies_one_quantity_within_the_limits_of_machine_and_encoder():
    assert steps_to(5, [1, 2, 2, 9]) == [1, 2, 5]
    values = {name: [point.value for point in axis(SPAN)] for name, axis in AXES.items()}
    assert values["length"] == [16, 32, 64, 128, 256]
    assert values["batch"] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert values["threads"] == [1, 2, 3, 4, 6]
    assert values["rank"] == [1, 2, 4, 8, 16, 32, 64]
    lines = {
        line: [point.value for point in AXES["layers"](SPAN) if point.line == line]
        for line in ("computed in every step", "cached")
    }
    assert lines == {"computed in every step": [1, 2, 3, 6, 9, 12], "cached": [1, 2, 3, 6, 9]}
    for axis in AXES.values():
        assert len({tuple(point.options) for point in axis(SPAN) if point.line != "cached"}) == 1


def test_texts_have_exactly_the_requested_length(setting):
    texts = exact_texts(setting, 16, batches=30)  # more than the data has, which is repeated
    assert len(texts.ids) == 60 and {len(ids) for ids in texts.ids} == {16}
    assert [row for batch in texts.grouped for row in batch] == list(range(60))
    assert {(ids[0], ids[-1]) for ids in texts.ids} == {(0, 2)}  # <s> and </s>
    assert not {0, 1, 2} & {token for ids in texts.ids for token in ids[1:-1]}
    with pytest.raises(SystemExit, match="no room"):
        exact_texts(setting, 2, batches=1)


def test_a_point_trains_as_its_options_say(setting, monkeypatch):
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)  # leave this process as it is
    cached = open_growth(setting, 16, 96, rank=3, layers="top-1", threads=1)
    computed = open_growth(setting, 16, 96, layers="top-1", cached=False, batch_size=3, threads=1)
    assert [len(batch) for batch in cached.batches] == [2, 2, 2]  # 96 tokens are 6 texts
    assert [len(batch) for batch in computed.batches] == [3, 3]
    bytes_per_number = {"bfloat16": 2, "float32": 4}[cached.facts["precision"]]
    assert cached.facts["prefix_bytes_per_sample"] == 16 * 64 * bytes_per_number
    assert "prefix_bytes_per_sample" not in computed.facts
    assert cached.facts["tokens_per_text"] == computed.facts["tokens_per_text"] == 16
    for opened in (cached, computed):
        opened.run_batch(opened.batches[-1])


def test_few_rows_make_many_distinct_texts_with_the_same_words_and_labels():
    rows = [("One goes. Two go, three stay", "a"), ("single", "b"), ("left  right", "a")]
    new = list(distinct_texts(rows, 20))
    assert new == list(distinct_texts(rows, 20))
    assert new[:3] == [("One goes. Two go, three stay", "a"), ("single", "b"), ("left right", "a")]
    assert len({text for text, _ in new}) == 20
    words = {tuple(sorted(text.split())): label for text, label in rows}
    assert all(words[tuple(sorted(text.split()))] == label for text, label in new)
    assert ("Two go, three stay One goes.", "a") in new[3:5]  # sentences first, then clauses and words
    with pytest.raises(SystemExit, match="make 3 distinct texts, and 4 are needed"):
        list(distinct_texts([("single", "b"), ("left right", "a")], 4))


def test_the_two_written_files_share_no_text(setting, tmp_path):
    write_rows(setting.data, tmp_path / "a.csv", 70, tmp_path / "b.csv", 9)
    first, second = read_labelled(tmp_path / "a.csv"), read_labelled(tmp_path / "b.csv")
    assert (len(first), len(second)) == (70, 9) and len({text for text, _ in first + second}) == 79
    assert Counter(label for _, label in first).keys() == set(LABELS)
    official = tmp_path / "official.csv"
    official.write_text('"3","A title","and more"\n', encoding="utf-8")
    assert read_labelled(official) == [("A title and more", "Business")]


def test_the_memory_of_a_training_is_counted_per_text(setting, tmp_path):
    write_rows(setting.data, tmp_path / "train.csv", 60)
    found = growth_rows._measure(setting, tmp_path / "train.csv")
    assert list(found["rss_mb"]) == ["imports", "data", "model", "tokens", "batches", "steps"]
    assert list(found["seconds"]) == list(found["rss_mb"])
    assert found["peak_rss_mb"] >= max(found["rss_mb"].values()) * 0.99
    held = found["held_bytes_per_text"]
    texts = [text for text, _ in read_labelled(tmp_path / "train.csv")]
    assert held["places_of_texts_and_ids"] == 2 * 12
    assert held["labels"] == 8
    tokens = np.mean([len(text.split()) + 2 for text in texts])  # a word is a token, and two special ones
    assert held["token_ids_in_a_file"] == pytest.approx(4 * tokens)
    assert held["offsets_and_lengths"] == pytest.approx((12 * 60 + 2 * 8) / 60)
    assert held["batches_of_an_epoch"] == pytest.approx(8 * 54 / 60)


def test_memory_rows_show_the_bytes_per_further_text(setting, monkeypatch):
    peaks = iter([100.0, growth_rows.ProcessFailed("killed"), 118.0])

    def stand_in(function, *arguments):
        if function is growth_rows._measure:
            peak = next(peaks)
            if isinstance(peak, Exception):
                raise peak
            return {"peak_rss_mb": peak}
        return None

    monkeypatch.setattr(growth_rows, "run_isolated", stand_in)
    rows = growth_rows.measure_rows(setting, [1000, 5000, 10_000])
    assert [row.get("peak_bytes_per_text") for row in rows] == [None, None, 2000.0]
    assert rows[1] == {"value": 5000, "error": "killed"}


def row(speed: float) -> dict:
    return {
        "samples_per_s": speed,
        "samples_per_s_rounds": [speed - 1, speed + 1],
        "samples_per_cpu_s": speed / 2,
        "peak_rss_mb": 500.0,
        "others": 0.5,
        "execution": "packed-amx",
    }


def test_the_command_preserves_other_parts_and_draws_them(setting, tmp_path, monkeypatch, capsys):
    about = {
        "machine": {"processor": "Some", "cores": 2, "threads": 2},
        "versions": {},
        "layers": 12,
        "longest": 64,
    }
    monkeypatch.setattr(growth, "run_isolated", lambda *_: about)
    monkeypatch.setattr(
        growth,
        "compare",
        lambda variants, *_: [
            {"name": name, **row(10.0 + place)} if place else {"name": name, "error": "broken\nfor a reason"}
            for place, name in enumerate(variants)
        ],
    )
    memory = [
        {"value": size, "peak_rss_mb": 400.0, "peak_bytes_per_text": None} for size in (1000, 1_000_000)
    ]
    monkeypatch.setattr(growth, "measure_rows", lambda *_: memory)
    file = tmp_path / "growth.json"
    given = ["--data", str(setting.data), "--encoder", str(setting.encoder), "--json", str(file)]
    assert growth.main([*given, "--only", "rows"]) == 0
    assert growth.main([*given, "--only", "length,layers", "--draw", str(tmp_path / "drawn")]) == 1
    found = json.loads(file.read_text())
    assert set(found) == {"rows", "length", "layers"}
    assert [point["value"] for point in found["length"]["rows"]] == [16, 32, 64]
    assert found["rows"]["rows"] == memory and found["length"]["threads"] == 2
    output = capsys.readouterr().out
    assert "broken" in output and "for a reason" not in output and "Other programs were running" in output
    drawn = (tmp_path / "drawn" / "growth.svg").read_text()
    for words in (
        "Text length",
        "Adapted layers",
        "peak memory (MB)",
        "packed-amx",
        "computed in every step",
        ">1M<",
    ):
        assert words in drawn, words
    assert ">Batch<" not in drawn
    with pytest.raises(SystemExit):
        growth.main([*given, "--only", "lengths"])
    assert "lengths is not among" in capsys.readouterr().err
