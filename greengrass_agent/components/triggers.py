"""The process that takes the triggers of the node's services, and what it must know of them.

It is started once a service has some.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from greengrass_agent.config import AgentConfig
from greengrass_agent.host.processes import Subprocess
from greengrass_agent.triggers.settings import Held, Leave, Listening, Moved, Take, TriggerSettings
from hitless.component.service_configuration import ServiceConfiguration
from hitless.mqtt.messages import EndpointUpdate, MessageError, TriggerHolder

log = logging.getLogger(__name__)


class Triggers:
    """The triggers of a node. All methods belong to the event loop."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._taken: dict[str, Take] = {}
        self._holders: dict[str, TriggerHolder] = {}
        self._endpoints: dict[str, EndpointUpdate] = {}
        self._listening = False
        self._started = False
        self._process = Subprocess(
            "triggers",
            [sys.executable, "-m", "greengrass_agent.triggers"],
            first_commands=self._commands,
            on_line=lambda line: None,
            on_exit=lambda: None,
        )

    @property
    def pid(self) -> int | None:
        """Of the process; None while it does not run."""
        return self._process.pid

    def identities(self) -> list[Path]:
        """The folders of the certificates that it needs."""
        settings = self._settings()
        brokers = [settings.broker_for(service) for service, one in self._taken.items() if one.triggers]
        return [broker.tls for broker in brokers if broker.tls is not None]

    def take(self, configuration: ServiceConfiguration) -> None:
        """A service is here, with this configuration."""
        take = Take.of(configuration)
        if not take.triggers and take.service not in self._taken:
            return
        if self._taken.get(take.service) != take:
            self._taken[take.service] = take
            self._process.send(take)
        if not self._started:
            self._started = True
            self._process.start()

    def leave(self, service: str) -> None:
        """A service is here no longer."""
        if self._taken.pop(service, None) is not None:
            self._process.send(Leave(service=service))

    def listening(self) -> None:
        """The agent has a new session with the broker, in which holders and endpoints are told anew."""
        self._listening = True
        self._holders.clear()
        self._process.send(Listening())

    def held(self, service: str, payload: bytes) -> None:
        """A holder of a service's triggers says something."""
        try:
            holder = TriggerHolder.decode(payload)
        except MessageError as error:
            log.warning("triggers of %s: %s", service, error)
            return
        self._holders[service] = holder
        self._process.send(Held(service=service, holder=holder))

    def moved(self, service: str, payload: bytes) -> None:
        """The controller says where a service is called."""
        try:
            endpoint = EndpointUpdate.decode(payload)
        except MessageError as error:
            log.warning("endpoint of %s: %s", service, error)
            return
        if endpoint.newer_than(self._endpoints.get(service)):
            self._endpoints[service] = endpoint
            self._process.send(Moved(service=service, endpoint=endpoint))

    async def stop(self) -> None:
        """Leave all of them to other nodes."""
        await self._process.stop()

    def _settings(self) -> TriggerSettings:
        config = self._config
        return TriggerSettings(node=config.thing, broker=config.broker, identities=config.trigger_identities)

    def _commands(self) -> Iterator[BaseModel]:
        yield self._settings()
        yield from self._taken.values()
        yield from (Moved(service=name, endpoint=one) for name, one in self._endpoints.items())
        if self._listening:
            yield Listening()
        yield from (Held(service=name, holder=one) for name, one in self._holders.items())
