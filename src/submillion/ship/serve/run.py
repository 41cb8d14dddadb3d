"""Runs the server: checked before anything is loaded, one process or several, finished in order after SIGTERM."""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion import notices
from submillion.errors import BadInput, Problem, SubmillionError
from submillion.ship.serve import logs
from submillion.ship.serve.options import ServeOptions, read_token

if TYPE_CHECKING:
    from fastapi import FastAPI
    from uvicorn import Config, Server

# fastapi, uvicorn and prometheus-client are an extra, and torch loads slowly: both are imported once they are needed.

MODULES = ("fastapi", "uvicorn", "prometheus_client")
BACKLOG = 2048
ANNOUNCED = "announced"
"""Made by the first process of several, in the folder in which they count together."""


def serve(
    runs: Sequence[str | Path], options: ServeOptions | None = None, token_file: str | Path | None = None
) -> None:
    """Serve runs over HTTP until SIGTERM or Ctrl-C; accepted requests then have ten seconds to finish.

    Args:
        runs: at least one finished run directory; the first answers requests that name none.
        options: None takes the defaults.
        token_file: file with the bearer token that requests must have; None asks for none.

    Raises:
        BadInput: fastapi is not installed, a run cannot be served, two have one name, an option is out of range, or the
            address cannot be listened on.
        SubmillionError: a process of several could not start.
    """
    options = options or ServeOptions()
    options.check()
    if token_file is not None:
        options = replace(options, token=read_token(token_file))
    _check_installed()
    from submillion.ship.serve.models import named

    named(runs)
    with ExitStack() as stack:
        sock = stack.enter_context(listening(options))
        if not options.is_loopback and options.token is None:
            notices.emit(
                "open_server",
                f"everybody who can reach {options.host} can use this server and read the runs' reports: no token is "
                "set.",
                host=options.host,
            )
        host, port = sock.getsockname()[:2]
        at = f"[{host}]" if ":" in host else host
        if options.workers == 1:
            _serve_here(runs, options, sock, f"http://{at}:{port}")
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="submillion-metrics-"))
            stack.enter_context(_counting_in(folder))
            _serve_in_processes(runs, options, sock, f"http://{at}:{port}")


def build(runs: Sequence[str | Path], options: ServeOptions) -> FastAPI:
    """Open runs and return their app; in a process of several, with its share of the cores.

    Raises:
        BadInput: as `open_runs`.
    """
    from submillion.ship.serve.app import create_app
    from submillion.ship.serve.models import open_runs

    if options.workers > 1:
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // options.workers))
    return create_app(open_runs(runs, options.precision), options)


def build_in_worker(states: Mapping[str, Mapping[str, str]], options: ServeOptions) -> FastAPI:
    """Return the app in a process of its own; a run that cannot be opened ends the process with a message.

    Args:
        states: the runs with their files as they were when the server started. One that has changed ends the process,
            because its answers would differ from those of the other processes.
        options: of the server.
    """
    from uvicorn.config import STARTUP_FAILURE

    from submillion.ship.serve.models import state_of

    logs.configure()
    try:
        for path, state in states.items():
            if state_of(path) != state:
                expected = "the run that it was when the server started"
                raise BadInput(Problem(path, expected, "other files", "Start the server again."))
        with notices.collecting(quiet=not _is_first()):
            return build(list(states), options)
    except SubmillionError as error:
        print(error.render(), file=sys.stderr, flush=True)
        raise SystemExit(STARTUP_FAILURE) from None


def _is_first() -> bool:
    """Return whether this is the first process of a server: it alone gives the notices, which are those of all."""
    from submillion.ship.serve.metrics import SHARED_DIRECTORY

    try:
        (Path(os.environ[SHARED_DIRECTORY]) / ANNOUNCED).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def config_for(app: Any, options: ServeOptions, *, factory: bool = False) -> Config:
    """Return uvicorn's configuration: bounded connections, our log lines, ten seconds to finish."""
    from uvicorn import Config

    from submillion.ship.serve.connections import BoundedProtocol
    from submillion.ship.serve.service import DRAIN_SECONDS

    return Config(
        app,
        factory=factory,
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        workers=options.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_worker_healthcheck=60,  # loading a run holds the interpreter for seconds
    )


def server_for(config: Config) -> Server:
    """Return a server that refuses unfinished bodies when it stops, and ends without a signal's exit status."""
    from submillion.ship.serve.stopping import StoppingServer

    return StoppingServer(config)


def _serve_here(runs: Sequence[str | Path], options: ServeOptions, sock: socket.socket, url: str) -> None:
    app = build(runs, options)
    logs.configure()
    logs.event("serving", url=url, models=len(runs), workers=1)
    server = server_for(config_for(app, options))
    server.run(sockets=[sock])
    logs.event("stopped")


def _serve_in_processes(
    runs: Sequence[str | Path], options: ServeOptions, sock: socket.socket, url: str
) -> None:
    from submillion.ship.serve.models import state_of
    from submillion.ship.serve.stopping import Processes

    logs.configure()
    states = {place: state_of(place) for place in (str(Path(run).absolute()) for run in runs)}
    config = config_for(partial(build_in_worker, states, options), options, factory=True)
    logs.event("serving", url=url, models=len(runs), workers=options.workers)
    processes = Processes(config, [sock])
    processes.run()
    if processes.failed:
        raise SubmillionError("A process of the server could not start; its message is above.")
    logs.event("stopped")


def _check_installed() -> None:
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        remedy = 'Install them with: pip install "submillion[serve]"'
        raise BadInput(Problem("serve", f"the packages {', '.join(MODULES)}", f"no {missing[0]}", remedy))


@contextmanager
def listening(options: ServeOptions) -> Iterator[socket.socket]:
    """Listen on the address, before a run is loaded: a port in use is refused at once."""
    where = "@{port}"
    expected = f"a port of {options.host} that can be listened on"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        found = f"'{options.host}' ({getattr(error, 'strerror', None) or error})"
        raise BadInput(Problem("@{host}", "an address of this machine", found)) from error
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        if os.name != "nt":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                found = f"'{options.host}', which is none"
                raise BadInput(Problem("@{host}", "an address of this machine", found)) from error
            found = f"{options.port} ({error.strerror or error})"
            raise BadInput(Problem(where, expected, found, "Choose another with @{port}.")) from error
        sock.set_inheritable(True)
        yield sock


@contextmanager
def _counting_in(folder: str) -> Iterator[None]:
    """Let the processes that are started inside the block count together in a folder."""
    from submillion.ship.serve.metrics import SHARED_DIRECTORY

    before = os.environ.get(SHARED_DIRECTORY)
    os.environ[SHARED_DIRECTORY] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[SHARED_DIRECTORY]
        else:
            os.environ[SHARED_DIRECTORY] = before
