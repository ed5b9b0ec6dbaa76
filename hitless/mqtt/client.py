"""One connection to the MQTT broker: messages as MQTT 5 and 3.1.1 have them, and what the library leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiomqtt
from paho.mqtt import properties as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

ANSWER_S = 10.0
"""How long the broker may take to answer."""
CUT = "connection closed before an answer"
Properties = tuple[tuple[str, str], ...]
"""User properties of MQTT 5, by name."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to publish."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    content_type: str | None = None
    """With `properties`, in a session that is kept, and for `Session.deliver` alone."""
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a session of MQTT 5 subscribes to."""

    topic: str
    qos: int
    kept_again: bool = True
    """Whether messages that the broker keeps on the topic come at each subscription, or at the first one alone."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as MQTT 5 has it."""

    topic: str
    payload: bytes
    retained: bool
    content_type: str | None
    properties: Properties
    number: int
    """By which it is acknowledged; 0 for one that is not (QoS 0)."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A session of MQTT 5 that the broker keeps between connections, for whoever comes next under its name.

    What comes is the broker's until `Session.acknowledge` says that it has been dealt with.
    """

    expires_s: int
    """How long the broker keeps it while nobody is connected."""
    in_flight: int
    """Messages of QoS 1 that wait to be acknowledged, at most."""
    on_delivery: Callable[[Delivery], None]


class Client(aiomqtt.Client):
    """What aiomqtt 2.5.1 leaves out: the loop is to watch a socket one round later, when the broker may have closed it,
    which makes a traceback; and a connection that ends before the broker has answered is waited for all the same."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._confirming: dict[int, asyncio.Future[ReasonCode]] = {}

    async def confirm(self, message: Publication) -> None:
        """Publish at QoS 1, and wait until the broker has taken it. Raises MqttError for one that it refuses (MQTT 5),
        which aiomqtt takes for published."""
        info = self._client.publish(message.topic, message.payload, 1, message.retain, _properties(message))
        if info.rc:
            raise aiomqtt.MqttError(f"not published: {info.rc.name}")
        answer = self._confirming[info.mid] = self._loop.create_future()
        try:
            code = await answer
        finally:
            del self._confirming[info.mid]
        if code.is_failure:
            raise aiomqtt.MqttError(f"not published: {code}")

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any) -> None:
        answer = self._confirming.get(mid)
        if answer is None:
            super()._on_publish(client, userdata, mid, reason_code, properties)
        elif not answer.done():
            answer.set_result(reason_code)

    def _on_disconnect(self, *arguments: Any, **options: Any) -> None:
        super()._on_disconnect(*arguments, **options)

        def tell() -> None:
            if not self._connected.done():
                self._connected.set_exception(aiomqtt.MqttError(CUT))
                self._connected.exception()  # nobody may be left to ask, of which asyncio would complain
            for answer in self._confirming.values():
                if not answer.done():
                    answer.set_exception(aiomqtt.MqttError(CUT))

        self._loop.call_soon_threadsafe(tell)

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        def write() -> None:
            try:
                client.loop_write()
            except Exception as error:  # as aiomqtt does: the connection has broken
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)

        def watch() -> None:
            if sock.fileno() >= 0:
                self._loop.add_writer(sock.fileno(), write)

        self._loop.call_soon_threadsafe(watch)


def kept_options(kept: Kept) -> dict[str, Any]:
    """What a client of such a session is made with."""
    properties = paho.Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = kept.expires_s
    properties.ReceiveMaximum = kept.in_flight
    return {"protocol": aiomqtt.ProtocolVersion.V5, "clean_start": False, "properties": properties}


def options(subscription: Subscription) -> SubscribeOptions:
    """A subscription as MQTT 5 has it."""
    handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
    if not subscription.kept_again:
        handling = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
    return SubscribeOptions(qos=subscription.qos, retainHandling=handling)


def _properties(message: Publication) -> paho.Properties | None:
    if message.content_type is None and not message.properties:
        return None
    properties = paho.Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if message.content_type is not None:
        properties.ContentType = message.content_type
    if message.properties:
        properties.UserProperty = list(message.properties)
    return properties


def delivery_of(message: aiomqtt.Message, payload: bytes) -> Delivery:
    """What has come."""
    properties = message.properties
    return Delivery(
        message.topic.value,
        payload,
        message.retain,
        getattr(properties, "ContentType", None),
        tuple((str(name), str(value)) for name, value in getattr(properties, "UserProperty", ())),
        message.mid if message.qos else 0,
    )


async def publish(client: aiomqtt.Client, message: Publication) -> None:
    """Send a message, and wait for the broker's answer if there will be one. Raises TimeoutError, MqttError."""
    async with asyncio.timeout(ANSWER_S):
        await client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)


async def confirm(client: Client, message: Publication) -> None:
    """The same at QoS 1, of a message that the broker may refuse."""
    async with asyncio.timeout(ANSWER_S):
        await client.confirm(message)


def check_granted(topic: str, code: int | ReasonCode) -> None:
    """Raises MqttError for a subscription that the broker has refused."""
    if isinstance(code, ReasonCode) and code.is_failure:
        raise aiomqtt.MqttError(f"no subscription to {topic}: {code}")
