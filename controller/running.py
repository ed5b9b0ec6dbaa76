"""The controller that runs now, and how another takes its place in the same process: with other services or components.

It is what a controller's restart is, which costs no packet: switches and nodes go on as they are meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable

from controller.controller import Controller
from controller.fabric.schema import Fabric
from controller.nodes.components import Library
from controller.operator.commands import Commands
from controller.operator.documents import Status

log = logging.getLogger(__name__)

Make = Callable[[Fabric, Library], Controller]


class Running:
    """One controller after the other. Create it in a running event loop."""

    def __init__(self, make: Make, fabric: Fabric, library: Library) -> None:
        """`make` makes a controller; what it raises, this raises."""
        self._make = make
        self.fabric = fabric
        self.library = library
        self.controller = make(fabric, library)
        self._runs = asyncio.Event()
        self._runs.set()
        self._wanted: asyncio.Queue[tuple[Fabric, Library]] = asyncio.Queue()

    async def run(self) -> None:
        """Run until cancelled. What ends a controller for good ends this."""
        while True:
            work = asyncio.create_task(self.controller.run())
            self._runs.set()
            wanted = asyncio.create_task(self._wanted.get())
            try:
                await asyncio.wait((work, wanted), return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    work.result()
                    return
                self.fabric, self.library = wanted.result()
                log.info("another deployment: the controller begins anew; switches and nodes go on as they are")
            finally:
                self._runs.clear()
                for task in (work, wanted):
                    task.cancel()
                await asyncio.gather(work, wanted, return_exceptions=True)
            self.controller = self._make(self.fabric, self.library)

    async def replace(self, fabric: Fabric, library: Library) -> Controller:
        """Have a controller of another fabric, or of other components, take over; returns it when it runs."""
        before = self.controller
        self._runs.clear()
        await self._wanted.put((fabric, library))
        while self.controller is before:
            await self._runs.wait()
        return self.controller

    async def commands(self) -> Commands:
        """The operator's commands, once a controller can carry them out."""
        await self._runs.wait()
        return self.controller.commands

    async def status(self) -> Status:
        """What there is and how it is now."""
        await self._runs.wait()
        return await self.controller.status()
