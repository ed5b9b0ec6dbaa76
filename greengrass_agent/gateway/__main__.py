"""`python -m greengrass_agent.gateway SETTINGS`: runs one gateway. The agent starts it and talks to it over its pipes.

Input: commands, one JSON object a line (settings.py), the first one a `configure`; its end ends the gateway.
Output: what the agent should know, one JSON object a line.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import click
import uvloop
from pydantic import ValidationError

from greengrass_agent.gateway.server import Gateway
from greengrass_agent.gateway.settings import (
    COMMAND,
    Checked,
    Configure,
    Finish,
    GatewaySettings,
    Role,
    Serve,
    Status,
    Suspend,
)
from greengrass_agent.host import pipes, priority
from greengrass_agent.logs.diagnostics import log_to_stderr
from hitless.faults import faults

log = logging.getLogger("greengrass_agent.gateway")


@click.command()
@click.argument("settings", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(settings: Path) -> None:
    """Serve the instance that the file SETTINGS describes."""
    log_to_stderr(logging.INFO, "%(levelname)s %(name)s: %(message)s")
    try:
        known = GatewaySettings.model_validate_json(settings.read_bytes())
    except ValidationError as error:
        raise click.ClickException(f"{settings}: {faults(error, 'settings')}") from None
    except OSError as error:
        raise click.ClickException(str(error)) from None
    priority.prefer()
    try:
        uvloop.run(serve(known))
    except ValidationError as error:  # not quoted: a component's configuration may hold secrets
        raise click.ClickException(f"command refused: {faults(error, 'command', quoted=False)}") from None
    except OSError as error:
        raise click.ClickException(str(error)) from None


async def serve(settings: GatewaySettings) -> None:
    """Run the gateway until its input ends or a SIGTERM comes. Raises OSError, ValidationError."""
    async with AsyncExitStack() as open_parts:
        # A task of its own: what closes here is never cancelled, which aiohttp's cleanup would pass on as an error.
        serving = asyncio.create_task(_serve(settings, open_parts))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
        try:
            await serving
        except asyncio.CancelledError:
            log.info("ending on SIGTERM")


async def _serve(settings: GatewaySettings, open_parts: AsyncExitStack) -> None:
    """Serve until the input ends. What is to be closed then is in `open_parts`."""
    reader = await pipes.standard_input()
    first = COMMAND.validate_json(await reader.readline())
    if not isinstance(first, Configure):
        raise OSError(f"first command is {first.command}, expected configure")

    def tell(status: Status) -> None:
        print(status.model_dump_json(), flush=True)

    gateway = Gateway(settings, first, tell)
    open_parts.push_async_callback(gateway.close)
    await gateway.open()
    tell(Status(workers={}))
    commands = asyncio.create_task(obey(gateway, reader))
    work = asyncio.create_task(gateway.run())
    try:
        await asyncio.wait((commands, work), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            # All is answered; the workers keep their connections until the agent has ended them.
            await commands
        commands.result()
    finally:
        commands.cancel()
        work.cancel()


async def obey(gateway: Gateway, reader: asyncio.StreamReader) -> None:
    """Carry out commands until the input ends."""
    while line := await reader.readline():
        match COMMAND.validate_json(line):
            case Configure() as configure:
                gateway.configure(configure)
            case Serve(launch=launch):
                gateway.serve(launch)
            case Suspend(reason=reason):
                gateway.suspend(reason)
            case Role() as role:
                gateway.take_role(role)
            case Checked(failing=failing):
                gateway.checked(failing=failing)
            case Finish():
                await gateway.finish()


if __name__ == "__main__":
    main(prog_name="python -m greengrass_agent.gateway")
