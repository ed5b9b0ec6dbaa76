"""The triggers of a node's services: taken when no other node has them, left to others when the node's part is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from greengrass_agent.triggers.calling import Caller, Place
from greengrass_agent.triggers.holding import Holding, Record, hold
from greengrass_agent.triggers.settings import Command, Held, Leave, Listening, Moved, Take, TriggerSettings
from greengrass_agent.triggers.standby import Standby
from hitless.mqtt.messages import EndpointUpdate

log = logging.getLogger(__name__)


class Keeper:
    """All services of the node. Create it in a running event loop."""

    def __init__(self, settings: TriggerSettings, caller: Caller) -> None:
        self._settings = settings
        self._caller = caller
        self._services: dict[str, _Service] = {}
        self._standbys: dict[str, Standby] = {}
        """What is known of holders, by service."""
        self._listening = False
        self._endpoints: dict[str, EndpointUpdate] = {}

    async def obey(self, command: Command) -> None:
        """Carry out a command."""
        match command:
            case Take(service=name):
                before = self._services.pop(name, None)
                record = before.record if before is not None else Record()
                if before is not None:
                    if before.take == command:
                        self._services[name] = before
                        return
                    await before.end(forget=not command.triggers)
                if command.triggers:
                    standby = self._standby(name)
                    place = partial(self._place, command)
                    self._services[name] = _Service(self._settings, command, self._caller, record, standby, place)
            case Leave(service=name):
                if (gone := self._services.pop(name, None)) is not None:
                    await gone.end(forget=False)
            case Listening():
                self._listening = True
                for standby in self._standbys.values():
                    standby.listening(self._now())
                self._tell()
            case Held(service=name, holder=holder):
                self._standby(name).told(holder.online, self._now())
                self._tell()
            case Moved(service=name, endpoint=endpoint):
                if endpoint.newer_than(self._endpoints.get(name)):
                    self._endpoints[name] = endpoint
            case TriggerSettings():
                log.error("command refused: the node was told before")

    async def close(self) -> None:
        """Leave all triggers to others."""
        await asyncio.gather(*(one.end(forget=False) for one in self._services.values()))
        self._services.clear()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _standby(self, service: str) -> Standby:
        standby = self._standbys.get(service)
        if standby is None:
            standby = self._standbys[service] = Standby(self._settings.node, service)
            if self._listening:
                standby.listening(self._now())
        return standby

    def _tell(self) -> None:
        for one in self._services.values():
            one.news.set()

    def _place(self, take: Take) -> Place:
        moved = self._endpoints.get(take.service)
        address, port = (moved.address, moved.port) if moved is not None else (take.address, take.port)
        return Place(take.service_id, take.protocol, address, port, take.timeout_ms / 1000)


class _Service:
    """One service's triggers, held by this node or by another."""

    def __init__(
        self,
        settings: TriggerSettings,
        take: Take,
        caller: Caller,
        record: Record,
        standby: Standby,
        place: Callable[[], Place],
    ) -> None:
        self.take = take
        self.record = record
        self._settings = settings
        self._caller = caller
        self._place = place
        self._standby = standby
        self.news = asyncio.Event()
        """Set when the standby has heard something."""
        self._leave, self._forget = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._keep(), name=f"triggers of {take.service}")

    async def end(self, *, forget: bool) -> None:
        """Leave the triggers to others, or have nothing kept of them."""
        (self._forget if forget else self._leave).set()
        self.news.set()
        await asyncio.wait([self._task])

    async def _keep(self) -> None:
        now, said = asyncio.get_running_loop().time, ""
        while not (self._leave.is_set() or self._forget.is_set()):
            due = self._standby.due
            if due is None or due > now():
                self.news.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self.news.wait()
                continue
            broker = self._settings.broker_for(self.take.service)
            holding = Holding(self._settings.node, broker, self.take, self._place, self._caller, self.record)
            reason, held = await hold(holding, self._leave, self._forget)
            if held or reason != said:
                what = "no longer" if held else "not yet"
                log.warning("%s: its triggers are %s taken here: %s", self.take.service, what, reason)
            said = "" if held else reason
            self._standby.lost(now(), held=held)
