"""The rounds of a run: each cycle's services put in place, the disturbance begun and ended, its marks noted."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.operator.client import NoControllerError, RefusedError
from experiments.migration.disturbance import Competition
from experiments.migration.options import APPLICATION, UNSTEERED, Way
from experiments.migration.plan import DISTURBED_S, REST_S, Plan
from experiments.migration.samples import Cycle
from hitless.modes import IN_NETWORK, RECONFIGURATION
from topologies.testbed import Testbed

CHANGE_S = 1.5
"""After a change of mode: a controller that has just started still works."""


@dataclass
class Rounds:
    """Carries a plan out. ``watch`` is called often, and raises where the run cannot go on."""

    bed: Testbed
    plan: Plan
    competitions: Mapping[str, Competition]
    """By node; empty in a run without a disturbance."""
    chance: random.Random
    hosts: Mapping[str, str]
    """Service -> the node that serves it now, as far as is known."""
    watch: Callable[[], None]
    on_round: Callable[[str], None]
    on_cycle: Callable[[Cycle], None]
    quiet_s: float = 0.0
    """How long a cycle lasts in a run without a disturbance."""
    cycles: list[Cycle] = field(default_factory=list)

    async def run(self) -> None:
        """All rounds, in order."""
        for number, (way, cycles) in enumerate(self.plan.rounds, 1):
            mode = RECONFIGURATION if way == RECONFIGURATION else IN_NETWORK
            if self.bed.mode != mode:
                self.on_round(f"the controller changes to {mode} while the load goes on")
                await self.bed.steer_by(mode, lambda _: None)
                await self._until(time.monotonic_ns(), CHANGE_S)
            for _ in range(cycles):
                self.cycles.append(await self._cycle(number, way))
                self.on_cycle(self.cycles[-1])

    async def _cycle(self, number: int, way: Way) -> Cycle:
        first = next(iter(self.bed.fabric.nodes))
        await place(self.bed, first, hold=way == UNSTEERED)
        placed_ns = time.monotonic_ns()
        if not self.competitions:
            await self._until(placed_ns, self.quiet_s)
            now = time.monotonic_ns()
            return Cycle(len(self.cycles) + 1, number, way, first, placed_ns, None, None, now)
        await self._until(placed_ns, self.plan.trigger_after_s(self.chance))
        node = self.hosts.get(APPLICATION, first)
        competition = self.competitions[node]
        trigger_ns = competition.begin()
        try:
            await self._until(trigger_ns, DISTURBED_S)
        finally:
            calm_ns = competition.end()
        await self._until(calm_ns, REST_S)
        return Cycle(len(self.cycles) + 1, number, way, node, placed_ns, trigger_ns, calm_ns, time.monotonic_ns())

    async def _until(self, since_ns: int, seconds: float) -> None:
        due = since_ns + int(seconds * 1e9)
        while (left := (due - time.monotonic_ns()) / 1e9) > 0:
            self.watch()
            await asyncio.sleep(min(left, 0.25))


async def place(bed: Testbed, node: str, *, hold: bool) -> None:
    """Put every service on a node, for good (``hold``) or so that it may move again when its dwell is over.

    Raises RuntimeError if the controller does not.
    """
    for service in bed.fabric.services:
        await ask(bed.controller().migrate, service, node, hold=True)
    if not hold:
        for service in bed.fabric.services:
            await ask(bed.controller().release, service)


async def ask(command: Callable[..., Any], service: str, *words: str, **options: bool) -> None:
    """Have the controller do something with a service. Raises RuntimeError."""
    try:
        await asyncio.to_thread(command, service, *words, **options)
    except RefusedError as error:
        raise RuntimeError(f"the controller refused to {command.__name__} {service}: {error}") from error
    except NoControllerError as error:
        raise RuntimeError(str(error)) from error
