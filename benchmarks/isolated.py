"""Runs a function in a process of its own, so that its memory can be measured."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any


class ProcessFailed(Exception):
    """A process raised an error, or ended without a result."""


def run_isolated(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a module's function, run in a new process.

    The peak memory of a process starts at the memory of its parent (getrusage(2)), so functions that need much memory
    run isolated, whether their own peak or that of later processes is measured.

    Raises:
        ProcessFailed: the function raised an error, which the message contains, or the process was killed.
    """
    # A forked process would start with this process's memory; a spawned one does not.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, function, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        succeeded, result = receiver.recv()
    except EOFError:
        process.join()
        raise ProcessFailed(f"its process ended with {process.exitcode}") from None
    except BaseException:
        process.terminate()  # for example Ctrl-C
        raise
    process.join()
    if not succeeded:
        raise ProcessFailed(result)
    return result


def _send_result(sender: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        sender.send((True, function(*arguments)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the parent process reports it
        sender.send((False, f"{type(error).__name__}: {error}"))
