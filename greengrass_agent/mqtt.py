"""The agent's connection to the broker: comes back by itself, and tells by its last will when it is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import aiomqtt

from greengrass_agent.settings import BrokerSettings
from hitless.cancellation import until_one_ends
from hitless.mqtt import topics
from hitless.mqtt.messages import Message, Presence

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 5.0
KEEPALIVE_S = 5
TIMEOUT_S = 10.0
GOODBYE_S = 0.5


class Connection:
    """A session with the broker.

    What is published without one is dropped: `on_connected` states afresh all that holds, and a job's result is told
    again when the controller names the job again.
    """

    def __init__(
        self,
        node: str,
        broker: BrokerSettings,
        epoch: int,
        *,
        on_connected: Callable[[], None],
        on_message: Callable[[str, bytes], None],
    ) -> None:
        """`epoch` is the agent's start counter, by which a late last will is told from a new one."""
        self._node = node
        self._broker = broker
        self._epoch = epoch
        self._on_connected = on_connected
        self._on_message = on_message
        self._outgoing: asyncio.Queue[tuple[str, Message, bool]] | None = None
        self._problem = ""

    def publish(self, topic: str, message: Message, *, retain: bool = False) -> None:
        """Send at QoS 1; dropped without a session."""
        if self._outgoing is not None:
            self._outgoing.put_nowait((topic, message, retain))

    async def run(self) -> None:
        """Keep a session until cancelled; then say offline."""
        retry = FIRST_RETRY_S
        while True:
            try:
                async with self._connection() as client:
                    retry = FIRST_RETRY_S
                    await self._session(client)
            except aiomqtt.MqttError as error:
                problem = str(error)
                if problem != self._problem:
                    where = f"{self._broker.host}:{self._broker.port}"
                    log.warning("broker %s: %s; trying again, functions go on without it", where, problem)
                self._problem = problem
            await asyncio.sleep(retry)
            retry = min(2 * retry, LAST_RETRY_S)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiomqtt.Client]:
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            identifier=self._node,
            username=self._broker.username,
            password=self._broker.password,
            keepalive=KEEPALIVE_S,
            timeout=TIMEOUT_S,
            will=aiomqtt.Will(self._presence_topic, self._presence(False).encode(), qos=1, retain=True),
        )
        await client.__aenter__()
        try:
            yield client
        finally:
            # aiomqtt waits a whole `timeout` for a broker that has just died to take our leave.
            with suppress(TimeoutError, aiomqtt.MqttError):
                async with asyncio.timeout(GOODBYE_S):
                    await client.__aexit__(None, None, None)

    async def _session(self, client: aiomqtt.Client) -> None:
        await client.subscribe([(topic, 1) for topic in self._subscriptions()])
        log.info("broker %s:%d: connected", self._broker.host, self._broker.port)
        self._problem = ""
        self._outgoing = asyncio.Queue()
        try:
            self.publish(self._presence_topic, self._presence(True), retain=True)
            self._on_connected()
            await until_one_ends(self._send(client, self._outgoing), self._receive(client))
        except asyncio.CancelledError:
            with suppress(TimeoutError, aiomqtt.MqttError):
                async with asyncio.timeout(GOODBYE_S):
                    offline = self._presence(False).encode()
                    await client.publish(self._presence_topic, offline, qos=1, retain=True)
            raise
        finally:
            self._outgoing = None

    def _subscriptions(self) -> Sequence[str]:
        node = self._node
        return (
            topics.JOBS_NOTIFY_NEXT.of(node=node),
            topics.JOBS_START_NEXT_ACCEPTED.of(node=node),
            topics.SHADOW_UPDATE_DELTA.filter(node=node),
        )

    @property
    def _presence_topic(self) -> str:
        return topics.PRESENCE.of(node=self._node)

    def _presence(self, online: bool) -> Presence:
        return Presence(online=online, epoch=self._epoch)

    async def _send(self, client: aiomqtt.Client, outgoing: asyncio.Queue[tuple[str, Message, bool]]) -> None:
        while True:
            topic, message, retain = await outgoing.get()
            await client.publish(topic, message.encode(), qos=1, retain=retain)

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            data = payload if isinstance(payload, bytes) else str(payload or "").encode()
            try:
                self._on_message(message.topic.value, data)
            except Exception:  # a message of another's making must not end the session
                log.exception("message on %s could not be handled", message.topic.value)
