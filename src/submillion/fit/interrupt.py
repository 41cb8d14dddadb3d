"""Ctrl-C and SIGTERM: the first is a wish that the loop reads between steps, the second aborts at once."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While it is entered, the first signal sets `wished`; the second raises KeyboardInterrupt.

    Signals reach the main thread only; entered in another thread, it does nothing and never wishes.
    """

    def __init__(self) -> None:
        self.wished = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.wished:
            raise KeyboardInterrupt
        self.wished = True
        name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        text = f"\n{name}: finishing this step and saving; once more aborts at once."
        print(text, file=sys.stderr, flush=True)
