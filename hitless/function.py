"""The function runtime: `python -m hitless.function --handler detect.lambda_handler --artifacts DIR`.

Keeps worker processes, each of which runs a Lambda handler, behind the gateway whose Unix socket HITLESS_GATEWAY names.
With `--bootstrap PATH` each serves Lambda's Runtime API to a process of that program, whatever it is written in.
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
from hitless.runtime.handler import FunctionError, HandlerError, load
from hitless.runtime.launch import Launch, launched
from hitless.runtime.leave import leave
from hitless.runtime.slots import Slot
from hitless.runtime.supervisor import supervise
from hitless.runtime.upstream import invoke
from hitless.runtime.worker import Worker

__all__ = ["invoke"]


@click.command()
@click.option(
    "--handler",
    metavar="MODULE.FUNCTION",
    help="The handler, such as detect.lambda_handler. A bootstrap is told it as _HANDLER.",
)
@click.option(
    "--bootstrap",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A program that asks Lambda's Runtime API for its invocations, in the artifacts' folder or by its whole path.",
)
@click.option(
    "--artifacts", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the function's files lie."
)
@click.option(
    "--workers",
    default=1,
    type=click.IntRange(1, 64),
    help="Processes, each with one request at a time, until the gateway says how many the configuration wants.",
)
def main(handler: str | None, bootstrap: Path | None, artifacts: Path, workers: int) -> None:
    """Serve a function's requests until the gateway or a SIGTERM says to stop."""
    if handler is None:
        if bootstrap is None:
            raise click.UsageError("neither --handler nor --bootstrap: expected the one, or the other, or both")
        handler = bootstrap.name
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    try:
        launch = launched()
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    try:
        slot = supervise(launch, handler, workers, in_groups=bootstrap is not None)
    except OSError as error:
        raise click.ClickException(f"gateway {launch.gateway}: {error}") from None
    _serve(handler, bootstrap, artifacts, launch, slot)
    leave(0)


def _serve(handler: str, bootstrap: Path | None, artifacts: Path, launch: Launch, slot: Slot) -> None:
    """In a worker: load the handler, or start the bootstrap, and serve."""
    gateway, artifacts = str(Path(launch.gateway).absolute()), artifacts.absolute()
    component = os.environ.get("HITLESS_COMPONENT", handler)
    try:
        context = surroundings.enter(handler, component, artifacts, time.time())
    except OSError as error:
        raise click.ClickException(f"artifacts directory {artifacts}: {error.strerror}") from None
    request_id = logs.set_up()
    connection = GatewayConnection(gateway)
    try:
        if bootstrap is None:
            Worker(connection, load(handler, artifacts), handler, context, request_id, launch.number, slot).run()
            return
        from hitless.runtime.invocations import Invocations  # handlers in Python do not pay for it

        program = Invocations(artifacts / bootstrap, artifacts)
        Worker(connection, program, handler, context, request_id, launch.number, slot, program.bootstrap).run()
    except HandlerError as error:
        raise click.ClickException(str(error)) from None
    except FunctionError as error:  # of the event to warm up with
        raise click.ClickException(f"{error.kind}: {error}") from None
    program.bootstrap.end()


if __name__ == "__main__":
    main(prog_name="python -m hitless.function")
