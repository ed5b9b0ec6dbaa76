"""The node's shadows at the broker: asked for by AWS IoT's topics, and told of there.

The node's document is the one that counts, and there is no other to merge it with. An update, from a component or from
the broker, is applied when it arrives, key by key, whatever its sender has seen; one with a version only to the
document of that version, or it is rejected (409) and changes nothing. So of two who change the same key, the later
wins, unless it has said by a version that it may not.

What cannot be told without a session is told at the next one: the newest `update/documents` of each shadow is retained
at the broker, and its version tells which is newer. An update that is retained waits there for a node that is away; if
the session ends while the node takes it, it is taken twice, unless it has a version.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import cast

from greengrass_agent.shadows.document import BAD_REQUEST, FAILED, TOO_MANY, Key, Operation, ShadowError, encode
from greengrass_agent.shadows.service import ShadowService, Side, Told
from hitless.mqtt.client import Publication
from hitless.mqtt.topics import CLASSIC_SHADOW, NAMED_SHADOWS

log = logging.getLogger(__name__)

_DESIRED = b'"desired"'
"""What no report of a component's state to the controller has."""


class BrokerShadows:
    """The shadows of a node's own thing. Those of others, which components may name, stay on the node."""

    def __init__(self, thing: str, shadows: ShadowService, publish: Callable[[Publication], object]) -> None:
        """`publish` drops what it cannot send."""
        self._thing = thing
        self._shadows = shadows
        self._publish = publish
        self._tasks: set[asyncio.Task[None]] = set()
        shadows.listen(self._tell)

    def connected(self) -> None:
        """A session has begun: state what holds."""
        now = {key: self._shadows.documents(key) for key in self._shadows.there()}
        now |= dict.fromkeys(self._shadows.deleted(), b"")
        for key, documents in now.items():
            if key.thing == self._thing and documents is not None:
                self._publish(Publication(_topic(key, "update", "documents"), documents, retain=True))

    def message(self, topic: str, payload: bytes, retained: bool) -> bool:
        """Take a request; False if the message is none."""
        found = _request(topic)
        if found is None:
            return False
        operation, key = found
        if operation == "update" and (not payload or (self._shadows.fabric_owns(key) and _DESIRED not in payload)):
            return True  # what was retained has been taken away; or the node's own word to the controller comes back
        if retained and operation != "update":
            again = ShadowError(BAD_REQUEST, f"a {operation} that is retained would be carried out at every connection")
            self._publish(Publication(_topic(key, operation, "rejected"), encode(again.document(int(time.time())))))
            return True
        task = asyncio.create_task(self._carry_out(operation, key, payload, topic if retained else None))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _carry_out(self, operation: Operation, key: Key, payload: bytes, retained: str | None) -> None:
        """`retained`: the topic at which the request waited."""
        try:
            await self._shadows.request(operation, key, payload, Side.BROKER)
        except ShadowError as error:
            # Who has asked is told; the log is for who looks for the reason here.
            log.info("shadow %s: %s from the broker refused: %s", key.name or "(classic)", operation, error)
            if error.code in (TOO_MANY, FAILED):
                return
        if retained is not None:
            self._publish(Publication(retained, b"", retain=True))

    def _tell(self, told: Told) -> None:
        if told.key.thing != self._thing or told.kind == "delta":
            return
        if told.side is not Side.BROKER and not told.concerns_all:
            return
        retain = told.kind == "documents"
        self._publish(Publication(_topic(told.key, told.operation, told.kind), told.payload, retain=retain))
        if told.operation == "delete" and told.kind == "accepted":
            self._publish(Publication(_topic(told.key, "update", "documents"), b"", retain=True))


def _topic(key: Key, operation: Operation, kind: str) -> str:
    if key.name:
        return NAMED_SHADOWS.answers[operation, kind].of(node=key.thing, component=key.name)
    return CLASSIC_SHADOW.answers[operation, kind].of(node=key.thing)


def _request(topic: str) -> tuple[Operation, Key] | None:
    for kind in (CLASSIC_SHADOW, NAMED_SHADOWS):
        for operation, family in kind.requests.items():
            if (levels := family.match(topic)) is not None:
                return cast(Operation, operation), Key(levels["node"], levels.get("component", ""))
    return None
