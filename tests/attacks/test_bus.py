"""Who has no certificate, or another's, gets nowhere on the bus, and nobody reads along."""

import asyncio
import json
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from signal import SIGHUP
from typing import Any

import pytest

from controller.authority.plan import BACKDATED_S, DAY_S, LIFETIME_S, SPREAD_S, Realm, Subject
from controller.authority.store import AuthorityStore
from hitless.mqtt.access import access_list
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.client import Publication
from hitless.mqtt.messages import ShadowDelta, ShadowState
from hitless.mqtt.session import Session
from hitless.mqtt.topics import SHADOW_UPDATE, SHADOW_UPDATE_DELTA
from hitless.tls import Identity
from tests.authority import HERE, authority
from tests.mosquitto import Mosquitto, mosquitto
from tests.patience import PATIENCE, until_async
from topologies import broker as configured

NAMES = ["controller", "edge1", "edge2"]
CONNECT = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02me"
"""MQTT 3.1.1: a client that is called `me`, without user name."""
STRANGE = "the certificate of controller is of none of its authorities"


@pytest.fixture
def own(tmp_path: Path) -> AuthorityStore:
    return authority(tmp_path / "authority", NAMES)


@pytest.fixture
def broker(tmp_path: Path, own: AuthorityStore) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker", authority=own, access=access_list(["edge1", "edge2"])) as running:
        yield running


@asynccontextmanager
async def running(settings: BrokerSettings, **options: Any) -> AsyncIterator[Session]:
    session = Session(settings, without_broker="all goes on", **options)
    task = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def refused(settings: BrokerSettings, reason: str) -> None:
    async with running(settings) as session:
        await until_async(lambda: session.connected or session.error != "not connected yet", "nothing came of it")
        assert reason in (session.error or "")


def test_without_a_certificate_nobody_is_heard(broker: Mosquitto, own: AuthorityStore) -> None:
    trusting = ssl.create_default_context(cafile=own.issued_folder(Realm.BUS, "edge1") / "ca.crt")
    for wrap in (lambda raw: trusting.wrap_socket(raw, server_hostname=HERE), lambda raw: raw):
        with socket.create_connection((HERE, broker.port), timeout=PATIENCE) as raw:
            connection = wrap(raw)
            answer = b""
            with suppress(ssl.SSLError, ConnectionError):
                connection.sendall(CONNECT)
                answer = connection.recv(64)
            assert answer == b""


async def test_who_has_another_authoritys_certificate_is_refused_and_refuses(
    broker: Mosquitto, own: AuthorityStore, tmp_path: Path
) -> None:
    other = authority(tmp_path / "other", NAMES)
    stranger = BrokerSettings.of(HERE, broker.port, tls=other.issued_folder(Realm.BUS, "controller"))
    await refused(stranger, "its certificate is refused")
    trusting = tmp_path / "trusting"
    trusting.mkdir()
    for name, source in (
        ("ca.crt", broker.settings("edge1").tls),
        ("tls.crt", stranger.tls),
        ("tls.key", stranger.tls),
    ):
        assert source is not None
        (trusting / name).write_bytes((source / name).read_bytes())
    await refused(
        BrokerSettings.of(HERE, broker.port, tls=trusting),
        "the certificate of controller is of none of its authorities",
    )


async def test_a_node_is_no_broker(own: AuthorityStore, tmp_path: Path) -> None:
    """A node's certificate may not serve, so that a node that takes the broker's address learns nothing."""
    node = Identity(own.issued_folder(Realm.BUS, "edge2"))
    server = await asyncio.start_server(lambda *_: None, HERE, 0, ssl=node.server())
    async with server:
        port = server.sockets[0].getsockname()[1]
        await refused(
            BrokerSettings.of(HERE, port, tls=own.issued_folder(Realm.BUS, "edge1")), "certificate is refused"
        )


@pytest.mark.parametrize(
    "age, reason",
    [
        (LIFETIME_S + DAY_S, "the certificate of edge1 expired at"),
        (-2 * DAY_S, "the certificate of edge1 begins to be valid at"),
    ],
)
async def test_a_certificate_out_of_its_time_is_refused_and_the_clock_named(
    tmp_path: Path, age: float, reason: str
) -> None:
    """The authority is as old as the broker likes; the node's certificate is not."""
    store = authority(tmp_path / "authority", [], now=time.time() - 200 * DAY_S)
    store.bring_up_to_date((), time.time(), rotate=True)
    authority(tmp_path / "authority", ["edge1"], now=time.time() - age)
    with mosquitto(tmp_path / "broker", authority=store, access=access_list(["edge1"])) as running_broker:
        await refused(running_broker.settings("edge1"), reason)


async def test_the_brokers_expired_certificate_is_told_with_the_clock(tmp_path: Path) -> None:
    store = authority(tmp_path / "authority", NAMES, now=time.time() - LIFETIME_S - DAY_S)
    with mosquitto(tmp_path / "broker", authority=store) as running_broker:
        await refused(running_broker.settings("edge1"), "its certificate has expired, for this machine's clock says")


