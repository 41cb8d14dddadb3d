"""The processes that train one run together: who writes, on which device, and what they add up."""

from __future__ import annotations

import atexit
import os
from typing import Any

import torch

from submillion import notices
from submillion.model.precision import cpu_wanted, flush_denormals


class Workers:
    """One process of a run, and its way to the others; a run of one process is the common case.

    Accelerate starts the processes (`accelerate launch`), picks device and backend (gloo, nccl) and holds the
    trackers. The model is not wrapped for data-parallel training: under the budget there are at most some
    million gradients, laid end to end already, so that one explicit sum per optimizer step does the whole
    exchange. A sum, divided by the number of texts that all processes saw, is exact where the usual mean of
    the processes' means is not: when the shares of a batch differ in size.
    """

    def __init__(self, device: torch.device, rank: int = 0, world: int = 1) -> None:
        self.device = device
        self.rank = rank
        self.world = world

    @classmethod
    def start(cls, threads: int | None = None) -> Workers:
        """Join the processes of this run, as `accelerate launch` set them up, or be the only one.

        Args:
            threads: processor threads of this process; None leaves torch's own choice.
        """
        from accelerate import PartialState

        flush_denormals()
        if threads is not None:
            torch.set_num_threads(threads)
        # Left to itself, accelerate takes processes without an accelerator for strangers, each the first.
        state = PartialState(cpu=cpu_wanted() or not torch.accelerator.is_available())
        if state.num_processes > 1:
            atexit.register(state.destroy_process_group)
        elif {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= os.environ.keys():
            notices.emit(
                "processes",
                "accelerate launch was to start several processes and started one, as it does with --cpu "
                "where there is no MPI; then take --multi_gpu in place of --cpu, also where there is no GPU",
            )
        if state.process_index > 0:
            notices.mute()  # the first process says them for all
        return cls(state.device, state.process_index, state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            torch.distributed.barrier()

    def add_up(self, tensor: torch.Tensor) -> None:
        """Replace `tensor` by its sum over all processes, in place."""
        if self.world > 1:
            torch.distributed.all_reduce(tensor)

    def gather(self, value: Any) -> list[Any]:
        """Return every process's `value`, by rank; any object that can be pickled."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values
