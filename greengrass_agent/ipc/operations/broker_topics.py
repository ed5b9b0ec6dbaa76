"""Publish/subscribe by the fabric's broker, which stands where AWS IoT Core does for Greengrass.

AWS IoT Greengrass, "Publish/subscribe AWS IoT Core MQTT messages". All components of a node share one session.
The fabric's own topics are not for them: they can neither publish to them nor hear them. `$` begins what a broker says
of itself, and AWS's own topics, of which there are none here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final, Protocol

from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from hitless import topic_filters
from hitless.mqtt.session import OnMessage, SessionError
from hitless.mqtt.topics import PREFIX

SERVICE: Final = "aws.greengrass.ipc.mqttproxy"
UNDER_WAY: Final = 256
"""Publications of all components that wait for the broker at a time."""
_FIVE: Final = (
    *("userProperties", "messageExpiryIntervalSeconds", "correlationData"),
    *("responseTopic", "payloadFormat", "contentType"),
)
"""What only MQTT 5 has."""


class Broker(Protocol):
    """What is needed of the session with the broker."""

    on_message: OnMessage
    """Takes what comes."""

    async def deliver(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        """Publish, and wait until the broker has it (QoS 1) or it is on the way (QoS 0). Raises SessionError."""

    async def subscribe(self, topic_filter: str) -> None:
        """Hear this at QoS 1 too, in this session and in each later one. Raises SessionError if it is refused."""

    def unsubscribe(self, topic_filter: str) -> None:
        """Hear it no more."""


@dataclass(eq=False, frozen=True, slots=True)
class _Subscriber:
    topic: str
    stream: Stream


class BrokerTopics:
    """The broker's topics as a node's components have them."""

    def __init__(self, broker: Broker) -> None:
        broker.on_message = self._arrived
        self._broker = broker
        self._subscribers: dict[_Subscriber, None] = {}
        self._made: set[str] = set()
        """Filters that the broker knows of; none is covered by another, or it would send messages twice."""
        self._changing = asyncio.Lock()
        """Filters are subscribed to one after the other, so that `_made` is what the broker knows."""
        self._publishing = 0

    def operations(self) -> list[Operation]:
        """What components may ask for."""
        return [
            Operation("aws.greengrass#PublishToIoTCore", self._publish, resource=_topic, service=SERVICE),
            Operation(
                "aws.greengrass#SubscribeToIoTCore",
                self._subscribe,
                event="aws.greengrass#IoTCoreMessage",
                resource=_topic,
                service=SERVICE,
            ),
        ]

    def _arrived(self, topic: str, payload: bytes, retained: bool) -> None:
        """Pass on what the broker has sent."""
        if topic.startswith(PREFIX):
            return
        message = {"topicName": topic, "payload": base64.b64encode(payload).decode(), "retain": retained}
        for subscriber in list(self._subscribers):
            if topic_filters.matches(subscriber.topic, topic):
                subscriber.stream.send({"message": message})

    async def _publish(self, caller: Caller, request: Json, stream: Stream) -> Json:
        topic, payload, qos = _topic(request), _payload(request), _qos(request)
        if "+" in topic or "#" in topic:
            raise IpcError("InvalidArgumentsError", f"topic {topic}: one that is published to has no wildcard")
        if five := [name for name in _FIVE if request.get(name) is not None]:
            raise IpcError("InvalidArgumentsError", f"{', '.join(five)}: the broker is spoken to by MQTT 3.1.1")
        if self._publishing >= UNDER_WAY:
            raise IpcError("ServiceError", f"{UNDER_WAY} publications wait for the broker already")
        self._publishing += 1
        try:
            await self._broker.deliver(topic, payload, qos=qos, retain=request.get("retain") is True)
        except SessionError as error:
            raise IpcError("ServiceError", f"topic {topic}: {error}") from error
        finally:
            self._publishing -= 1
        return {}

    async def _subscribe(self, caller: Caller, request: Json, stream: Stream) -> Json:
        topic = _topic(request)
        _qos(request)
        subscriber = _Subscriber(topic, stream)
        # Before the broker is asked: what it has kept comes at once.
        self._subscribers[subscriber] = None
        try:
            async with self._changing:
                await self._hear(topic)
        except SessionError as error:
            self._leave(subscriber)
            raise IpcError("ServiceError", f"topic {topic}: {error}") from error
        stream.closed(lambda: self._leave(subscriber))
        return {}

    async def _hear(self, topic: str) -> None:
        if any(topic_filters.covers(one, topic) for one in self._made):
            return
        await self._broker.subscribe(topic)
        for narrow in [one for one in self._made if topic_filters.covers(topic, one)]:
            self._drop(narrow)
        self._made.add(topic)

    def _leave(self, subscriber: _Subscriber) -> None:
        self._subscribers.pop(subscriber, None)
        wanted = {one.topic for one in self._subscribers}
        # A wide filter stays for what it covers: there would be a moment without either.
        for made in [one for one in self._made if not any(topic_filters.covers(one, topic) for topic in wanted)]:
            self._drop(made)

    def _drop(self, topic: str) -> None:
        self._made.discard(topic)
        self._broker.unsubscribe(topic)


def _topic(request: Json) -> str:
    """The topic or filter of a request. Raises IpcError for one that is not for components."""
    topic = request.get("topicName")
    if not isinstance(topic, str):
        raise IpcError("InvalidArgumentsError", "expected a topicName")
    if (wrong := topic_filters.problem(topic)) is not None:
        raise IpcError("InvalidArgumentsError", f"topicName {topic}: {wrong}")
    if topic.startswith("$"):
        text = "expected one without $: AWS's topics are not here, and the broker's own are not for components"
        raise IpcError("InvalidArgumentsError", f"topicName {topic}: {text}")
    if topic.startswith(PREFIX):
        raise IpcError("UnauthorizedError", f"topicName {topic}: what begins with {PREFIX} is the fabric's own")
    return topic


def _payload(request: Json) -> bytes:
    try:
        return base64.b64decode(request.get("payload") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise IpcError("InvalidArgumentsError", "payload: expected its bytes as base64") from None


def _qos(request: Json) -> int:
    """The QoS that is asked for; 1 where nothing is said, as on Greengrass."""
    wanted: Any = request.get("qos")
    if wanted is None:
        return 1
    if str(wanted) not in ("0", "1"):
        raise IpcError("InvalidArgumentsError", f"qos {wanted}: expected 0 or 1")
    return int(wanted)
