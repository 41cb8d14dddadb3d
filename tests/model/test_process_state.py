"""Tests of model/process_state.py: settings change inside a block and are restored after it, even after an error."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import torch

from submillion.model import process_state

DENORMAL_BITS = 1 << 22  # of the float32 2^-127


def workers_that_flush(threads: int) -> list[bool]:
    """Multiply denormal numbers on several threads; return for each thread's share whether the products are zero."""
    denormals = torch.full((threads << 18,), DENORMAL_BITS, dtype=torch.int32).view(torch.float32)
    products = (denormals * 1.0).view(torch.int32)
    return [bool((share == 0).all()) for share in products.chunk(threads)]


def test_seeded_restores_the_default_generator() -> None:
    before = torch.default_generator.get_state()
    with process_state.seeded(7):
        first = torch.rand(3)
    assert torch.equal(torch.default_generator.get_state(), before)
    with process_state.seeded(7):
        assert torch.equal(torch.rand(3), first)


def test_generators_are_restored_after_an_error() -> None:
    before = torch.default_generator.get_state()
    with pytest.raises(ValueError, match="stop"), process_state.preserved_generators():
        torch.default_generator.manual_seed(3)
        torch.rand(5)
        raise ValueError("stop")
    assert torch.equal(torch.default_generator.get_state(), before)


def test_the_thread_count_is_restored() -> None:
    before = torch.get_num_threads()
    with process_state.thread_count(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with process_state.thread_count(None):
        assert torch.get_num_threads() == before


def test_training_settings_are_restored_after_an_error() -> None:
    torch.set_flush_denormal(False)  # whatever an earlier test of this process set
    threads, state = torch.get_num_threads(), torch.default_generator.get_state()
    with pytest.raises(ValueError, match="stop"), process_state.training_settings(threads + 1):
        torch.rand(1)
        raise ValueError("stop")
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.default_generator.get_state(), state)
    assert not process_state.denormals_are_flushed()


def test_a_second_training_of_the_process_waits_for_the_first() -> None:
    order: list[str] = []

    def second() -> None:
        order.append("asks")
        with process_state.training_settings():
            order.append("trains")

    thread = threading.Thread(target=second)
    with process_state.training_settings():
        thread.start()
        thread.join(0.3)
        order.append("the first has ended")
    thread.join()
    assert order == ["asks", "the first has ended", "trains"]


def test_denormals_are_flushed_on_all_threads_inside_and_on_none_after() -> None:
    code = """
        import json, torch
        from submillion.model.process_state import denormals_are_flushed, flushed_denormals
        from test_process_state import workers_that_flush

        torch.set_num_threads(3)
        facts = {"before": [denormals_are_flushed(), *workers_that_flush(3)]}  # starts the worker threads
        with flushed_denormals() as possible:
            facts["inside"] = [denormals_are_flushed(), *workers_that_flush(3)]
            with flushed_denormals():
                pass
            facts["after a nested block"] = [denormals_are_flushed(), *workers_that_flush(3)]
        facts["after"] = [denormals_are_flushed(), *workers_that_flush(3)]
        print(json.dumps([possible, facts]))
    """
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": here},
    )
    possible, facts = json.loads(done.stdout)
    if not possible:
        pytest.skip("this processor cannot flush denormal numbers")
    assert facts == {
        "before": [False] * 4,
        "inside": [True] * 4,
        "after a nested block": [True] * 4,
        "after": [False] * 4,
    }


@pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack as Linux has it")
def test_the_signal_stack_is_restored_after_an_error() -> None:
    before = process_state.signal_stack()
    memory = ctypes.create_string_buffer(1 << 16)
    with pytest.raises(ZeroDivisionError), process_state.preserved_signal_stack():
        own = process_state.SignalStack(ctypes.addressof(memory), 0, len(memory))
        process_state.signal_stack(own)
        now = process_state.signal_stack()
        assert now is not None and now.address == ctypes.addressof(memory)
        raise ZeroDivisionError
    after = process_state.signal_stack()
    assert before is not None and after is not None
    assert (after.address, after.flags, after.size) == (before.address, before.flags, before.size)
