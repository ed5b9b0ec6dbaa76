"""Local publish/subscribe: messages between the components of a node, which never leave it.

AWS IoT Greengrass, "Publish/subscribe local messages". A message goes to whoever has subscribed when it is published;
it is kept for nobody.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from hitless import topic_filters

SERVICE: Final = "aws.greengrass.ipc.pubsub"
ALL: Final = "RECEIVE_ALL_MESSAGES"
OTHERS: Final = "RECEIVE_MESSAGES_FROM_OTHERS"


@dataclass(eq=False, frozen=True, slots=True)
class _Subscriber:
    component: str
    topic: str
    mode: str
    stream: Stream

    def hears(self, sender: str, topic: str) -> bool:
        if self.mode == OTHERS and sender == self.component:
            return False
        return topic_filters.matches(self.topic, topic)


class LocalTopics:
    """The topics of a node."""

    def __init__(self) -> None:
        self._subscribers: dict[_Subscriber, None] = {}

    def operations(self) -> list[Operation]:
        """What components may ask for."""
        return [
            Operation("aws.greengrass#PublishToTopic", self._publish, resource=_topic, service=SERVICE),
            Operation(
                "aws.greengrass#SubscribeToTopic",
                self._subscribe,
                event="aws.greengrass#SubscriptionResponseMessage",
                resource=_topic,
                service=SERVICE,
            ),
        ]

    def tell(self, sender: str, topic: str, payload: bytes) -> None:
        """Publish for a part of the agent, whom components know as `sender`."""
        self._pass_on(
            sender, topic, _message(topic, {"binaryMessage": {"message": base64.b64encode(payload).decode()}})
        )

    def hear(self, listener: str, topic: str, stream: Stream) -> None:
        """Have a part of the agent, whom components know as `listener`, sent what others publish."""
        self._subscribers[_Subscriber(listener, topic, OTHERS, stream)] = None

    async def _publish(self, caller: Caller, request: Json, stream: Stream) -> Json:
        topic = _topic(request)
        if any(wildcard in topic for wildcard in "+#*"):
            raise IpcError("InvalidArgumentsError", f"topic {topic}: one that is published to has no wildcard")
        self._pass_on(caller.component, topic, _message(topic, request.get("publishMessage")))
        return {}

    def _pass_on(self, sender: str, topic: str, event: Json) -> None:
        for subscriber in list(self._subscribers):
            if subscriber.hears(sender, topic):
                subscriber.stream.send(event)

    async def _subscribe(self, caller: Caller, request: Json, stream: Stream) -> Json:
        topic = _topic(request)
        if (wrong := topic_filters.problem(topic)) is not None:
            raise IpcError("InvalidArgumentsError", f"topic {topic}: {wrong}")
        mode = request.get("receiveMode") or (OTHERS if topic_filters.is_wild(topic) else ALL)
        if mode not in (ALL, OTHERS):
            raise IpcError("InvalidArgumentsError", f"receiveMode {mode}: expected {ALL} or {OTHERS}")
        subscriber = _Subscriber(caller.component, topic, mode, stream)
        self._subscribers[subscriber] = None
        stream.closed(lambda: self._subscribers.pop(subscriber, None))
        return {}


def _topic(request: Json) -> str:
    topic = request.get("topic")
    if not isinstance(topic, str) or not topic:
        raise IpcError("InvalidArgumentsError", "expected a topic")
    return topic


def _message(topic: str, published: Any) -> Json:
    """The event that subscribers are sent. Raises IpcError."""
    found = published if isinstance(published, dict) else {}
    kinds = [kind for kind in ("jsonMessage", "binaryMessage") if isinstance(found.get(kind), dict)]
    if len(kinds) != 1 or "message" not in found[kinds[0]]:
        raise IpcError("InvalidArgumentsError", "publishMessage: expected either a jsonMessage or a binaryMessage")
    content = found[kinds[0]]["message"]
    if kinds[0] == "binaryMessage" and not _is_base64(content):
        raise IpcError("InvalidArgumentsError", "binaryMessage: expected its bytes as base64")
    return {kinds[0]: {"message": content, "context": {"topic": topic}}}


def _is_base64(content: Any) -> bool:
    try:
        base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError, TypeError):
        return False
    return True
