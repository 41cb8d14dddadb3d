"""Runs a function in a process of its own, whose memory nothing else has grown."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any


class Failed(Exception):
    """A process broke, or ended without an answer."""


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function of a module returns in a process of its own.

    What a process takes is counted from the memory of the one that started it (getrusage(2)): so what needs much
    of it runs apart, whether its own memory is measured or that of those started after it.

    Raises:
        Failed: the function raised an error, which is told, or its process was killed.
    """
    # Forked, it would begin with this process's memory; spawned, it begins anew.
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        good, answer = pipe.recv()
    except EOFError:
        process.join()
        raise Failed(f"its process ended with {process.exitcode}") from None
    except BaseException:
        process.terminate()  # the user does not want it any more
        raise
    process.join()
    if not good:
        raise Failed(answer)
    return answer


def _answer(pipe: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        pipe.send((True, function(*arguments)))
    except (Exception, SystemExit) as error:
        # Whatever it raises, the process that asked says it.
        pipe.send((False, f"{type(error).__name__}: {error}"))
