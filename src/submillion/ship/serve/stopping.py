"""uvicorn's server and its supervisor of processes, stopped in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import wait

from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from submillion.ship.serve.metrics import forget_waiting

_OTHER_SIGNALS = [getattr(signal, name) for name in ("SIGHUP", "SIGTTIN", "SIGTTOU") if hasattr(signal, name)]


class StoppingServer(Server):
    """A server whose end after SIGTERM or Ctrl-C is the normal one."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse the bodies that are still arriving, then finish what is accepted."""
        self.config.loaded_app.state.service.bodies.stop()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop at SIGTERM and SIGINT; uvicorn would end the process by the same signal afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {signal.SIGINT: signal.signal(signal.SIGINT, self.handle_exit)}
        try:
            if not self.config.loaded:
                # Loading a run takes seconds, and nothing is accepted yet: SIGTERM has its usual effect until then.
                self.config.load()
            before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self.handle_exit)
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def end_with_parent() -> None:
    """Let this process stop in order when its parent dies, even if the parent is killed: nobody else would stop it."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="submillion-parent", daemon=True).start()


class _Process(Process):
    """A process that runs a `StoppingServer`."""

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Run the server; the code of the process itself."""
        end_with_parent()
        super().target(sockets)

    @property
    def server(self) -> Server:
        """The server, made in the process itself."""
        if self._server is None:
            self._server = StoppingServer(self.config)
        return self._server


class Processes(Multiprocess):
    """Several processes on one socket; one that dies is replaced, and one that cannot start stops all."""

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        """Prepare; `run` starts them."""
        # uvicorn would restart or add processes at these signals, with its own server in place of ours.
        before = {one: signal.getsignal(one) for one in _OTHER_SIGNALS}
        super().__init__(config, sockets)
        for one, handler in before.items():
            signal.signal(one, handler)
        self.failed = False

    def init_processes(self) -> None:
        """Start the processes."""
        self.processes = [self._started() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        """Replace processes that have died."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set() or process.process.is_alive():
                continue
            if process.exitcode == STARTUP_FAILURE:
                self.failed = True
                self.should_exit.set()
                return
            process.join()
            if process.pid is not None:
                forget_waiting(process.pid)
            self.processes[place] = self._started()

    def _started(self) -> Process:
        process = _Process(self.config, self.sockets)
        process.start()
        return process
