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
from paho.mqtt.reasoncodes import ReasonCode

from hitless.backoff import Backoff
from hitless.cancellation import until_one_ends
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.client import (
    ANSWER_S,
    CUT,
    Client,
    Kept,
    Publication,
    Subscription,
    check_granted,
    confirm,
    delivery_of,
    kept_options,
    options,
    publish,
)
from hitless.tls import Identity, TlsError, explained

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 5.0
SETTLED_S = LAST_RETRY_S
"""A session that ends sooner has not ended the trouble: two clients with one name take it from each other for ever."""
KEEPALIVE_S = 5
DISCONNECT_TIMEOUT_S = 0.5
"""How long the end of a session may take: the broker may be the reason for it."""

_QUIET = logging.getLogger(f"{__name__}.library")
_QUIET.setLevel(logging.CRITICAL)  # what paho has to say of a lost session, the session says better


class SessionError(Exception):
    """The broker has not taken a message or a subscription; the message says why."""


OnMessage = Callable[[str, bytes, bool], None]
"""Takes topic, payload, and whether the broker had kept the message for whoever subscribes."""


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
        on_lost: Callable[[], None] = lambda: None,
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
        self._more: dict[str, Subscription] = {}
        """Filters that were added later."""
        self._announcement = announcement
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._on_message = on_message
        self._limit = limit
        self._kept = kept
        self._client: Client | None = None
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

    async def deliver(self, publication: Publication) -> None:
        """Send a message, and wait until the broker has it (QoS 1) or it is on the way (QoS 0).

        It is not put behind what `publish` was given. Raises SessionError; the broker may then have it all the same.
        """
        client = self._connected_client()
        try:
            await (confirm if publication.qos else publish)(client, publication)
        except (TimeoutError, aiomqtt.MqttError, ValueError) as error:
            raise SessionError(self._describe(error)) from error

    async def add_subscription(self, topic_filter: str) -> None:
        """Hear this at QoS 1 too, in this session and in each later one; waits for the broker if there is a session.

        Raises SessionError where the broker refuses it or does not answer; then it is not subscribed to.
        """
        self._more[topic_filter] = Subscription(topic_filter, 1)
        if (client := self._client) is None:
            return
        try:
            async with asyncio.timeout(ANSWER_S):
                codes: Sequence[int | ReasonCode] = await client.subscribe([(topic_filter, 1)])
            check_granted(topic_filter, codes[0])
        except (TimeoutError, aiomqtt.MqttError, ValueError) as error:
            self._more.pop(topic_filter, None)
            raise SessionError(self._describe(error)) from error

    def drop_subscription(self, topic_filter: str) -> None:
        """Hear this no more, which was added."""
        if self._more.pop(topic_filter, None) is not None:
            leaving = asyncio.create_task(self.unsubscribe([topic_filter]))
            self._closing.add(leaving)
            leaving.add_done_callback(self._closing.discard)

    async def unsubscribe(self, topics: Sequence[str]) -> None:
        """Have nothing come of these filters any more, also in a session that the broker keeps."""
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
            self._client = client
            await self._subscribe(client)
            log.info("broker %s: connected", self.broker.place)
            self._outgoing = asyncio.Queue()
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
            lost = self._outgoing is not None
            self._outgoing = self._client = None
            if lost:
                self._call(self._on_lost)
            await _close(client)

    async def _open(self) -> Client:
        will = None
        if (announced := self._announcement) is not None:
            will = aiomqtt.Will(announced.topic, announced.will, qos=1, retain=True)
        client = Client(
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
            **(kept_options(self._kept) if self._kept is not None else {}),
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

    def _connected_client(self) -> Client:
        if self._client is None or self._outgoing is None:
            raise SessionError(f"no session with the broker: {self.error}")
        return self._client

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        wanted = [*self._subscriptions, *self._more.values()]
        if not wanted:
            return
        async with asyncio.timeout(ANSWER_S):
            asked: Any = [(one.topic, one.qos if self._kept is None else options(one)) for one in wanted]
            codes: Sequence[int | ReasonCode] = await client.subscribe(asked)
        for index, (one, code) in enumerate(zip(wanted, codes, strict=True)):
            try:
                check_granted(one.topic, code)
            except aiomqtt.MqttError as error:
                if index < len(self._subscriptions):
                    raise
                log.error("broker %s: %s", self.broker.place, error)

    async def _send(self, client: aiomqtt.Client, outgoing: asyncio.Queue[Publication]) -> None:
        while True:
            publication = await outgoing.get()
            await publish(client, publication)

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            data = payload if isinstance(payload, bytes) else str(payload or "").encode()
            if self._kept is None:
                self._call(self._on_message, message.topic.value, data, message.retain)
            else:
                self._call(self._kept.on_delivery, delivery_of(message, data))

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
                    await publish(client, Publication(announced.topic, announced.will, retain=True))


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
