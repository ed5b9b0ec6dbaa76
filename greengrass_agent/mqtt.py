"""The agent at the broker: what a node hears, and how it tells that it is there."""

from __future__ import annotations

from collections.abc import Callable

from hitless.mqtt import topics
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.messages import Message, Presence
from hitless.mqtt.session import Announcement, OnMessage, Publication, Session


class Connection:
    """A node's session.

    `on_connected` states afresh all that holds, results of jobs that the controller has not confirmed among it;
    `on_lost` hears that a session has ended.
    """

    def __init__(
        self,
        node: str,
        broker: BrokerSettings,
        epoch: int,
        *,
        on_connected: Callable[[], None],
        on_lost: Callable[[], None],
        on_message: Callable[[str, bytes], None],
        on_other: OnMessage,
    ) -> None:
        """`epoch` is the agent's start counter, by which a late last will is told from a new one.

        `on_message` takes what the fabric says, `on_other` what comes of filters that were subscribed to later.
        """

        def take(topic: str, payload: bytes, retained: bool) -> None:
            if topic.startswith(topics.PREFIX):
                on_message(topic, payload)
            else:
                on_other(topic, payload, retained)

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
            ),
            announcement=Announcement(topics.PRESENCE.of(node=node), presence(True), presence(False)),
            on_connected=on_connected,
            on_lost=on_lost,
            on_message=take,
        )

    def publish(self, topic: str, message: Message, *, retain: bool = False) -> None:
        """Send at QoS 1; dropped without a session."""
        self._session.publish(Publication(topic, message.encode(), retain=retain))

    def sample(self, topic: str, message: Message) -> bool:
        """Send at QoS 0; False, and nothing is sent, without a session."""
        return self._session.publish(Publication(topic, message.encode(), qos=0))

    async def deliver(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        """Publish, and wait until the broker has it (QoS 1) or it is on the way (QoS 0). Raises SessionError."""
        await self._session.deliver(Publication(topic, payload, qos, retain))

    async def subscribe(self, topic_filter: str) -> None:
        """Hear this at QoS 1 too, in this session and in each later one. Raises SessionError if it is refused."""
        await self._session.subscribe(topic_filter)

    def unsubscribe(self, topic_filter: str) -> None:
        """Hear it no more."""
        self._session.unsubscribe(topic_filter)

    async def run(self) -> None:
        """Keep a session until cancelled; then say offline."""
        await self._session.run()
