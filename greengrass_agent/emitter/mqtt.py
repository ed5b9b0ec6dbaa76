"""The numbers of each report over MQTT, for a controller that decides where no switch can."""

from __future__ import annotations

import logging
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from greengrass_agent.settings import BrokerSettings
from hitless.mqtt import topics
from hitless.mqtt.messages import Metrics
from hitless.wire.report import Report

log = logging.getLogger(__name__)

KEEPALIVE_S = 5
PATIENCE_S = 0.05
"""How long publications may wait for the connection before newer ones are dropped."""


class MetricPublisher:
    """Publishes at QoS 0 from a thread of its own; without a connection, or with one that is stuck, numbers are lost.

    Old numbers are worth nothing: none is ever kept for later.
    """

    def __init__(self, node: str, broker: BrokerSettings) -> None:
        self._node = node
        self._topics: dict[str, str] = {}
        self._clear_at = time.monotonic()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{node}-emitter")
        if broker.username is not None:
            self._client.username_pw_set(broker.username, broker.password)
        self._client.reconnect_delay_set(1, 5)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.connect_async(broker.host, broker.port, KEEPALIVE_S)
        self._client.loop_start()

    def publish(self, service: str, report: Report) -> None:
        """Publish the numbers of a report, or drop them."""
        if not self._client.is_connected() or self._stuck():
            return
        topic = self._topics.get(service)
        if topic is None:
            topic = self._topics[service] = topics.METRICS.of(node=self._node, service=service)
        self._client.publish(topic, Metrics.of(report).encode(), qos=0)

    def _stuck(self) -> bool:
        """Whether what was published has waited too long; what another instance just published waits a moment too."""
        now = time.monotonic()
        if not self._client.want_write():
            self._clear_at = now
        return now - self._clear_at > PATIENCE_S

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            log.error("broker refuses the emitter: %s", reason)
        else:
            log.info("metrics go to the broker")

    def _disconnected(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        log.warning("connection to the broker lost (%s): reports go on, metrics wait", reason)
