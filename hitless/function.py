"""The function runtime: `python -m hitless.function --handler detect.lambda_handler --artifacts DIR`.

Runs a Lambda handler in worker processes behind the gateway whose Unix socket HITLESS_GATEWAY names. Handlers import
`invoke` from here to call other services.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from io import TextIOWrapper
from pathlib import Path

import click

from hitless.runtime.handler import HandlerError, load
from hitless.runtime.upstream import invoke
from hitless.runtime.worker import GatewayLost, Worker
from hitless.wire.worker_frames import WorkerProtocolError

__all__ = ["invoke"]


@click.command()
@click.option("--handler", required=True, metavar="MODULE.FUNCTION", help="The handler, such as detect.lambda_handler.")
@click.option(
    "--artifacts", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the module lies."
)
@click.option("--workers", default=1, type=click.IntRange(1, 64), help="Processes, each with one request at a time.")
def main(handler: str, artifacts: Path, workers: int) -> None:
    """Serve a function's requests until the gateway or a SIGTERM says to stop."""
    gateway = os.environ.get("HITLESS_GATEWAY")
    if not gateway:
        raise click.ClickException("HITLESS_GATEWAY is not set: expected the path of the gateway's Unix socket")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    if workers == 1:
        _serve(handler, artifacts, gateway)
    else:
        _supervise(handler, artifacts, gateway, workers)


def _serve(handler: str, artifacts: Path, gateway: str) -> None:
    try:
        function = load(handler, artifacts)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(gateway)
            Worker(connection, function, handler, os.environ.get("HITLESS_COMPONENT", handler)).run()
    except (HandlerError, GatewayLost, WorkerProtocolError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"gateway {gateway}: {error}") from None


def _supervise(handler: str, artifacts: Path, gateway: str, workers: int) -> None:
    """Fork the workers and wait. The failure of one ends the others, so that the component fails as a whole."""
    children: set[int] = set()
    for _ in range(workers):
        child = os.fork()
        if child == 0:
            _serve(handler, artifacts, gateway)
            return
        children.add(child)

    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    failure = 0
    while children:
        child, status = os.wait()
        children.discard(child)
        code = os.waitstatus_to_exitcode(status)
        if code == 0 or (stopping and code == -signal.SIGTERM):
            continue
        failure = failure or (code if code > 0 else 128 - code)
        if not stopping:
            stop()
    sys.exit(failure)


if __name__ == "__main__":
    main(prog_name="python -m hitless.function")
