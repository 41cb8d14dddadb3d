"""A server of an app in a thread of the tests."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from submillion.errors import SubmillionError
from submillion.ship.serve.options import ServeOptions
from submillion.ship.serve.run import config_for, listening, server_for

if TYPE_CHECKING:
    from fastapi import FastAPI


@contextmanager
def running_in_thread(app: FastAPI, options: ServeOptions) -> Iterator[str]:
    """Serve an app in a thread of this process inside the block; give its URL.

    Raises:
        BadInput: the address cannot be listened on.
    """
    with listening(options) as sock:
        server = server_for(config_for(app, options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        try:
            host, port = sock.getsockname()[:2]
            while not server.started and thread.is_alive():
                thread.join(0.01)
            if not server.started:
                raise SubmillionError("The server could not start.")
            yield f"http://{host}:{port}"
        finally:
            server.handle_exit(signal.SIGTERM, None)
            thread.join()
