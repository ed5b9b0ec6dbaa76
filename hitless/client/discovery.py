"""Learning endpoints from the controller over MQTT, and acknowledging them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn

from hitless.client.endpoints import Endpoints
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.client import Publication
from hitless.mqtt.messages import EndpointAck, EndpointUpdate, MessageError
from hitless.mqtt.session import Session
from hitless.mqtt.topics import CLIENT_ACK, ENDPOINT

_log = logging.getLogger(__name__)

ChangeHandler = Callable[[str, EndpointUpdate], None]


async def follow_endpoints(
    endpoints: Endpoints, broker: BrokerSettings, *, on_change: ChangeHandler | None = None
) -> NoReturn:
    """Keep `endpoints` as the controller publishes them, until cancelled.

    An update is in force before it is acknowledged; an old or repeated one is acknowledged with what is in force. The
    client's id in the acknowledgement's topic is its identity at the broker. Losing the broker changes no endpoint.
    `on_change` is called with each update that is taken. Raises ValueError without an identity, and TlsError.
    """
    client = broker.identity()
    if client is None:
        raise ValueError("following endpoints needs a certificate or a user name, which names the client")

    def take(topic: str, payload: bytes, _: bool) -> None:
        levels = ENDPOINT.match(topic)
        if levels is None:
            return
        service = levels["service"]
        try:
            update = EndpointUpdate.decode(payload)
        except MessageError as error:
            _log.warning("%s: %s", topic, error)
            return
        taken = endpoints.update(service, update)
        if taken:
            _log.info("%s: %s:%d (%s)", service, update.address, update.port, update.reason)
        latest = endpoints.latest(service)
        if latest is not None:
            ack = EndpointAck(service=service, term=latest.term, version=latest.version)
            session.publish(Publication(CLIENT_ACK.of(client=client), ack.encode()))
        if taken and on_change is not None:
            on_change(service, update)

    session = Session(
        broker,
        without_broker="endpoints stay as they are",
        identifier=client,
        subscriptions=[ENDPOINT.of(service=service) for service in endpoints.services],
        on_message=take,
    )
    await session.run()
