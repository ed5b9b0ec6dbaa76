"""What HAProxy's agent checks are answered: which node is to have new work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from experiments.moves.ground import MEMBERS

ADDRESS, FIRST_PORT = "127.0.0.1", 9701
"""As haproxy.cfg has them; each node has a port."""
READY, DRAINED = b"ready up 100%\n", b"drain\n"


class Checks:
    """Answers the checks of each node: one is ready, the others are to have no new work."""

    def __init__(self) -> None:
        self._ready = frozenset([0])
        self._waiting: dict[int, list[asyncio.Future[None]]] = {member: [] for member in range(MEMBERS)}

    async def answer(self, member: int, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a check of a node."""
        writer.write(READY if member in self._ready else DRAINED)
        writer.close()
        for one in self._waiting[member]:
            if not one.done():
                one.set_result(None)
        self._waiting[member].clear()

    async def move_to(self, member: int) -> None:
        """Say that a node is ready, then, once HAProxy has heard so, that the others are not: there is always one."""
        self._ready |= {member}
        await self._asked([member])
        self._ready = frozenset([member])
        await self._asked(self._waiting.keys() - {member})

    async def _asked(self, members: Iterable[int]) -> None:
        """Wait until a check of each of these nodes has been answered."""
        loop = asyncio.get_running_loop()
        answers = []
        for member in members:
            self._waiting[member].append(answer := loop.create_future())
            answers.append(answer)
        await asyncio.gather(*answers)


@asynccontextmanager
async def answering() -> AsyncIterator[Checks]:
    """Answer checks for the time of the block, which begins when HAProxy has asked for all nodes. Raises OSError."""
    checks = Checks()
    async with AsyncExitStack() as stack:
        for member in range(MEMBERS):
            server = await asyncio.start_server(partial(checks.answer, member), ADDRESS, FIRST_PORT + member)
            await stack.enter_async_context(server)
        await checks.move_to(0)
        yield checks
