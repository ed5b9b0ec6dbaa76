"""Shadows by the node's local topics: what changes is told there, and components may ask there too.

AWS IoT Greengrass, "Interact with device shadows". The topics are `$aws/things/{thing}/shadow[/name/{shadow}]/…`.
Who may publish and subscribe there, `accessControl` says of local topics.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Callable
from typing import Final, Protocol, cast

from greengrass_agent.ipc.operation import Json, Stream
from greengrass_agent.shadows.document import Key, Operation, ShadowError
from greengrass_agent.shadows.service import ShadowService, Side, Told

log = logging.getLogger(__name__)

ITSELF: Final = "aws.greengrass.ShadowManager"
"""Whom components know the node's shadow service as."""
_ALL: Final = "$aws/things/+/shadow/#"
_REQUEST = re.compile(r"\$aws/things/([^/]+)/shadow(?:/name/([^/]+))?/(get|update|delete)")


class Topics(Protocol):
    """What is needed of the node's local topics."""

    def tell(self, sender: str, topic: str, payload: bytes) -> None:
        """Publish as `sender`."""

    def hear(self, listener: str, topic: str, stream: Stream) -> None:
        """Have what others than `listener` publish sent to the stream."""


class LocalShadows:
    """The shadows of a node on its local topics. Implements operation.Stream."""

    def __init__(self, shadows: ShadowService, topics: Topics) -> None:
        self._shadows = shadows
        self._topics = topics
        self._tasks: set[asyncio.Task[None]] = set()
        shadows.listen(self._tell)
        topics.hear(ITSELF, _ALL, self)

    def send(self, event: Json) -> None:
        """Take what a component has published."""
        ((kind, message),) = event.items()
        found = _REQUEST.fullmatch(message["context"]["topic"])
        if found is None:
            return  # an answer, as a component may publish one, or nothing of a shadow
        thing, name, operation = found.groups(default="")
        content = message["message"]
        payload = base64.b64decode(content) if kind == "binaryMessage" else json.dumps(content).encode()
        task = asyncio.create_task(self._carry_out(cast(Operation, operation), Key(thing, name), payload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def closed(self, call: Callable[[], None]) -> None:
        """The service ends with the agent."""

    async def _carry_out(self, operation: Operation, key: Key, payload: bytes) -> None:
        try:
            await self._shadows.request(operation, key, payload, Side.NODE)
        except ShadowError as error:
            log.info("shadow %s: %s on a local topic refused: %s", key.name or "(classic)", operation, error)

    def _tell(self, told: Told) -> None:
        if told.side is not Side.NODE and not told.concerns_all:
            return
        key = told.key
        shadow = f"$aws/things/{key.thing}/shadow" + (f"/name/{key.name}" if key.name else "")
        self._topics.tell(ITSELF, f"{shadow}/{told.operation}/{told.kind}", told.payload)
