"""Learning endpoints from the controller over MQTT, and acknowledging them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import aiomqtt

from hitless.cancellation import raise_if_cancelled
from hitless.client.endpoints import Endpoints
from hitless.mqtt.messages import EndpointAck, EndpointUpdate, MessageError
from hitless.mqtt.topics import CLIENT_ACK, ENDPOINT

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Broker:
    """The MQTT broker and this client's credentials there."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)


ChangeHandler = Callable[[str, EndpointUpdate], None]


async def follow_endpoints(
    endpoints: Endpoints, broker: Broker, *, on_change: ChangeHandler | None = None, reconnect_after: float = 1.0
) -> NoReturn:
    """Keep `endpoints` as the controller publishes them, until cancelled.

    An update is in force before it is acknowledged; an old or repeated one is acknowledged with what is in force. The
    client's id in the acknowledgement's topic is its user name at the broker. Losing the broker changes no endpoint.
    `on_change` is called with each update that is taken.
    """
    while True:
        try:
            async with aiomqtt.Client(
                broker.host,
                broker.port,
                username=broker.username,
                password=broker.password,
                identifier=broker.username,
            ) as mqtt:
                for service in endpoints.services:
                    await mqtt.subscribe(ENDPOINT.of(service=service), qos=1)
                    raise_if_cancelled()
                async for message in mqtt.messages:
                    await _take(mqtt, message, endpoints, broker.username, on_change)
                    raise_if_cancelled()
        except aiomqtt.MqttError as error:
            _log.warning(
                "broker %s:%d: %s; endpoints stay as they are, next try in %g s",
                broker.host,
                broker.port,
                error,
                reconnect_after,
            )
        await asyncio.sleep(reconnect_after)


async def _take(
    mqtt: aiomqtt.Client,
    message: aiomqtt.Message,
    endpoints: Endpoints,
    client: str,
    on_change: ChangeHandler | None,
) -> None:
    levels = ENDPOINT.match(message.topic.value)
    if levels is None or not isinstance(message.payload, bytes | bytearray):
        return
    service = levels["service"]
    try:
        update = EndpointUpdate.decode(message.payload)
    except MessageError as error:
        _log.warning("%s: %s", message.topic, error)
        return
    if endpoints.update(service, update):
        _log.info("%s: %s:%d (%s)", service, update.address, update.port, update.reason)
        if on_change is not None:
            on_change(service, update)
    latest = endpoints.latest(service)
    if latest is not None:
        ack = EndpointAck(service=service, term=latest.term, version=latest.version)
        await mqtt.publish(CLIENT_ACK.of(client=client), ack.encode(), qos=1)