async def test_nobody_takes_anothers_session_or_speaks_in_its_name(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    """The client id that a client asks for is not heard: its certificate's name stands for it."""
    heard: list[str] = []
    delta = SHADOW_UPDATE_DELTA.of(node="edge1", component="c")

    def take(topic: str, payload: bytes, retained: bool) -> None:
        heard.append(payload.decode())

    caplog.set_level(logging.WARNING, "hitless.mqtt.session")
    async with (
        running(broker.settings("edge1"), identifier="edge1", subscriptions=[delta], on_message=take) as victim,
        running(broker.settings("controller")) as controller,
    ):
        await until_async(lambda: victim.connected and controller.connected, "no session")
        async with running(broker.settings("edge2"), identifier="edge1") as thief:
            await until_async(lambda: thief.connected, "no session")
            thief.publish(Publication(delta, b"forged"))
            thief.publish(Publication(SHADOW_UPDATE.of(node="edge1", component="c"), b"forged"))
            controller.publish(Publication(delta, b"real"))
            await until_async(lambda: bool(heard), "the controller is not heard")
            assert thief.connected and victim.connected
    assert heard == ["real"]
    assert "lost" not in caplog.text


class Tap:
    """Forwards a port's connections to another, and keeps what passes."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.port = 0

    @asynccontextmanager
    async def before(self, port: int) -> AsyncIterator["Tap"]:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            onward, back = await asyncio.open_connection(HERE, port)
            await asyncio.gather(self._pipe(reader, back), self._pipe(onward, writer))

        server = await asyncio.start_server(connection, HERE, 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield self

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                self.seen += data
                writer.write(data)
        writer.close()


async def test_keys_and_jobs_cannot_be_read_on_the_wire(broker: Mosquitto) -> None:
    key = "00112233445566778899aabbccddeeff"
    delta = ShadowDelta(version=1, state=ShadowState(report_key_id=1), report_key=key)
    topic = SHADOW_UPDATE_DELTA.of(node="edge1", component="c")
    heard: list[ShadowDelta] = []

    def take(_: str, payload: bytes, __: bool) -> None:
        heard.append(ShadowDelta.decode(payload))

    async with Tap().before(broker.port) as tap:
        node = BrokerSettings.of(HERE, tap.port, tls=broker.settings("edge1").tls)
        controller = BrokerSettings.of(HERE, tap.port, tls=broker.settings("controller").tls)
        async with running(node, subscriptions=[topic], on_message=take) as one, running(controller) as other:
            await until_async(lambda: one.connected and other.connected, "no session")
            other.publish(Publication(topic, delta.encode()))
            await until_async(lambda: heard == [delta], "the key did not come")
    assert len(tap.seen) > 1000
    assert key.encode() not in tap.seen and b"hitless/things" not in tap.seen


async def test_keys_are_rotated_under_sessions_that_lose_nothing(broker: Mosquitto, own: AuthorityStore) -> None:
    """Sessions stand through a renewal of everyone's keys, and those that come later use the new ones."""
    heard: list[int] = []
    topic = SHADOW_UPDATE_DELTA.of(node="edge1", component="c")

    def take(_: str, payload: bytes, __: bool) -> None:
        heard.append(json.loads(payload))

    async with (
        running(broker.settings("edge1"), subscriptions=[topic], on_message=take) as node,
        running(broker.settings("controller")) as controller,
    ):
        await until_async(lambda: node.connected and controller.connected, "no session")
        for turn in range(2):
            before = served(broker.port)
            own.bring_up_to_date((), time.time(), rotate=True)
            configured.take_certificate(broker.folder, Identity(own.issued_folder(Realm.BUS, "broker")))
            controller.publish(Publication(topic, str(3 * turn).encode()))
            broker.send_signal(SIGHUP)
            controller.publish(Publication(topic, str(3 * turn + 1).encode()))
            await until_async(lambda old=before: served(broker.port) != old, "the broker serves the old one")
            controller.publish(Publication(topic, str(3 * turn + 2).encode()))
            await until_async(lambda so_far=turn: len(heard) == 3 * so_far + 3, "messages were lost")
            async with running(broker.settings("edge2")) as late:
                await until_async(lambda new=late: new.connected, "a session with the new certificate is refused")
            assert node.connected and controller.connected
    assert heard == list(range(6))


async def test_a_new_authority_is_trusted_before_it_issues(tmp_path: Path) -> None:
    """Old and new certificates are good side by side; mosquitto reads its authorities when it starts, so that once."""
    now = time.time()
    own = authority(tmp_path / "authority", NAMES, now=now - 200 * DAY_S)
    own.bring_up_to_date((), now)
    (first,) = own.authorities(Realm.BUS)
    with mosquitto(tmp_path / "broker", authority=own, access=access_list(["edge1", "edge2"])) as broker:
        async with running(broker.settings("controller")) as standing:
            await until_async(lambda: standing.connected, "no session")
            own.new_authority(Realm.BUS, now - SPREAD_S + BACKDATED_S + 600)  # ten minutes before it issues
            own.bring_up_to_date((), now)
            assert {one.issuer for one in own.issued(Realm.BUS)} == {first.id}
            configured.take_certificate(broker.folder, Identity(own.issued_folder(Realm.BUS, "broker")))
            broker.kill()
            broker.start()
            own.bring_up_to_date([Subject(Realm.BUS, "edge1")], now + 1200)
            assert first.id not in {one.issuer for one in own.issued(Realm.BUS)}
            async with running(broker.settings("edge1")) as renewed:
                await until_async(lambda: renewed.connected and standing.connected, "a session is refused")


def served(port: int) -> str:
    """The certificate that a server shows."""
    return ssl.get_server_certificate((HERE, port), timeout=PATIENCE)
