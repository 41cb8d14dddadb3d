"""The processes that train one run together: their ranks, devices and exchanges."""

from __future__ import annotations

import atexit
import os
from typing import Any

import torch
from accelerate import PartialState

from submillion import notices
from submillion.model.precision import cpu_requested


class Workers:
    """One process of a run, and its connection to the others; most runs have a single process.

    Accelerate starts the processes (`accelerate launch`), picks device and backend (gloo, nccl) and drives the
    trackers. The model is not wrapped for data-parallel training: the budget allows about a million gradients, which
    are already contiguous, so one explicit sum per optimizer step is the whole exchange. The sum divided by the
    number of texts of all processes is exact; the usual mean of the processes' means is not when their shares of a
    batch differ in size.
    """

    def __init__(self, device: torch.device, rank: int = 0, world: int = 1) -> None:
        self.device = device
        self.rank = rank
        self.world = world

    @classmethod
    def start(cls) -> Workers:
        """Join the processes that `accelerate launch` or torchrun started, or be the only one."""
        # Without `cpu`, accelerate does not connect processes that have no accelerator: each would be the first.
        state = PartialState(cpu=cpu_requested() or not torch.accelerator.is_available())
        if state.num_processes > 1:
            atexit.register(state.destroy_process_group)
        elif {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= os.environ.keys():
            notices.emit(
                "processes",
                "accelerate launch started 1 process although several were configured. With --cpu it needs MPI; "
                "use --multi_gpu instead, which also works without a GPU.",
            )
        if state.process_index > 0:
            notices.mute()  # the first process prints them for all
        return cls(state.device, state.process_index, state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process has reached this call."""
        if self.world > 1:
            torch.distributed.barrier()

    def add_up(self, tensor: torch.Tensor) -> None:
        """Replace `tensor` by its sum over all processes, in place."""
        if self.world > 1:
            torch.distributed.all_reduce(tensor)

    def gather(self, value: Any) -> list[Any]:
        """Return every process's `value`, by rank; values must be picklable."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values
