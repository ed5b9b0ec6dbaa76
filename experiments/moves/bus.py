"""Reconfiguration by a broker: mosquitto, each node's publisher of metrics, and the client's follower of endpoints.

``python -m experiments.moves.bus publish|follow FILE`` takes its settings (`Member`) as JSON and runs until it is
ended. A node's publisher hands on what the node reports as its emitter does; the follower is the client library's own,
and tells the client's program of each endpoint.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from controller.authority.plan import Realm, Subject
from controller.authority.store import AuthorityStore
from experiments.moves.ground import MEMBERS, MIDDLE, STEERED, node, text
from experiments.native.lab import CLIENT, NODES, SERVICE_IDS, SERVICE_PORT
from hitless.client.discovery import follow_endpoints
from hitless.client.endpoints import Endpoints
from hitless.mqtt import topics
from hitless.mqtt.access import access_list
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.client import Publication
from hitless.mqtt.identities import BROKER, CONTROLLER, client_identity, emitter_identity
from hitless.mqtt.messages import EndpointUpdate, Metrics
from hitless.mqtt.session import OnMessage, Session
from hitless.tls import Identity
from hitless.wire.report import ReportError, decode
from hitless.words import REPORT_PORT
from topologies import broker

PORT = 8883
SERVICE, CALLER = "moved", "caller"
CLIENT_CONTROL_PORT = 9601
"""As client.c has it."""


class Bus:
    """The broker's files and everybody's certificates, in a folder."""

    def __init__(self, folder: Path) -> None:
        """Makes them. Raises AuthorityError, OSError."""
        folder.chmod(0o755)  # the broker gives up root
        self._authority = AuthorityStore(folder / "authority")
        nodes = [node(member) for member in range(MEMBERS)]
        names = [CONTROLLER, client_identity(CALLER), *map(emitter_identity, nodes)]
        server = Subject(Realm.BUS, BROKER, (text(MIDDLE),), client=False)
        self._authority.bring_up_to_date([server, *(Subject(Realm.BUS, name) for name in names)], time.time())
        identity = Identity(self._authority.issued_folder(Realm.BUS, BROKER))
        access = access_list(nodes, [CALLER])
        self._configuration = broker.write_configuration(folder / "broker", text(MIDDLE), PORT, identity, access)

    @property
    def command(self) -> list[str]:
        """How to start the broker."""
        return ["mosquitto", "-c", str(self._configuration)]

    def settings(self, name: str) -> dict[str, Any]:
        """Where the broker is for whoever has this name, as JSON has it."""
        folder = self._authority.issued_folder(Realm.BUS, name)
        return BrokerSettings.of(text(MIDDLE), PORT, tls=folder).model_dump(mode="json")


@dataclass(frozen=True, slots=True)
class Member:
    """What a publisher or the follower is told."""

    broker: dict[str, Any]
    ready: str
    """File that it makes once it takes part."""
    node: str = ""


class Endpoint:
    """The service's endpoint, as the controller publishes it."""

    def __init__(self, session: Session, term: int) -> None:
        self._session = session
        self._term = term
        self._version = 0

    async def move_to(self, member: int) -> None:
        """Publish it; the broker has it then. Raises SessionError."""
        self._version += 1
        address = text(NODES + member)
        update = EndpointUpdate(term=self._term, version=self._version, address=address, port=SERVICE_PORT)
        topic = topics.ENDPOINT.of(service=SERVICE)
        await self._session.deliver(Publication(topic, update.encode(), retain=True))


@asynccontextmanager
async def connected(
    settings: dict[str, Any],
    subscriptions: Sequence[str] = (),
    on_message: OnMessage = lambda topic, payload, kept: None,
) -> AsyncIterator[Session]:
    """A session for the time of the block, which begins once there is one."""
    there, known = asyncio.Event(), BrokerSettings(**settings)
    session = Session(
        known,
        without_broker="nothing moves",
        identifier=known.identity(),
        subscriptions=subscriptions,
        on_connected=there.set,
        on_message=on_message,
    )
    running = asyncio.create_task(session.run())
    try:
        await there.wait()
        yield session
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def publish(told: Member) -> None:
    """Publish the numbers of each report that the node sends to itself."""
    topic = topics.METRICS.of(node=told.node, service=SERVICE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", REPORT_PORT))
        heard.setblocking(False)
        async with connected(told.broker) as session:
            Path(told.ready).touch()
            loop = asyncio.get_running_loop()
            while True:
                payload = await loop.sock_recv(heard, 2048)
                try:
                    report = decode(payload)
                except ReportError as error:
                    print(f"{told.node}: {error}", file=sys.stderr)
                    continue
                session.publish(Publication(topic, Metrics.of(report).encode(), qos=0))


async def follow(told: Member) -> None:
    """Tell the client's program of each endpoint."""
    endpoints = Endpoints({SERVICE: SERVICE_IDS + STEERED})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tells:

        def changed(_: str, update: EndpointUpdate) -> None:
            tells.sendto(IPv4Address(update.address).packed, (text(CLIENT), CLIENT_CONTROL_PORT))
            Path(told.ready).touch()

        await follow_endpoints(endpoints, BrokerSettings(**told.broker), on_change=changed)


def main() -> None:
    """Do what the first argument says."""
    told = Member(**json.loads(Path(sys.argv[2]).read_text()))
    asyncio.run({"publish": publish, "follow": follow}[sys.argv[1]](told))


if __name__ == "__main__":
    main()
