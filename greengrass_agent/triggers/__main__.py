"""`python -m greengrass_agent.triggers`: takes the triggers of a node's services.

The agent starts it and talks to it over its input. When that ends, the triggers are left to other nodes.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from pydantic import ValidationError

from greengrass_agent.host.pipes import standard_input
from greengrass_agent.logs.diagnostics import log_to_stderr
from greengrass_agent.triggers.calling import Caller
from greengrass_agent.triggers.keeper import Keeper
from greengrass_agent.triggers.settings import COMMAND, TriggerSettings
from hitless.faults import faults

log = logging.getLogger("greengrass_agent.triggers")


def main() -> None:
    """Take triggers until the input ends."""
    log_to_stderr(logging.INFO, "%(levelname)s %(name)s: %(message)s")
    # The input's end comes first, and has the triggers left in order.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_run())


async def _run() -> None:
    reader = await standard_input()
    try:
        settings = COMMAND.validate_json(await reader.readline())
    except ValidationError as error:
        sys.exit(f"greengrass_agent.triggers: {faults(error, 'command', quoted=False)}")
    if not isinstance(settings, TriggerSettings):
        sys.exit(f"greengrass_agent.triggers: first command is {settings.command}, expected node")
    async with Caller() as caller:
        keeper = Keeper(settings, caller)
        while line := await reader.readline():
            try:
                await keeper.obey(COMMAND.validate_json(line))
            except ValidationError as error:
                log.error("command refused: %s", faults(error, "command", quoted=False))
        await keeper.close()


if __name__ == "__main__":
    main()
