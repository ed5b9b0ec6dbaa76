"""Learning endpoints from a real mosquitto, with the identities and access list that a fabric has."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest

from hitless.client.discovery import follow_endpoints
from hitless.client.endpoints import Endpoints
from hitless.mqtt.access import access_list
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.messages import EndpointAck, EndpointUpdate
from hitless.mqtt.topics import CLIENT_ACK, ENDPOINT
from hitless.tls import Identity
from tests.authority import authority
from tests.mosquitto import Mosquitto
from tests.mosquitto import mosquitto as running
from tests.patience import PATIENCE


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    own_authority = authority(tmp_path / "authority", ["controller", "edge1", "client-camera"])
    access = access_list(["edge1"], ["camera"])
    with running(tmp_path / "broker", authority=own_authority, access=access) as own:
        yield own


@asynccontextmanager
async def controller_of(mosquitto: Mosquitto) -> AsyncIterator[aiomqtt.Client]:
    own = mosquitto.settings("controller")
    assert own.tls is not None
    async with aiomqtt.Client(own.host, own.port, tls_context=Identity(own.tls).client()) as client:
        await client.subscribe(CLIENT_ACK.filter(), qos=1)
        yield client


@asynccontextmanager
async def following(endpoints: Endpoints, identity: BrokerSettings) -> AsyncIterator[list[tuple[str, EndpointUpdate]]]:
    changes: list[tuple[str, EndpointUpdate]] = []
    task = asyncio.create_task(follow_endpoints(endpoints, identity, on_change=lambda *change: changes.append(change)))
    try:
        yield changes
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def publish(controller: aiomqtt.Client, update: EndpointUpdate, service: str = "svc") -> None:
    await controller.publish(ENDPOINT.of(service=service), update.encode(), qos=1, retain=True)


async def next_ack(controller: aiomqtt.Client) -> tuple[str, EndpointAck]:
    async with asyncio.timeout(PATIENCE):
        message = await anext(aiter(controller.messages))
    levels = CLIENT_ACK.match(message.topic.value)
    assert levels is not None and isinstance(message.payload, bytes)
    return levels["client"], EndpointAck.decode(message.payload)


def update(term: int, version: int, port: int) -> EndpointUpdate:
    return EndpointUpdate(term=term, version=version, address="10.0.0.11", port=port, reason="test")


async def test_retained_newer_and_older(mosquitto: Mosquitto) -> None:
    endpoints = Endpoints({"svc": 1}, {"svc": ("10.96.0.1", 1)})
    async with controller_of(mosquitto) as controller:
        await publish(controller, update(1, 1, 11))
        await publish(controller, update(9, 9, 99), service="another")
        async with following(endpoints, mosquitto.settings("client-camera")) as changes:
            acknowledged = await next_ack(controller)
            assert acknowledged == ("client-camera", EndpointAck(service="svc", term=1, version=1))
            assert endpoints.current("svc").port == 11, "in force before it is acknowledged"
            await publish(controller, update(1, 2, 12))
            assert (await next_ack(controller))[1].version == 2
            assert endpoints.current("svc").port == 12
            await publish(controller, update(1, 1, 13))
            assert (await next_ack(controller))[1].version == 2, "what is in force, not what came"
            assert endpoints.current("svc").port == 12
            await controller.publish(ENDPOINT.of(service="svc"), b"nonsense", qos=1)
            await publish(controller, update(2, 0, 20))
            assert (await next_ack(controller))[1] == EndpointAck(service="svc", term=2, version=0)
            assert changes == [("svc", update(1, 1, 11)), ("svc", update(1, 2, 12)), ("svc", update(2, 0, 20))]


async def test_the_endpoint_outlives_the_broker(mosquitto: Mosquitto) -> None:
    endpoints = Endpoints({"svc": 1})
    async with following(endpoints, mosquitto.settings("client-camera")):
        async with controller_of(mosquitto) as controller:
            await publish(controller, update(1, 1, 11))
            await next_ack(controller)
        mosquitto.kill()
        await asyncio.sleep(0.3)
        assert endpoints.current("svc").port == 11
        mosquitto.start()
        async with controller_of(mosquitto) as controller:
            await publish(controller, update(1, 2, 12))
            while (await next_ack(controller))[1].version != 2:
                pass
        assert endpoints.current("svc").port == 12
