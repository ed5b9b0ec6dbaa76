"""The agent at the broker: what a node hears, and how it tells that it is there."""

from __future__ import annotations

from collections.abc import Callable

from hitless.mqtt import topics
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.messages import Message, Presence
from hitless.mqtt.session import Announcement, Publication, Session


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
        on_message: Callable[[str, bytes], None],
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
                topics.ENDPOINT.filter(),
                topics.TRIGGER_HOLDER.filter(),
            ),
            announcement=Announcement(topics.PRESENCE.of(node=node), presence(True), presence(False)),
            on_connected=on_connected,
            on_message=lambda topic, payload, _: on_message(topic, payload),
        )

    def publish(self, topic: str, message: Message, *, retain: bool = False) -> None:
        """Send at QoS 1; dropped without a session."""
        self._session.publish(Publication(topic, message.encode(), retain=retain))

    async def run(self) -> None:
        """Keep a session until cancelled; then say offline."""
        await self._session.run()
