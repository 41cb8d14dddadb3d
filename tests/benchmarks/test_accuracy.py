"""The accuracy benchmark: its rows, its cells, its resumable results and the arithmetic of its tables."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import submillion as sm
from benchmarks.accuracy import automatic, features, linear, peer, results, runner, sets, table
from benchmarks.accuracy.cells import METHODS, Cell, estimated_minutes, left_out, planned
from benchmarks.accuracy.differences import difference, mean_of
from benchmarks.accuracy.peer import MethodFailed
from benchmarks.accuracy.picture import draw
from benchmarks.accuracy.results import Result
from benchmarks.accuracy.sets import LabelledSet, Rows, seeds_of, shares
from benchmarks.accuracy.task import Answer, Task
from benchmarks.pages import part_of
from support.trained import trained_in, two_classes

WORDS = ("goal match team", "shares bank profit", "star planet orbit")
CLASSES = ("sport", "money", "space")


def rows(counts: tuple[int, ...]) -> Rows:
    labels = [number for number, count in enumerate(counts) for _ in range(count)]
    return Rows([f"{WORDS[label]} {place}" for place, label in enumerate(labels)], labels)


@pytest.fixture
def tiny() -> LabelledSet:
    return LabelledSet("tiny", CLASSES, rows((1200, 300, 5)), rows((30, 20, 10)))


def test_rows_are_stratified_nested_and_equal_for_every_method(tiny: LabelledSet) -> None:
    drawn = [tiny.train_places(size, 3) for size in ("8", "16", "32", "64")]
    assert drawn[0] == tiny.train_places("8", 3) != tiny.train_places("8", 4)
    assert all(set(small) < set(large) for small, large in pairwise(drawn))
    assert Counter(tiny.train.at(drawn[1]).labels) == {0: 16, 1: 16, 2: 5}
    thousand = Counter(tiny.train.at(tiny.train_places("1000", 0)).labels)
    assert thousand == {0: 798, 1: 199, 2: 3}
    assert tiny.train_places("all", 0) == list(range(1505))


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ([50, 30, 20], 10, [5, 3, 2]),
        ([997, 2, 1], 10, [8, 1, 1]),
        ([1, 1, 1], 3, [1, 1, 1]),
        ([5, 1], 6, [5, 1]),
    ],
)
def test_shares_add_up_and_leave_no_class_out(sizes: list[int], total: int, expected: list[int]) -> None:
    assert shares(sizes, total) == expected


@pytest.mark.parametrize(("sizes", "total"), [([3, 3], 7), ([1, 1, 1], 2)])
def test_shares_refuse_what_cannot_be_drawn(sizes: list[int], total: int) -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        shares(sizes, total)


def test_test_rows_are_one_fixed_sample_below_all(tiny: LabelledSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "TEST_ROWS", 40)
    sample = tiny.test_places("8")
    assert len(set(sample)) == 40 and sample == sorted(sample) == tiny.test_places("1000")
    assert tiny.test_places("all") == list(range(60))


def test_agnews_is_read_from_its_folder_and_spam_is_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.csv").write_text("text,label\nA goal,Sports\nA star,Sci/Tech\n")
    (tmp_path / "test_public.csv").write_text('"2","Cup","final"\n"4","Moon","lander"\n')
    news = sets.load("agnews", tmp_path)
    assert (news.train.labels, news.test.texts, news.test.labels) == (
        [1, 3],
        ["Cup final", "Moon lander"],
        [1, 3],
    )
    messages = [("ham", f"hi {n}") if n % 6 else ("spam", f"win {n}") for n in range(72)]
    messages += [("ham", "hi 1"), ("ham", "both"), ("spam", "both")]
    folder = tmp_path / "sms"
    folder.mkdir()
    lines = "".join(f"{label},{text}\n" for label, text in messages)
    (folder / "train.csv").write_text(f"label,text\n{lines}")
    found = sets.fetch_data(str(folder))
    monkeypatch.setattr(sets, "fetch_data", lambda _: found)
    spam = sets.load("sms")
    assert Counter(spam.test.labels) == {0: 20, 1: 4} and Counter(spam.train.labels) == {0: 40, 1: 8}
    assert (
        not set(spam.test.texts) & set(spam.train.texts) and "both" not in spam.train.texts + spam.test.texts
    )
    first = min(lines.index(f",{text}\n") for text in spam.test.texts)
    assert first > 0.55 * len(lines) and sets.load("sms") == spam


def test_cells_have_the_seeds_of_their_size_and_slow_rivals_come_last() -> None:
    cells = list(planned())
    assert len(set(cells)) == len(cells)
    assert Counter(cell.size for cell in cells if (cell.set, cell.method) == ("r8", "auto-minilm")) == {
        size: len(seeds_of(size)) for size in sets.SIZES
    }
    assert [c.seed for c in cells if (c.set, c.size, c.method) == ("r8", "all", "words")] == [0]
    assert {(c.set, c.size in sets.PER_CLASS) for c in cells[:100]} == {("agnews", True)}
    assert cells[-1].method.startswith(("setfit", "peft")) and not cells[0].method.startswith("setfit")
    assert [c.name for c in planned(["sms/8/1/w*"])] == ["sms/8/1/words"]


def test_cells_beyond_the_limit_are_left_out_with_their_minutes() -> None:
    assert left_out("agnews", "8", "setfit-mpnet-base") is None
    assert re.fullmatch(r"\d+", left_out("agnews", "64", "setfit-mpnet-base") or "")
    assert "hours" in (left_out("newsgroups20", "all", "auto-mpnet-base") or "")
    assert estimated_minutes("agnews", "all", "words") == estimated_minutes("r8", "all", "auto-minilm") == 0
    # 32 texts of 53 tokens in 80 passes, at 100 tokens a second
    assert estimated_minutes("agnews", "8", "setfit-mpnet-base") == pytest.approx(32 * 53 * 80 / 100 / 60)


def answer_of(predicted: list[int]) -> Answer:
    return Answer(predicted, 2.0, 1.0, 1.5, 0.5, parameters=7)


@pytest.fixture
def one_set(tiny: LabelledSet, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledSet:
    monkeypatch.setattr(runner, "load", lambda name, agnews: tiny)
    return tiny


def test_a_cell_is_computed_once_and_scored_on_labels_that_the_method_never_sees(
    one_set: LabelledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Task] = []

    def half_right(task: Task) -> Answer:
        seen.append(task)
        return answer_of([0] * len(task.test_texts))

    monkeypatch.setitem(runner.PLAIN, "words", half_right)
    file = tmp_path / "results.csv"
    cells = [Cell("r8", "8", seed, "words") for seed in (0, 1)]
    assert runner.run(cells, file, None, None) == (2, [])
    assert runner.run(cells, file, None, None) == (0, [])
    assert [task.seed for task in seen] == [0, 1]
    # Of the test rows a task has texts and places; `labels` are those of the training rows.
    assert {field.name for field in fields(Task) if "test" in field.name} == {"test_texts", "test_places"}
    assert seen[0].labels == one_set.train.at(seen[0].train_places).labels
    result = results.read(file)[cells[0]]
    assert (result.accuracy, result.rows, result.test_rows, result.parameters) == (0.5, 21, 60, 7)
    assert result.macro_f1 == pytest.approx((2 / 3) / 3, abs=1e-6)
    assert results.read_hits(file)[cells[1]].tolist() == [True] * 30 + [False] * 30


def test_the_scratch_folder_of_a_cell_is_deleted_when_its_result_is_kept(
    one_set: LabelledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed_once(task: Task) -> Answer:
        assert task.scratch == tmp_path / "unfinished" / "r8-8-0-words"
        if not task.scratch.is_dir():
            task.scratch.mkdir(parents=True)
            raise MethodFailed("killed")
        return answer_of([0] * len(task.test_texts))

    monkeypatch.setitem(runner.PLAIN, "words", killed_once)
    run = partial(
        runner.run,
        [Cell("r8", "8", 0, "words")],
        tmp_path / "results.csv",
        None,
        None,
        tmp_path / "unfinished",
    )
    assert run() == (0, ["r8/8/0/words: killed"])
    assert run() == (1, [])
    assert list((tmp_path / "unfinished").iterdir()) == []


def test_a_killed_training_of_auto_is_continued_and_its_seconds_are_added(tmp_path: Path) -> None:
    texts, labels = two_classes()
    run = trained_in(tmp_path, report=False, labels=[str(label) for label in labels])
    manifest = json.loads((run.path / "manifest.json").read_text())
    (run.path / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    (tmp_path / "seconds.json").write_text('{"wall": 1000.0, "cpu": 2000.0}')
    task = Task("tiny", texts, labels, ("0", "1"), texts[:3], [], [], 0, "8", tmp_path)
    answer = Answer(**automatic._train(task, "another encoder"))
    assert len(answer.predicted) == 3
    assert 1000 < answer.train_s < 1100
    assert 2000 < answer.train_cpu_s < 2100
    assert sm.load(run.path).status == "complete"


def test_a_failed_cell_is_named_and_the_others_are_computed(
    one_set: LabelledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(task: Task) -> Answer:
        raise MethodFailed("no environment")

    monkeypatch.setitem(runner.PLAIN, "words", fails)
    cells = [Cell("r8", "8", 0, "words"), Cell("r8", "8", 0, "majority"), Cell("agnews", "8", 0, "majority")]
    computed, failures = runner.run(cells, tmp_path / "results.csv", None, None)
    assert (computed, failures) == (1, ["r8/8/0/words: no environment"])
    assert set(results.read(tmp_path / "results.csv")) == {
        cells[1]
    }  # without AG News' folder its cells are skipped


def test_a_cell_that_would_end_after_the_budget_is_skipped(
    one_set: LabelledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runner.PLAIN, "words", lambda task: replace(answer_of([0] * 60), train_s=600.0))
    cells = [Cell("r8", "8", seed, "words") for seed in (0, 1)] + [Cell("r8", "8", 1, "majority")]
    file = tmp_path / "results.csv"
    assert runner.run(cells, file, None, budget_minutes=5) == (2, [])
    assert set(results.read(file)) == {cells[0], cells[2]}  # the first seed of `words` took ten minutes


def test_the_environment_of_the_rivals_is_named_if_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "ROOT", tmp_path)
    monkeypatch.setattr(peer, "PYTHON", tmp_path / "python")
    with pytest.raises(MethodFailed, match="no python; make the environment of the rivals with: make peers"):
        peer.static_features(tmp_path, ["a"])


def a_task(tiny: LabelledSet, size: str = "8") -> Task:
    train, test = tiny.train_places(size, 0), tiny.test_places(size)
    data, texts = tiny.train.at(train), tiny.test.at(test).texts
    return Task("tiny", data.texts, data.labels, CLASSES, texts, train, test, 0, size)


def test_plain_rivals_learn_and_count_their_parameters(tiny: LabelledSet) -> None:
    task = a_task(tiny)
    assert linear.majority(task).predicted == [0] * 60
    for method in (linear.words, linear.characters):
        answer = method(task)
        assert answer.predicted == tiny.test.labels
        assert answer.parameters % 3 == 0 and re.fullmatch(r"C=[\d.]+", answer.setting)


def test_the_strength_with_the_best_held_out_score_wins() -> None:
    made: list[float] = []

    def make(strength: float) -> object:
        made.append(strength)
        return linear.svm(strength)

    vectors = np.random.default_rng(0).normal(size=(12, 3))
    labels = np.array([0, 1] * 6)
    best = linear.best_strength(make, (1.0, 2.0, 4.0), vectors, labels, 0, lambda m, x, y: -abs(m.C - 2))
    assert best == 2.0 and Counter(made) == {1.0: 5, 2.0: 5, 4.0: 5}
    assert linear.best_strength(make, (3.0, 1.0), vectors[:2], labels[:2], 0, lambda m, x, y: 1.0) == 3.0


def test_features_are_computed_once_a_row_and_carry_their_cost(own_cache: Path) -> None:
    asked: list[list[str]] = []

    def encode(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        asked.append(list(texts))
        return np.array([[len(text), 1.0] for text in texts]), np.tile([2.0, 1.0], (len(texts), 1))

    file = features.FeatureFile("tiny-train")
    first = file.rows([5, 2], ["abc", "a"], encode)
    again = features.FeatureFile("tiny-train").rows([2, 9, 5], ["a", "ab", "abc"], encode)
    assert asked == [["a", "abc"], ["ab"]]
    assert (first.features[:, 0].tolist(), first.wall_s, first.cpu_s) == ([3, 1], 4.0, 2.0)
    assert (again.features[:, 0].tolist(), again.wall_s, again.cpu_s) == ([1, 2, 3], 6.0, 3.0)


def test_means_and_differences_are_those_of_student_and_mcnemar() -> None:
    ours, theirs = {0: 0.8, 1: 0.7, 2: 0.9, 7: 0.1}, {0: 0.7, 1: 0.68, 2: 0.85, 8: 1.0}
    found = difference(ours, theirs, {}, {})
    expected = stats.ttest_rel([0.8, 0.7, 0.9], [0.7, 0.68, 0.85])
    assert found and (found.pairs, found.unit) == (3, "seeds")
    assert found.p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high)) and not found.is_carried
    assert difference({0: 1.0}, {1: 1.0}, {}, {}) is None
    right = np.array([True] * 90 + [False] * 10)
    wrong = np.array([True] * 80 + [False] * 10 + [True] * 2 + [False] * 8)
    single = difference({0: 0.9}, {0: 0.82}, {0: right}, {0: wrong})
    assert single and (single.value, single.pairs, single.unit) == (pytest.approx(0.08), 100, "rows")
    assert single.p == pytest.approx(stats.binomtest(10, 12).pvalue) and single.is_carried
    for only_ours in range(
        30, 70
    ):  # near the border, intervals of the normal distribution disagree with the test
        right, wrong = np.zeros(1_000, dtype=bool), np.zeros(1_000, dtype=bool)
        right[:only_ours], wrong[-38:] = True, True
        found = difference({0: 0.0}, {0: 0.0}, {0: right}, {0: wrong})
        assert found and (found.p < 0.05 or not found.is_carried)
    assert mean_of([0.5]).half_width is None and mean_of([0.5]).value == 0.5


def result_of(cell: Cell, accuracy: float, seconds: float = 10.0) -> Result:
    place = (cell.set, cell.size, cell.seed, cell.method)
    machine = ("1", 0.5, "a processor", "abc", "torch=2", "2026-01-01T00:00Z")
    return Result(*place, 32, 100, accuracy, accuracy / 100, 9.0, 9.0, seconds, 9.0, 3_076, "", *machine)


def some_results() -> dict[Cell, Result]:
    methods = {"words": 0.5, "frozen-minilm": 0.7, "auto-minilm": 0.8, "setfit-minilm": 0.75}
    known = {}
    for method, accuracy in methods.items():
        for seed in range(2):
            cell = Cell("agnews", "8", seed, method)
            known[cell] = result_of(
                cell, accuracy + 0.01 * seed * (method == "words"), 100.0 if "setfit" in method else 5.0
            )
    return known


def test_tables_name_partial_and_empty_cells_and_compare_with_the_best_linear_rival() -> None:
    known = some_results()
    hits = {cell: np.zeros(100, bool) for cell in known}
    text = table.render(known, hits)
    assert re.search(r"\| words, SVM \| AG News 16, .*; R8 8, .* \| AG News 8: 2 of 5 \|  \|", text)
    assert "| words, SVM | 50.5 ± 6.4 (2 of 5 seeds) |" in text
    assert "| AG News, 8, minilm | 80.0 ± 0.0 | frozen encoder, logistic regression, minilm, 70.0 |" in text
    assert "75.0 ± 0.0 | +5.0 (+5.0 to +5.0)" in text and "| 20.0 times ours |" in text
    elsewhere = {
        cell: replace(result, processor="another") if "setfit" in cell.method else result
        for cell, result in known.items()
    }
    assert "times ours" not in table.render(elsewhere, hits)
    assert re.search(r"\| SetFit, mpnet-base \| AG News 8, 16; .* \|  \| AG News 32: 90, 64: 181, ", text)


def test_the_picture_has_a_panel_a_set_and_a_line_a_method(tmp_path: Path) -> None:
    svg, png = draw(some_results(), tmp_path / "pictures")
    text = svg.read_text()
    assert all(title in text for title, _ in sets.SETS.values())
    assert "submillion auto" in text and "SetFit" in text and "transformers + peft" not in text
    assert png.stat().st_size > 10_000


def test_the_documented_tables_are_those_of_the_committed_results() -> None:
    documented = Path("docs/accuracy.md").read_text(encoding="utf-8")
    inserted = part_of(documented, table.PART)[1].strip()
    known, hits = results.read(), results.read_hits()
    assert set(known) == set(hits) and all(cell.method in METHODS for cell in known)
    assert inserted == table.render(known, hits)
    for cell, result in known.items():
        assert hits[cell].mean() == pytest.approx(result.accuracy, abs=1e-6)
