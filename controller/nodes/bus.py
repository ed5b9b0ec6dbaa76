"""The controller's connection to the MQTT broker: reconnects for ever, and never ends anything else by failing."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiomqtt

from hitless.cancellation import until_one_ends

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 5.0
KEEPALIVE_S = 5
PUBLISH_TIMEOUT_S = 10.0
GOODBYE_S = 0.3


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker listens and who the controller is there."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to publish."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class Bus:
    """A session with the broker that comes back by itself.

    What is published while there is no session is dropped, not kept: messages state what is wanted now, so
    `on_connected` states it afresh, and a queue of old wishes could only undo newer ones.
    """

    def __init__(
        self,
        broker: Broker,
        subscriptions: Iterable[str],
        *,
        on_connected: Callable[[], None],
        on_message: Callable[[str, bytes, bool], None],
    ) -> None:
        """`on_message` takes topic, payload, and whether the broker had kept the message for whoever subscribes."""
        self.broker = broker
        self.error: str | None = "not connected yet"
        """Why there is no session; None while there is one."""
        self._subscriptions = [(topic, 1) for topic in subscriptions]
        self._on_connected = on_connected
        self._on_message = on_message
        self._outgoing: asyncio.Queue[Publication] | None = None

    @property
    def connected(self) -> bool:
        """Whether messages reach the broker now."""
        return self._outgoing is not None

    def publish(self, publication: Publication) -> bool:
        """Send a message; False (and nothing sent) without a session."""
        if self._outgoing is None:
            return False
        self._outgoing.put_nowait(publication)
        return True

    async def run(self) -> None:
        """Keep a session until cancelled."""
        retry = FIRST_RETRY_S
        while True:
            problem = "connection closed"
            try:
                async with self._connection() as client:
                    retry = FIRST_RETRY_S
                    await self._session(client)
            except aiomqtt.MqttError as error:
                problem = re.sub(r"^\[Errno \d+\] ", "", str(error))
            where = f"{self.broker.host}:{self.broker.port}"
            if self.error != problem:
                log.warning("broker %s: %s; trying again, switches and nodes go on without it", where, problem)
            self.error = problem
            await asyncio.sleep(retry)
            retry = min(2 * retry, LAST_RETRY_S)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiomqtt.Client]:
        client = aiomqtt.Client(
            self.broker.host,
            self.broker.port,
            username=self.broker.username,
            password=self.broker.password,
            keepalive=KEEPALIVE_S,
            timeout=PUBLISH_TIMEOUT_S,
        )
        await client.__aenter__()
        try:
            yield client
        finally:
            # aiomqtt waits a whole `timeout` for a broker that has just died to say goodbye.
            with suppress(TimeoutError, aiomqtt.MqttError):
                async with asyncio.timeout(GOODBYE_S):
                    await client.__aexit__(None, None, None)

    async def _session(self, client: aiomqtt.Client) -> None:
        if self._subscriptions:
            await client.subscribe(self._subscriptions)
        log.info("broker %s:%d: connected", self.broker.host, self.broker.port)
        self._outgoing = asyncio.Queue()
        self.error = None
        try:
            self._on_connected()
            await until_one_ends(self._send(client, self._outgoing), self._receive(client))
        finally:
            self._outgoing = None

    async def _send(self, client: aiomqtt.Client, outgoing: asyncio.Queue[Publication]) -> None:
        while True:
            message = await outgoing.get()
            await client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            data = payload if isinstance(payload, bytes) else str(payload or "").encode()
            try:
                self._on_message(message.topic.value, data, message.retain)
            except Exception:  # a message of another's making must not end the session
                log.exception("message on %s could not be handled", message.topic.value)
