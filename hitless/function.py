"""The function runtime: `python -m hitless.function --handler detect.lambda_handler --artifacts DIR`.

Keeps worker processes, each of which runs a Lambda handler, behind the gateway whose Unix socket HITLESS_GATEWAY names.
Handlers import `invoke` from here to call other services.
"""

from __future__ import annotations

import os
import sys
import time
from io import TextIOWrapper
from pathlib import Path

import click

from hitless.runtime import logs, surroundings
from hitless.runtime.gateway import GatewayConnection
from hitless.runtime.handler import HandlerError, load
from hitless.runtime.leave import leave
from hitless.runtime.slots import Slot
from hitless.runtime.supervisor import Supervisor
from hitless.runtime.upstream import invoke
from hitless.runtime.worker import Worker

__all__ = ["invoke"]


@click.command()
@click.option("--handler", required=True, metavar="MODULE.FUNCTION", help="The handler, such as detect.lambda_handler.")
@click.option(
    "--artifacts", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the module lies."
)
@click.option(
    "--workers",
    default=1,
    type=click.IntRange(1, 64),
    help="Processes, each with one request at a time, until the gateway says how many the configuration wants.",
)
def main(handler: str, artifacts: Path, workers: int) -> None:
    """Serve a function's requests until the gateway or a SIGTERM says to stop."""
    gateway = os.environ.get("HITLESS_GATEWAY")
    if not gateway:
        raise click.ClickException("HITLESS_GATEWAY is not set: expected the path of the gateway's Unix socket")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    launch = os.environ.get("HITLESS_LAUNCH", "0")
    if not (launch.isascii() and launch.isdecimal()):
        raise click.ClickException(f"HITLESS_LAUNCH is {launch!r}, expected a number")
    try:
        ended = Supervisor(GatewayConnection(gateway), handler, int(launch), workers).run()
    except OSError as error:
        raise click.ClickException(f"gateway {gateway}: {error}") from None
    if isinstance(ended, int):
        leave(ended)
    _serve(handler, artifacts, gateway, int(launch), ended)
    leave(0)


def _serve(handler: str, artifacts: Path, gateway: str, launch: int, slot: Slot) -> None:
    """In a worker: load the handler and serve."""
    gateway, artifacts = str(Path(gateway).absolute()), artifacts.absolute()
    component = os.environ.get("HITLESS_COMPONENT", handler)
    try:
        context = surroundings.enter(handler, component, artifacts, time.time())
    except OSError as error:
        raise click.ClickException(f"artifacts directory {artifacts}: {error.strerror}") from None
    request_id = logs.set_up()
    try:
        found = load(handler, artifacts)
    except HandlerError as error:
        raise click.ClickException(str(error)) from None
    Worker(GatewayConnection(gateway), found, handler, context, request_id, launch, slot).run()


if __name__ == "__main__":
    main(prog_name="python -m hitless.function")
