"""Learning endpoints from a real mosquitto, with the identities and access list that a fabric has."""

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest

from hitless.client.discovery import Broker, follow_endpoints
from hitless.client.endpoints import Endpoints
from hitless.mqtt.messages import EndpointAck, EndpointUpdate
from hitless.mqtt.topics import CLIENT_ACK, ENDPOINT
from tests.patience import PATIENCE
from tests.ports import free_port
from topologies import broker

CREDENTIALS = broker.make_credentials(["edge1"], ["camera"])


class Mosquitto:
    """A broker that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        access = broker.access_list(["edge1"], ["camera"])
        self._configuration, _ = broker.write_configuration(
            folder, "127.0.0.1", self.port, CREDENTIALS.values(), access
        )
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(["mosquitto", "-c", str(self._configuration)])
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self._process.poll() is None, "mosquitto ended"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def identity(self, name: str) -> Broker:
        return Broker("127.0.0.1", self.port, name, CREDENTIALS[name].password)

    @asynccontextmanager
    async def controller(self) -> AsyncIterator[aiomqtt.Client]:
        identity = self.identity("controller")
        async with aiomqtt.Client(
            identity.host, identity.port, username=identity.username, password=identity.password
        ) as client:
            await client.subscribe(CLIENT_ACK.filter(), qos=1)
            yield client


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)  # mosquitto gives up root and must reach its files
    running = Mosquitto(tmp_path / "broker")
    try:
        yield running
    finally:
        running.stop()


@asynccontextmanager
async def following(endpoints: Endpoints, identity: Broker) -> AsyncIterator[list[tuple[str, EndpointUpdate]]]:
    changes: list[tuple[str, EndpointUpdate]] = []
    task = asyncio.create_task(
        follow_endpoints(endpoints, identity, on_change=lambda *change: changes.append(change), reconnect_after=0.1)
    )
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
    async with mosquitto.controller() as controller:
        await publish(controller, update(1, 1, 11))
        await publish(controller, update(9, 9, 99), service="another")
        async with following(endpoints, mosquitto.identity("client-camera")) as changes:
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
    async with following(endpoints, mosquitto.identity("client-camera")):
        async with mosquitto.controller() as controller:
            await publish(controller, update(1, 1, 11))
            await next_ack(controller)
        mosquitto.stop()
        await asyncio.sleep(0.3)
        assert endpoints.current("svc").port == 11
        mosquitto.start()
        async with mosquitto.controller() as controller:
            await publish(controller, update(1, 2, 12))
            while (await next_ack(controller))[1].version != 2:
                pass
        assert endpoints.current("svc").port == 12
