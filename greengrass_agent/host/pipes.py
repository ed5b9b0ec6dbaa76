"""Lines over the pipes between the agent and its gateways and emitter."""

from __future__ import annotations

import asyncio
import sys

LIMIT = 4 * 1024 * 1024
"""Bytes of the longest line: a command holds a component's configuration."""


async def standard_input() -> asyncio.StreamReader:
    """The process's standard input as a stream."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader
