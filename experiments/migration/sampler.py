"""Notes ranks and the machine while a run goes on."""

from __future__ import annotations

import asyncio
import time
from typing import NoReturn

from controller.operator.client import NoControllerError, RefusedError
from controller.operator.documents import Status
from experiments.migration import machine
from experiments.migration.samples import MachineSample, RankSample
from topologies.testbed import Testbed

EVERY_S = 0.4
"""Between two looks: asking the controller costs it a few ms of a core."""


class Sampler:
    """Looks at the controller's status and the machine, until cancelled."""

    def __init__(self, bed: Testbed) -> None:
        self._bed = bed
        self._switches = [node.process.pid for node in bed.network.switches if getattr(node, "process", None)]
        self.ranks: list[RankSample] = []
        self.machine: list[MachineSample] = []
        self.hosts: dict[str, str] = {}
        """By service, as told last."""

    async def run(self) -> NoReturn:
        """Note what there is every now and then."""
        while True:
            self.machine.append(machine.sample(self._switches))
            status = await self._status()
            if status is not None:
                now = time.monotonic_ns()
                for service, seen in status.services.items():
                    if seen.host:
                        self.hosts[service] = seen.host
                    self.ranks += [RankSample(now, service, node, one.rank) for node, one in seen.instances.items()]
            await asyncio.sleep(EVERY_S)

    async def _status(self) -> Status | None:
        """None if the controller does not answer: a run goes on without it."""
        try:
            return await asyncio.to_thread(self._bed.controller(timeout_s=0.5).status)
        except (NoControllerError, RefusedError):
            return None
