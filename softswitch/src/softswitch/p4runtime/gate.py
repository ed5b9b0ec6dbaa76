"""Who may use the pipelines: many at once, or one alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Lets in many that share, or one that wants to be alone. They come in as they asked: one that waits to be alone
    lets nobody pass."""

    def __init__(self) -> None:
        self._door = asyncio.Lock()
        self._sharing = 0
        self._empty = asyncio.Event()
        self.closed = False
        """Whether one is in there alone."""

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """With others of the kind."""
        async with self._door:
            self._sharing += 1
        try:
            yield
        finally:
            self._sharing -= 1
            if not self._sharing:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Without anyone else."""
        async with self._door:
            while self._sharing:
                self._empty.clear()
                await self._empty.wait()
            self.closed = True
            try:
                yield
            finally:
                self.closed = False
