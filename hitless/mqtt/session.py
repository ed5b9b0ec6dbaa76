"""A session with the MQTT broker that comes back by itself, and that never ends anything else by failing."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import aiomqtt
from paho.mqtt import properties as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from hitless.backoff import Backoff
from hitless.cancellation import until_one_ends
from hitless.mqtt.broker import BrokerSettings
from hitless.tls import Identity, TlsError, explained

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 5.0
SETTLED_S = LAST_RETRY_S
"""A session that ends sooner has not ended the trouble: two clients with one name take it from each other for ever."""
KEEPALIVE_S = 5
ANSWER_S = 10.0
"""How long the broker may take to answer."""
DISCONNECT_TIMEOUT_S = 0.5
"""How long the end of a session may take: the broker may be the reason for it."""
CUT = "connection closed before an answer"

_QUIET = logging.getLogger(f"{__name__}.library")
_QUIET.setLevel(logging.CRITICAL)  # what paho has to say of a lost session, the session says better

OnMessage = Callable[[str, bytes, bool], None]
"""Takes topic, payload, and whether the broker had kept the message for whoever subscribes."""
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
    """With `properties`, for `Session.confirm` alone."""
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


@dataclass(frozen=True, slots=True)
class Announcement:
    """Presence, retained at the broker: `birth` from the start of a session, `will` from its end, however it ends."""

    topic: str
    birth: bytes
    will: bytes


class Session:
    """One client's session, again and again.

    What is published while there is no session is dropped, not kept: messages state what is wanted now, so
    `on_connected` states it afresh, and a queue of old wishes could only undo newer ones.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        *,
        without_broker: str,
        identifier: str | None = None,
        subscriptions: Sequence[str | Subscription] = (),
        announcement: Announcement | None = None,
        on_connected: Callable[[], None] = lambda: None,
        on_message: OnMessage = lambda topic, payload, retained: None,
        limit: int = 0,
        kept: Kept | None = None,
    ) -> None:
        """`without_broker` says for the log what goes on without the broker.

        `identifier` is the client's name, by which a new session takes the place of an old one; None has one made up.
        All `subscriptions` are of QoS 1 and made at once, in this order. A handler that fails is logged and ends
        nothing.
        So many publications as `limit` wait to be sent, and one more pushes the oldest out; 0 is no limit.
        `kept` has MQTT 5 spoken, and takes the place of `on_message`; without it, MQTT 3.1.1 is.
        """
        self.broker = broker
        self.error: str | None = "not connected yet"
        """Why there is no session; None while there is one."""
        self._without_broker = without_broker
        self._identifier = identifier
        self._subscriptions = [one if isinstance(one, Subscription) else Subscription(one, 1) for one in subscriptions]
        self._announcement = announcement
        self._on_connected = on_connected
        self._on_message = on_message
        self._limit = limit
        self._kept = kept
        self._client: _Client | None = None
        self._outgoing: asyncio.Queue[Publication] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether messages reach the broker now."""
        return self._outgoing is not None

    def publish(self, publication: Publication) -> bool:
        """Send a message; False (and nothing sent) without a session."""
        if self._outgoing is None:
            return False
        if self._limit and self._outgoing.qsize() >= self._limit:
            self._outgoing.get_nowait()
        self._outgoing.put_nowait(publication)
        return True

    async def confirm(self, publication: Publication) -> bool:
        """Send a message at QoS 1, and wait for the broker; False unless it has taken it."""
        if self._client is None:
            return False
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._client.confirm(publication)
        except (aiomqtt.MqttError, TimeoutError, ValueError) as error:
            log.warning("broker %s: %s: %s", self.broker.place, publication.topic, _describe_error(error))
            return False
        return True

    async def unsubscribe(self, topics: Sequence[str]) -> None:
        """Have nothing come of these topics any more, in a session that the broker keeps."""
        if self._client is not None and topics:
            with suppress(aiomqtt.MqttError, TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    await self._client.unsubscribe(list(topics))

    def acknowledge(self, number: int) -> None:
        """Tell the broker that a delivery has been dealt with; without the session that it came in, nothing is told.

        MQTT wants this in the order in which they came (MQTT 5, 4.6).
        """
        if self._client is not None:
            self._client._client.ack(number, 1)

    async def run(self) -> NoReturn:
        """Keep a session until cancelled; then take leave, which takes `DISCONNECT_TIMEOUT_S` at most."""
        backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            problem = await self.once()
            if self.error != problem:
                log.warning("broker %s: %s; trying again, %s", self.broker.place, problem, self._without_broker)
            self.error = problem
            if now() - began > SETTLED_S:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def once(self) -> str:
        """Keep one session until it is lost, or does not come about; returns why. Cancelled, it takes leave."""
        try:
            await self._serve()
        except (aiomqtt.MqttError, OSError, ValueError, TlsError) as error:
            # paho raises the first three for a place it dislikes.
            return self._describe(error)

    def _describe(self, error: Exception) -> str:
        """An error as a person wants to read it. A broker that refuses a certificate closes, and says no more."""
        problem = _describe_error(error)
        if self.broker.tls is None or problem != CUT:
            return problem
        try:
            own = Identity(self.broker.tls).certificate()
        except TlsError as unreadable:
            return str(unreadable)
        reason = own.problem(time.time()) or "is of none of its authorities, or out of its time by the broker's clock"
        return f"{problem}: the certificate of {own.name} {reason}"

    async def _serve(self) -> NoReturn:
        """One session, to its end by an exception."""
        client = await self._open()
        try:
            await self._subscribe(client)
            log.info("broker %s: connected", self.broker.place)
            self._outgoing, self._client = asyncio.Queue(), client
            self.error = None
            if (announced := self._announcement) is not None:
                self._outgoing.put_nowait(Publication(announced.topic, announced.birth, retain=True))
            self._call(self._on_connected)
            await until_one_ends(self._send(client, self._outgoing), self._receive(client))
            raise aiomqtt.MqttError("connection closed")
        except asyncio.CancelledError:
            await self._announce_end(client)
            raise
        finally:
            self._outgoing = self._client = None
            await _close(client)

    async def _open(self) -> _Client:
        will = None
        if (announced := self._announcement) is not None:
            will = aiomqtt.Will(announced.topic, announced.will, qos=1, retain=True)
        client = _Client(
            self.broker.host,
            self.broker.port,
            username=self.broker.username,
            password=self.broker.password,
            identifier=self._identifier,
            tls_context=Identity(self.broker.tls).client() if self.broker.tls is not None else None,
            will=will,
            keepalive=KEEPALIVE_S,
            # Without a timeout of its own, aiomqtt does not use wait_for, which loses cancellations (CPython 86296).
            timeout=math.inf,
            logger=_QUIET,
            **(_kept_options(self._kept) if self._kept is not None else {}),
        )
        if self._kept is not None:
            client._client.manual_ack_set(True)
        opening = asyncio.create_task(client.__aenter__())
        try:
            async with asyncio.timeout(ANSWER_S):
                await asyncio.shield(opening)
        except BaseException:
            # aiomqtt would leave open what nobody waits for any more.
            if not (opening.done() and not opening.cancelled() and opening.exception()):
                closing = asyncio.create_task(_close_once_open(opening, client))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
            raise
        return client

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        if not self._subscriptions:
            return
        async with asyncio.timeout(ANSWER_S):
            asked: Any = [(one.topic, one.qos if self._kept is None else _options(one)) for one in self._subscriptions]
            codes: Sequence[int | ReasonCode] = await client.subscribe(asked)
        for one, code in zip(self._subscriptions, codes, strict=True):
            if isinstance(code, ReasonCode) and code.is_failure:
                raise aiomqtt.MqttError(f"no subscription to {one.topic}: {code}")

    async def _send(self, client: aiomqtt.Client, outgoing: asyncio.Queue[Publication]) -> None:
        while True:
            await _publish(client, await outgoing.get())

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            data = payload if isinstance(payload, bytes) else str(payload or "").encode()
            if self._kept is None:
                self._call(self._on_message, message.topic.value, data, message.retain)
            else:
                self._call(self._kept.on_delivery, _delivery(message, data))

    def _call(self, handle: Callable[..., None], *arguments: object) -> None:
        try:
            handle(*arguments)
        except Exception:  # whatever it is, it must not end the session
            log.exception("what came of the broker %s could not be handled", self.broker.place)

    async def _announce_end(self, client: aiomqtt.Client) -> None:
        """The last will is for a session that is lost, not for one that ends."""
        if (announced := self._announcement) is not None:
            with suppress(TimeoutError, aiomqtt.MqttError):
                async with asyncio.timeout(DISCONNECT_TIMEOUT_S / 2):
                    await _publish(client, Publication(announced.topic, announced.will, retain=True))


class _Client(aiomqtt.Client):
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


def _kept_options(kept: Kept) -> dict[str, Any]:
    properties = paho.Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = kept.expires_s
    properties.ReceiveMaximum = kept.in_flight
    return {"protocol": aiomqtt.ProtocolVersion.V5, "clean_start": False, "properties": properties}


def _options(subscription: Subscription) -> SubscribeOptions:
    handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
    if not subscription.kept_again:
        handling = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
    return SubscribeOptions(qos=subscription.qos, retainHandling=handling)


def _properties(message: Publication) -> paho.Properties:
    properties = paho.Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if message.content_type is not None:
        properties.ContentType = message.content_type
    if message.properties:
        properties.UserProperty = list(message.properties)
    return properties


def _delivery(message: aiomqtt.Message, payload: bytes) -> Delivery:
    properties = message.properties
    return Delivery(
        message.topic.value,
        payload,
        message.retain,
        getattr(properties, "ContentType", None),
        tuple((str(name), str(value)) for name, value in getattr(properties, "UserProperty", ())),
        message.mid if message.qos else 0,
    )


async def _publish(client: aiomqtt.Client, message: Publication) -> None:
    async with asyncio.timeout(ANSWER_S):
        await client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)


async def _close(client: aiomqtt.Client) -> None:
    """Disconnect, without waiting long for a broker that may have died."""
    with suppress(TimeoutError, aiomqtt.MqttError):
        async with asyncio.timeout(DISCONNECT_TIMEOUT_S / 2):
            await client.__aexit__(None, None, None)
            # Ends by the error that the session was lost with: asyncio complains of one that nobody has asked for.
            async for _ in client.messages:
                pass


async def _close_once_open(opening: asyncio.Task[aiomqtt.Client], client: aiomqtt.Client) -> None:
    with suppress(aiomqtt.MqttError, OSError, ValueError, asyncio.CancelledError):
        async with asyncio.timeout(ANSWER_S):
            await opening
    await _close(client)


def _describe_error(error: Exception) -> str:
    """An error as a person wants to read it."""
    if isinstance(refused := error.__context__, ssl.SSLError):  # which aiomqtt hides, as the cause of its own
        return explained(refused, time.time())
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_S:g} s"
    lost = error.__cause__
    if isinstance(error, aiomqtt.MqttCodeError) and isinstance(error.rc, ReasonCode):
        return f"connection refused: {error.rc}"
    if isinstance(lost, aiomqtt.MqttCodeError) and str(lost.rc) != "Unspecified error":
        return f"connection lost: {lost.rc}"
    if isinstance(error, aiomqtt.MqttCodeError) or lost is not None:  # also of a socket that has gone meanwhile
        return "connection lost"
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
