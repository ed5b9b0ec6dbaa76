"""Restarts that the controller asks for: each is carried out once, and its end is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from hitless.mqtt import topics
from hitless.mqtt.messages import Message, MessageError, Restart, RestartEnded

log = logging.getLogger(__name__)

REMEMBERED = 64
"""Restarts whose end is known, for messages that come twice."""


class Restarts:
    """The restarts of one node. `restart` launches a component anew and says why it could not."""

    def __init__(
        self,
        node: str,
        restart: Callable[[str], Awaitable[str | None]],
        publish: Callable[[str, Message], object],
    ) -> None:
        self._node = node
        self._restart = restart
        self._publish = publish
        self._under_way: dict[str, asyncio.Task[None]] = {}
        """By token."""
        self._ended: dict[str, RestartEnded] = {}

    def ask(self, component: str, payload: bytes) -> None:
        """Carry out a restart, unless that was done; told again, its end is told again."""
        try:
            token = Restart.decode(payload).client_token
        except MessageError as error:
            log.error("restart of %s refused: %s", component, error)
            return
        if token in self._ended:
            self._tell(component, self._ended[token])
        elif token not in self._under_way:
            self._under_way[token] = asyncio.create_task(self._carry_out(component, token))

    async def _carry_out(self, component: str, token: str) -> None:
        log.info("%s: restarted by the operator", component)
        try:
            reason = await self._restart(component)
        finally:
            del self._under_way[token]
        ended = RestartEnded(client_token=token, reason=reason)
        self._ended = dict([*self._ended.items(), (token, ended)][-REMEMBERED:])
        self._tell(component, ended)

    def _tell(self, component: str, ended: RestartEnded) -> None:
        self._publish(topics.RESTART_ENDED.of(node=self._node, component=component), ended)
