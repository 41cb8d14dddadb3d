"""Ctrl-C and SIGTERM: the first requests a stop, honoured between steps; the second raises KeyboardInterrupt."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While entered, the first signal sets `stop_requested` and the second raises KeyboardInterrupt.

    The caller's handlers are restored on exit. Python delivers signals to the main thread only and lets no other
    thread install handlers, so in another thread this does nothing and `stop_requested` stays False. A handler
    that was not installed from Python could not be restored, so it is left in place.
    """

    def __init__(self) -> None:
        self.stop_requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not None:
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True
        name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        text = f"\n{name}: finishing this step and saving; a second signal aborts at once."
        print(text, file=sys.stderr, flush=True)
