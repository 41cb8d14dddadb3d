"""The file of the prefix cache: shared between runs, checked, and read text by text."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import notices
from submillion.data.tokens import Tokens
from submillion.errors import SubmillionError
from submillion.files import tensor_file
from submillion.model import prefix, prefix_file
from submillion.model.classifier import Classifier
from submillion.model.execution.reference import Reference
from submillion.model.infer import predict_logits
from submillion.model.precision import Precision
from submillion.model.prefix import PrefixCache, _row_indices
from submillion.model.protocol import PrefixForward
from support.prefixes import BFLOAT16, FLOAT32, made, reference
from support.tiny import FAMILY_NAMES

PLENTY, NOTHING = 10**9, 0  # free memory


@pytest.fixture
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a file even for the few states of these tests."""
    monkeypatch.setattr(prefix, "MIN_FILE_BYTES", 1)
    monkeypatch.setattr(tensor_file, "CHECKSUM_SPAN", 1000)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of texts in each batch that the reference execution runs."""
    seen: list[int] = []
    real = Classifier.states_entering

    def counted(classifier: Classifier, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(len(batch["input_ids"]))
        return real(classifier, batch)

    monkeypatch.setattr(Classifier, "states_entering", counted)
    return seen


class Elsewhere(Reference):
    """An execution of another name, whose states a function computes if one is passed."""

    def __init__(self, classifier: Classifier, name: str, forward: PrefixForward | None = None) -> None:
        super().__init__(classifier, FLOAT32)
        self.name = name  # type: ignore[misc]
        self._forward = forward

    def prefix_forward(self, tokens: Tokens) -> PrefixForward:
        return self._forward or super().prefix_forward(tokens)


def files(cache: Path) -> list[Path]:
    """Return all files in the cache folder except locks."""
    return sorted(path for path in (cache / "prefix").glob("*") if path.suffix != ".lock")


def all_states(cache: PrefixCache | None, count: int = 13) -> torch.Tensor:
    assert cache is not None
    return cache.flat_states(np.arange(count))


@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize("available", [PLENTY, NOTHING])
def test_the_second_build_runs_nothing(
    worth: None, runs: list[int], own_cache: Path, precision: Precision, available: int
) -> None:
    classifier, tokens = made("roberta")
    one = PrefixCache.build(Reference(classifier, precision), tokens, 4, available=available)
    assert sum(runs) == 13
    (file,) = files(own_cache)
    os.utime(file, (1, 1))
    two = PrefixCache.build(*reference(*made("roberta"), precision), 4, available=available)
    assert sum(runs) == 13
    assert time.time() - file.stat().st_mtime < 60
    assert torch.equal(all_states(one), all_states(two))
    assert one is not None and two is not None
    assert one.nbytes == two.nbytes == tokens.offsets[-1] * 32 * (4 if precision is FLOAT32 else 2)
    assert notices.collected()[-1]["text"] == (
        "caching the output of the 2 frozen lower layers (of 4) on disk; dropout is off in them"
    )


def test_few_states_are_not_written_to_a_file(own_cache: Path) -> None:
    assert PrefixCache.build(*reference(*made("roberta"), FLOAT32), 4) is not None
    assert files(own_cache) == []
    assert notices.collected()[-1]["text"] == (
        "caching the output of the 2 frozen lower layers (of 4) in memory; dropout is off in them"
    )


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_stored_states_give_the_logits_of_the_whole_model(worth: None, family: str) -> None:
    classifier, tokens = made(family)
    cache = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)
    np.testing.assert_allclose(
        predict_logits(Reference(classifier, FLOAT32), tokens, 3, prefix=cache),
        predict_logits(Reference(classifier, FLOAT32), tokens, 3),
        atol=1e-5,
    )


@pytest.mark.parametrize("damage", ["first", "head", "middle", "last", "shorter", "longer", "empty"])
def test_a_damaged_file_is_reported_and_rewritten(
    worth: None, runs: list[int], own_cache: Path, damage: str
) -> None:
    classifier, tokens = made("roberta")
    whole = all_states(PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4))
    (file,) = files(own_cache)
    content = bytearray(file.read_bytes())
    places = {"first": 0, "head": 4000, "middle": len(content) // 2, "last": len(content) - 1}
    if damage in places:
        content[places[damage]] ^= 1
    else:
        content = {"shorter": content[:-1], "longer": content + b"x", "empty": bytearray()}[damage]
    file.write_bytes(content)
    notices.restore([])
    assert torch.equal(all_states(PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)), whole)
    assert sum(runs) == 26
    assert "are damaged (" in notices.collected()[0]["text"]
    assert torch.equal(all_states(PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)), whole)
    assert sum(runs) == 26


def test_the_key_covers_everything_that_decides_the_states(worth: None, own_cache: Path) -> None:
    def count() -> int:
        return len(files(own_cache))

    classifier, tokens = made("mpnet")
    PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)
    assert count() == 1
    PrefixCache.build(*reference(*made("mpnet", layers="top-1"), FLOAT32), 4)
    assert count() == 2  # depth
    PrefixCache.build(Reference(classifier, BFLOAT16), tokens, 4)
    assert count() == 3
    PrefixCache.build(Reference(classifier, FLOAT32), tokens.take(range(12)), 4)
    assert count() == 4
    # The same ids end to end, split into other texts.
    tokens.offsets[1] -= 1
    PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)
    tokens.offsets[1] += 1
    assert count() == 5
    PrefixCache.build(Elsewhere(classifier, "packed-amx"), tokens, 4)
    assert count() == 6
    PrefixCache.build(Reference(classifier, FLOAT32), tokens, 5)
    assert count() == 7
    with torch.no_grad():
        for name, changes in {
            "word_embeddings.weight": True,
            "relative_attention_bias.weight": True,
            "encoder.layer.1.output.dense.bias": True,
            "encoder.layer.2.output.LayerNorm.bias": False,
            "lora_A.default.weight": False,
        }.items():
            value = next(v for n, v in reversed(list(classifier.named_parameters())) if n.endswith(name))
            value.view(-1)[3] += 1
            before = count()
            PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)
            assert (count() == before + 1) == changes, name


def test_another_execution_may_compute_the_states(worth: None, runs: list[int]) -> None:
    classifier, tokens = made("roberta")
    plain = all_states(PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4))
    runs.clear()

    def compute(rows: np.ndarray) -> torch.Tensor:
        assert not classifier.training and not torch.is_grad_enabled()
        starts = tokens.offsets[rows]
        return plain.index_select(0, _row_indices(starts, tokens.lengths[rows])).double() * 2

    for _ in range(2):
        cache = PrefixCache.build(Elsewhere(classifier, "twice", compute), tokens, 4)
        assert torch.equal(all_states(cache), 2 * plain)
    assert runs == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SubmillionError])
def test_an_interrupted_build_leaves_no_file(
    worth: None, own_cache: Path, error: type[BaseException]
) -> None:
    classifier, tokens = made("roberta")
    done = []

    def compute(rows: np.ndarray) -> torch.Tensor:
        if done:
            raise error("stop")
        done.append(rows)
        return torch.zeros(int(tokens.lengths[rows].sum()), 32)

    with pytest.raises(error, match="stop"):
        PrefixCache.build(Elsewhere(classifier, "elsewhere", compute), tokens, 4)
    assert files(own_cache) == []


def test_states_outlive_the_name_of_their_file(worth: None, own_cache: Path) -> None:
    """Another process may make room in the cache folder during a training."""
    classifier, tokens = made("roberta")
    cache = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)
    before = all_states(cache)
    (file,) = files(own_cache)
    file.unlink()
    assert torch.equal(all_states(cache), before)


def test_a_file_that_becomes_shorter_is_an_error_with_a_way_on(worth: None, own_cache: Path) -> None:
    """A mapping of it would kill the process."""
    classifier, tokens = made("roberta")
    cache = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)
    assert cache is not None
    (file,) = files(own_cache)
    os.truncate(file, tensor_file.PAGE + 32 * 4 * int(tokens.offsets[1]) - 1)
    with pytest.raises(SubmillionError, match="can no longer be read .it ends too early.") as error:
        cache.flat_states(np.array([0]))
    assert str(file) in str(error.value) and "Resume or start again" in str(error.value)


def test_threads_read_the_states_of_their_own_texts(worth: None) -> None:
    classifier, tokens = made("roberta")
    cache = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)
    assert cache is not None
    expected = [cache.flat_states(np.array([row])) for row in range(13)]

    def alike(row: int) -> bool:
        return all(torch.equal(cache.flat_states(np.array([row])), expected[row]) for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(alike, range(13)))


@pytest.mark.parametrize("available", [PLENTY, NOTHING])
def test_a_full_disk_is_not_an_error(
    worth: None, own_cache: Path, available: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    classifier, tokens = made("roberta")
    with monkeypatch.context() as full:
        full.setattr("pathlib.Path.replace", refuse)
        cache = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4, available=available)
    assert (cache is None) == (available == NOTHING)
    assert "No space left on device" in notices.collected()[0]["text"]
    assert files(own_cache) == []


def test_a_cache_folder_that_cannot_be_created_is_reported(
    worth: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SUBMILLION_CACHE", str(tmp_path / "file"))
    assert PrefixCache.build(*reference(*made("roberta"), FLOAT32), 4) is not None
    assert "is not kept for the next run" in notices.collected()[0]["text"]


@pytest.mark.parametrize("available", [PLENTY, NOTHING])
def test_a_cache_folder_that_this_user_may_not_enter_is_reported(
    worth: None, own_cache: Path, monkeypatch: pytest.MonkeyPatch, available: int
) -> None:
    classifier, tokens = made("roberta")
    stat = os.stat

    def refused(path: Any, **options: Any) -> os.stat_result:
        if isinstance(path, str | Path) and Path(path).is_relative_to(own_cache / "prefix"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refused)
        cache = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4, available=available)
    assert (cache is None) == (available == NOTHING)
    assert "Permission denied" in notices.collected()[0]["text"]


def test_no_room_in_memory_or_on_disk_is_reported(
    worth: None, runs: list[int], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, tokens = made("roberta")
    needed = int(tokens.offsets[-1]) * 32 * 4
    usage = type("Usage", (), {"free": 2 * needed})
    monkeypatch.setattr(prefix_file.shutil, "disk_usage", lambda _: usage)
    assert PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4, available=NOTHING) is None
    (notice,) = notices.collected()
    assert "and not on disk: it is more than half of the 0.00 GB free on the disk of" in notice["text"]
    assert runs == []
    notices.restore([])
    assert PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4, available=PLENTY) is not None
    assert "is not kept for the next run: it is more than half" in notices.collected()[0]["text"]
    monkeypatch.setattr(tensor_file, "LIMIT", needed - 1)
    assert PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4, available=NOTHING) is None
    assert "GB that the cache folder may take" in notices.collected()[-1]["text"]
    assert files(own_cache) == []


def test_the_least_recently_used_files_are_deleted_first(
    worth: None, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, tokens = made("roberta")

    def build(execution: str) -> Path:
        before = set(files(own_cache))
        assert PrefixCache.build(Elsewhere(classifier, execution), tokens, 4, available=NOTHING)
        new = set(files(own_cache)) - before
        return new.pop() if new else Path()

    old, used = build("old"), build("used")
    left = own_cache / "prefix" / f".{old.name}.left"
    left.write_text("of a killed process")
    for age, path in enumerate((left, old, used)):
        os.utime(path, (age, age))
    size = old.stat().st_size
    monkeypatch.setattr(tensor_file, "LIMIT", 2 * size)
    assert build("new").exists()
    assert used.exists() and not old.exists() and not left.exists()
    build("used")
    assert build("newest").exists()
    assert used.exists() and len(files(own_cache)) == 2


def test_one_of_two_concurrent_builds_computes(worth: None, runs: list[int]) -> None:
    pairs = [made("roberta") for _ in range(2)]
    results: list[torch.Tensor] = []
    threads = [
        threading.Thread(
            target=lambda pair: results.append(all_states(PrefixCache.build(*reference(*pair, FLOAT32), 4))),
            args=(pair,),
        )
        for pair in pairs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(runs) == 13
    assert torch.equal(*results)
