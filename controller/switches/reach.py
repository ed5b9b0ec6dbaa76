"""Whether somebody listens at a switch's P4Runtime address: far cheaper to ask than P4Runtime, so it is asked often."""

import asyncio

ASK_EVERY = 0.02
"""Seconds between two questions to a machine that refuses: one SYN and its answer each."""
PATIENCE = 0.5
"""Seconds to wait for a machine that says nothing. The kernel would ask it again after 1, 3, 7 s and so forth."""


async def listens(address: str) -> bool:
    """Whether a connection to `host:port` or `unix:/path` is taken."""
    try:
        async with asyncio.timeout(PATIENCE):
            if address.startswith("unix:"):
                _, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
            else:
                host, _, port = address.rpartition(":")
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def until_listens(address: str) -> None:
    """Wait until a connection is taken there."""
    while not await listens(address):  # noqa: ASYNC110  (nobody tells)
        await asyncio.sleep(ASK_EVERY)
