"""Context managers that change or protect settings of the process, such as generators and threads, and restore them."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

TRAINING = threading.RLock()
"""Held by the thread that trains: generators, number of threads and garbage collector belong to the whole process."""
OMP_PAUSE_HARD = 2  # OpenMP 5.0, section 3.2.43: free all that the runtime can free, its threads included


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` inside the block, on the CPU; the default generator is restored afterwards.

    Waits for a training in another thread, which draws from the same generator.
    """
    # Not torch.manual_seed: it would also seed the generators of accelerators, which are not restored here.
    with TRAINING, preserved_generators():
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def preserved_generators(device_type: str = "cpu") -> Iterator[None]:
    """Restore torch's default generator afterwards, and the generator of the current device of `device_type`."""
    accelerator: Any = None if device_type == "cpu" else torch.get_device_module(device_type)
    cpu_state = torch.default_generator.get_state()
    accelerator_state = None if accelerator is None else accelerator.get_rng_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(cpu_state)
        if accelerator is not None:
            accelerator.set_rng_state(accelerator_state)


@contextmanager
def thread_count(threads: int | None) -> Iterator[None]:
    """Run torch's operations on `threads` CPU threads inside the block; None does not change the number."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def flushed_denormals() -> Iterator[bool]:
    """Treat numbers below 2^-126 as zero inside the block; yields False if the CPU has no such mode.

    LoRA's second matrix starts at zero, so its products and Adam's moments pass through the denormal range, where
    processors are many times slower. The mode belongs to a thread, and a new thread inherits it from the thread that
    starts it. torch changes the calling thread only, so OpenMP's worker threads are ended on the way in and on the
    way out; OpenMP starts new ones at the next parallel operation.
    """
    if denormals_are_flushed():
        yield True
        return
    _end_openmp_threads()
    possible = torch.set_flush_denormal(True)
    try:
        yield possible
    finally:
        torch.set_flush_denormal(False)
        _end_openmp_threads()


def denormals_are_flushed() -> bool:
    """Return whether this thread treats denormal numbers as zero; torch can set the mode but not read it."""
    # One mode holds for float32 and float64, so Python's own arithmetic shows it.
    smallest_normal = sys.float_info.min
    return smallest_normal * 0.5 == 0.0


class SignalStack(ctypes.Structure):
    """The stack on which the handlers of a thread's signals run: `stack_t` of Linux, sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack(new: SignalStack | None = None) -> SignalStack | None:
    """Return this thread's signal stack, and set a new one; None where the system is not Linux."""
    if sys.platform != "linux":
        return None
    present = SignalStack()
    ctypes.CDLL(None).sigaltstack(None if new is None else ctypes.byref(new), ctypes.byref(present))
    return present


@contextmanager
def preserved_signal_stack() -> Iterator[None]:
    """Restore this thread's signal stack afterwards.

    OpenVINO sets one of its own when it compiles a model and frees it with the model. Two models that do not end in the
    reverse order leave the freed one set, and the next signal, such as Ctrl-C, then kills the process.
    """
    before = signal_stack()
    try:
        yield
    finally:
        signal_stack(before)


@contextmanager
def training_settings(threads: int | None = None, device_type: str = "cpu") -> Iterator[None]:
    """Set the process up for training inside the block, and restore every setting afterwards.

    Another thread waits until it ends: two trainings at once would draw from one generator, and neither could be
    repeated.

    Args:
        threads: CPU threads of torch's operations; None does not change the number.
        device_type: the training device, whose generator draws dropout: `cpu`, `cuda` or `mps`.
    """
    with ExitStack() as settings:
        settings.enter_context(TRAINING)
        settings.enter_context(preserved_generators(device_type))
        settings.enter_context(flushed_denormals())
        settings.enter_context(thread_count(threads))
        yield


def _end_openmp_threads() -> None:
    """End the idle worker threads that OpenMP keeps for the calling thread.

    If the OpenMP runtime has no such function, its workers keep the mode that they were started with.
    """
    try:
        pause = ctypes.CDLL(None).omp_pause_resource_all
    except (AttributeError, OSError, TypeError):  # no such symbol; Windows has no handle of the whole process
        return
    pause(OMP_PAUSE_HARD)
