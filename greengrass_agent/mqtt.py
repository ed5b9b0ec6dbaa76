"""The agent at the broker: what a node hears, how it tells that it is there, and what its components say and hear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hitless.mqtt import topics
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.identities import components_identity
from hitless.mqtt.messages import Message, Presence
from hitless.mqtt.session import Announcement, OnMessage, Publication, Session, SessionError


class Connection:
    """A node's session.

    `on_connected` states afresh all that holds, results of jobs that the controller has not confirmed among it.
    """

    def __init__(
        self,
        node: str,
        broker: BrokerSettings,
        epoch: int,
        *,
        on_connected: Callable[[], None],
        on_message: OnMessage,
    ) -> None:
        """`epoch` is the agent's start counter, by which a late last will is told from a new one."""

        def presence(online: bool) -> bytes:
            return Presence(online=online, epoch=epoch).encode()

        self._session = Session(
            broker,
            without_broker="functions go on without it",
            identifier=node,
            subscriptions=(
                topics.JOBS_NOTIFY_NEXT.of(node=node),
                topics.JOBS_START_NEXT_ACCEPTED.of(node=node),
                topics.JOB_UPDATE_ACCEPTED.filter(node=node),
                topics.SHADOW_UPDATE_DELTA.filter(node=node),
                topics.RESTART.filter(node=node),
                *(shadow.filter(node=node) for shadow in topics.SHADOW_REQUESTS),
            ),
            announcement=Announcement(topics.PRESENCE.of(node=node), presence(True), presence(False)),
            on_connected=on_connected,
            on_message=on_message,
        )

    def publish(self, topic: str, message: Message, *, retain: bool = False) -> None:
        """Send at QoS 1; dropped without a session."""
        self.send(Publication(topic, message.encode(), retain=retain))

    def send(self, publication: Publication) -> None:
        """Send what is no message of the fabric's own; dropped without a session."""
        self._session.publish(publication)

    def sample(self, topic: str, message: Message) -> bool:
        """Send at QoS 0; False, and nothing is sent, without a session."""
        return self._session.publish(Publication(topic, message.encode(), qos=0))

    async def run(self) -> None:
        """Keep a session until cancelled; then say offline."""
        await self._session.run()


class ComponentSession:
    """The session of a node's components, who share one. It is not the agent's, whose topics are not for them."""

    def __init__(self, node: str, broker: BrokerSettings | None) -> None:
        """`broker` is None where components may not reach it."""
        self.on_message: OnMessage = lambda topic, payload, retained: None
        """Takes what comes of all filters."""
        self.on_status: Callable[[bool], None] = lambda connected: None
        """Hears that there is a session, or none any more."""
        self._session: Session | None = None
        if broker is not None:
            self._session = Session(
                broker,
                without_broker="components are told that they cannot publish",
                identifier=components_identity(node),
                on_connected=lambda: self.on_status(True),
                on_lost=lambda: self.on_status(False),
                on_message=self._take,
            )

    async def deliver(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        """Publish, and wait until the broker has it (QoS 1) or it is on the way (QoS 0). Raises SessionError."""
        await self._there().deliver(Publication(topic, payload, qos, retain))

    async def subscribe(self, topic_filter: str) -> None:
        """Hear this at QoS 1 too, in this session and in each later one. Raises SessionError if it is refused."""
        await self._there().add_subscription(topic_filter)

    def unsubscribe(self, topic_filter: str) -> None:
        """Hear it no more."""
        self._there().drop_subscription(topic_filter)

    async def run(self) -> None:
        """Keep a session until cancelled."""
        if self._session is None:
            await asyncio.Event().wait()
        else:
            await self._session.run()

    def _take(self, topic: str, payload: bytes, retained: bool) -> None:
        self.on_message(topic, payload, retained)

    def _there(self) -> Session:
        if self._session is None:
            raise SessionError("this node's components may not speak to the broker (component_broker is not set)")
        return self._session
