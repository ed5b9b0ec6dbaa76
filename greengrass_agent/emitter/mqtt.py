"""The numbers of each report over MQTT, for a controller that decides where no switch can."""

from __future__ import annotations

from hitless.mqtt import topics
from hitless.mqtt.background import BackgroundSession
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.client import Publication
from hitless.mqtt.messages import Metrics
from hitless.mqtt.session import Session
from hitless.wire.report import Report

LIMIT = 16
"""Publications that wait for a connection that is stuck."""


class MetricPublisher:
    """Publishes at QoS 0; without a session, or behind one that is stuck, numbers are lost.

    Old numbers are worth nothing: none is kept for later, and a newer one pushes those that wait out.
    """

    def __init__(self, node: str, broker: BrokerSettings) -> None:
        self._node = node
        self._topics: dict[str, str] = {}
        session = Session(
            broker, without_broker="reports go on, metrics are dropped", identifier=f"{node}-emitter", limit=LIMIT
        )
        self._session = BackgroundSession(session)

    def publish(self, service: str, report: Report) -> None:
        """Publish the numbers of a report, or drop them."""
        if not self._session.connected:
            return
        topic = self._topics.get(service)
        if topic is None:
            topic = self._topics[service] = topics.METRICS.of(node=self._node, service=service)
        self._session.publish(Publication(topic, Metrics.of(report).encode(), qos=0))

    def close(self) -> None:
        """End the session."""
        self._session.close()
