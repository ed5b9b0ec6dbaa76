"""The session against a real broker: it comes back, says why it is away, and nothing that happens to it ends it."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import aiomqtt
import pytest

from hitless.mqtt.background import BackgroundSession
from hitless.mqtt.broker import BrokerSettings, Credentials
from hitless.mqtt.session import ANSWER_S, Announcement, Publication, Session, SessionError
from tests.mosquitto import Mosquitto, mosquitto
from tests.patience import PATIENCE, until_async
from tests.ports import free_port

PRESENCE = Announcement("test/presence", b"online", b"offline")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    identities = [Credentials(username=name, password="secret") for name in ("one", "other")]
    with mosquitto(tmp_path / "broker", identities=identities) as running:
        yield running


@dataclass
class Own:
    """A session under test: what it heard, and how often it connected."""

    session: Session
    messages: list[str]
    sessions: list[int]
    running: asyncio.Task[Any] = field(init=False)

    async def cancel(self) -> float:
        """Cancel it and wait for its end; returns how long that took, in seconds."""
        began = time.monotonic()
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(self.running), PATIENCE)
        assert self.running.cancelled()
        return time.monotonic() - began


def make(broker: BrokerSettings, **options: Any) -> Own:
    messages: list[str] = []
    sessions: list[int] = []

    def take(topic: str, payload: bytes, retained: bool) -> None:
        if payload == b"bad":
            raise RuntimeError("cannot be handled")
        messages.append(f"{topic} {payload.decode()} {'retained' if retained else 'live'}")

    session = Session(
        broker,
        without_broker="all goes on",
        subscriptions=["test/#"],
        on_connected=lambda: sessions.append(len(sessions)),
        on_message=take,
        **options,
    )
    return Own(session, messages, sessions)


@asynccontextmanager
async def running(broker: BrokerSettings, **options: Any) -> AsyncIterator[Own]:
    own = make(broker, **options)
    own.running = asyncio.create_task(own.session.run())
    try:
        yield own
    finally:
        own.running.cancel()
        with suppress(asyncio.CancelledError):
            await own.running


async def test_it_comes_back_after_the_broker_and_drops_what_was_said_meanwhile(broker: Mosquitto) -> None:
    lost: list[bool] = []
    async with running(broker.settings("one"), on_lost=lambda: lost.append(own.session.connected)) as own:
        bus = own.session
        assert not bus.publish(Publication("test/a", b"0"))
        await until_async(lambda: bus.connected, "no session")
        assert bus.publish(Publication("test/a", b"1"))
        await until_async(lambda: own.messages == ["test/a 1 live"], "the message did not come")
        broker.kill()
        await until_async(lambda: not bus.connected, "the loss was not noticed")
        await until_async(lambda: bus.error == "Connection refused", f"it says {bus.error}")
        assert lost == [False], "told once, and not of each attempt"
        assert not bus.publish(Publication("test/a", b"2"))
        broker.start()
        await until_async(lambda: len(own.sessions) == 2, "no second session")
        assert bus.error is None
        bus.publish(Publication("test/a", b"3"))
        await until_async(lambda: len(own.messages) == 2, "the message did not come")
        assert own.messages[-1] == "test/a 3 live"


async def test_a_handler_that_fails_ends_nothing(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    def connected() -> None:
        raise RuntimeError("not today")

    async with running(broker.settings("one")) as own:
        own.session._on_connected = connected
        await until_async(lambda: own.session.connected, "no session")
        own.session.publish(Publication("test/a", b"bad"))
        own.session.publish(Publication("test/a", b"good"))
        await until_async(lambda: own.messages == ["test/a good live"], "the next message did not come")
        assert not own.running.done()
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "not today",
        "cannot be handled",
    ]


async def test_what_the_broker_kept_is_told_from_what_is_new(broker: Mosquitto) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port, username="other", password="secret") as client:
        await client.publish("test/kept", b"1", 1, True)
    async with running(broker.settings("one")) as own:
        await until_async(lambda: "test/kept 1 retained" in own.messages, "the kept message did not come")
        own.session.publish(Publication("test/kept", b"2", retain=True))
        await until_async(lambda: "test/kept 2 live" in own.messages, "the new message did not come")


async def test_a_wrong_password_is_said_and_tried_again(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    async with running(broker.settings("one", "wrong")) as own:
        await until_async(lambda: own.session.error != "not connected yet", "it says nothing")
        assert own.session.error == "connection refused: Not authorized"
        assert own.sessions == []
        broker.kill()
        broker.start()
    assert (
        f"broker 127.0.0.1:{broker.port}: connection refused: Not authorized; trying again, all goes on" in caplog.text
    )


async def test_a_host_that_no_resolver_knows_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with running(BrokerSettings(host="no-such-host.invalid")) as own:
        await until_async(lambda: own.session.error != "not connected yet", "it says nothing")
        assert not own.session.error.startswith("[Errno")
        assert not own.running.done()
    async with running(BrokerSettings(host="x" * 70)) as own:
        await until_async(lambda: own.session.error != "not connected yet", "it says nothing")
        assert not own.running.done(), "a name that is too long for the resolver ends nothing"


async def test_presence_is_told_at_every_end(broker: Mosquitto) -> None:
    async with running(broker.settings("other")) as watcher:
        await until_async(lambda: watcher.session.connected, "no session")
        told = watcher.messages
        async with running(broker.settings("one"), identifier="one", announcement=PRESENCE) as own:
            await until_async(lambda: told == ["test/presence online live"], "the birth")
            await own.cancel()
            await until_async(lambda: told[1:] == ["test/presence offline live"], "the goodbye")
    async with running(broker.settings("other")) as late:
        await until_async(lambda: late.messages == ["test/presence offline retained"], "it is retained")


async def test_a_second_session_of_the_same_name_takes_over_slowly(broker: Mosquitto) -> None:
    """Two programs with one name: a birth follows the will of the one before, and they do not fight."""
    async with running(broker.settings("other")) as watcher:
        await until_async(lambda: watcher.session.connected, "no session")
        async with running(broker.settings("one"), identifier="one", announcement=PRESENCE) as first:
            await until_async(lambda: first.session.connected, "no session")
            async with running(broker.settings("one"), identifier="one", announcement=PRESENCE) as second:
                await until_async(lambda: second.session.connected, "no second session")
                await until_async(lambda: first.session.error is not None, "the first is told")
                assert first.session.error == "connection lost"
                await until_async(lambda: len(watcher.messages) >= 3, "birth, will, birth")
                assert [line.split()[1] for line in watcher.messages[:3]] == ["online", "offline", "online"]
                await asyncio.sleep(2)
                assert len(first.sessions) + len(second.sessions) <= 8, "the waits grow"


async def test_ended_in_every_phase(broker: Mosquitto) -> None:
    """Cancelled at any moment of connecting, subscribing and publishing, it ends, soon, and leaves nothing open."""
    loop = asyncio.get_running_loop()
    complaints = complaints_of(loop)
    for step in range(120):
        own = make(broker.settings("one"), announcement=PRESENCE)
        own.running = asyncio.create_task(own.session.run())
        due = loop.time() + step * 0.0005
        while loop.time() < due:
            own.session.publish(Publication("test/a", b"x"))
            await asyncio.sleep(0)
        await own.cancel()
    await until_async(lambda: len(asyncio.all_tasks()) == 1, "tasks that nobody waits for")
    await until_async(lambda: connections(broker) == 0, "connections that nobody uses")
    assert complaints == []


def complaints_of(loop: asyncio.AbstractEventLoop) -> list[object]:
    """What asyncio has to complain of from now on."""
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    return complaints


def connections(broker: Mosquitto) -> int:
    """TCP connections that the broker has."""
    local = f":{broker.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(local) and row[3] == "01" for row in rows)  # 01: established


async def test_ended_while_the_broker_does_not_answer(broker: Mosquitto) -> None:
    async with running(broker.settings("one"), announcement=PRESENCE) as own:
        await until_async(lambda: own.session.connected, "no session")
        broker.send_signal(SIGSTOP)
        try:
            for _ in range(100):
                own.session.publish(Publication("test/a", b"x"))
            await asyncio.sleep(0.1)
            assert await own.cancel() < PATIENCE
            async with running(broker.settings("one")) as connecting:
                await asyncio.sleep(0.3)
                assert await connecting.cancel() < PATIENCE
        finally:
            broker.send_signal(SIGCONT)
    await until_async(lambda: connections(broker) == 0, "connections that nobody uses")


async def test_ended_while_the_broker_dies(broker: Mosquitto) -> None:
    complaints = complaints_of(asyncio.get_running_loop())
    for _ in range(5):
        async with running(broker.settings("one"), announcement=PRESENCE) as own:
            await until_async(lambda own=own: own.session.connected, "no session")  # type: ignore[misc]
            broker.kill()
            await asyncio.sleep(0)
            assert await own.cancel() < PATIENCE
        broker.start()
    assert complaints == []


async def test_a_peer_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitless.mqtt.session.ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", free_port())) as deaf:
        async with running(BrokerSettings(host="127.0.0.1", port=deaf.getsockname()[1])) as own:
            await until_async(lambda: own.session.error == "no answer within 0.2 s", f"it says {own.session.error}")
    assert ANSWER_S == 10


def test_in_the_background_it_publishes_and_never_waits(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    heard: list[str] = []
    ear = BackgroundSession(
        Session(
            broker.settings("other"),
            without_broker="",
            subscriptions=["test/#"],
            on_message=lambda topic, payload, retained: heard.append(payload.decode()),
        )
    )
    own = BackgroundSession(Session(broker.settings("one"), without_broker="", limit=4))

    def wait(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.005)

    def publish(number: int) -> None:
        own.publish(Publication("test/a", b"%d" % number + bytes(50_000), qos=0))

    try:
        wait(lambda: own.connected and ear.connected, "no session")
        publish(1)
        wait(lambda: [text.rstrip("\0") for text in heard] == ["1"], "the message did not come")
        broker.send_signal(SIGSTOP)
        # More than a connection's buffers hold, and no end to it for who waits for the broker.
        for number in range(2, 1002):
            publish(number)
            time.sleep(0.001)
        broker.send_signal(SIGCONT)
        wait(lambda: heard[-1].rstrip("\0") == "1001" or not own.connected, "the newest did not come")
        assert len(heard) < 1001, "what was behind a stuck connection is dropped"
        broker.kill()
        wait(lambda: not own.connected, "the loss was not noticed")
        publish(2000)
        broker.start()
        wait(lambda: own.connected and ear.connected, "it did not come back")
        publish(3000)
        wait(lambda: heard[-1].rstrip("\0") == "3000", "the message did not come")
        assert "2000" not in [text.rstrip("\0") for text in heard], "nothing is kept for later"
    finally:
        began = time.monotonic()
        own.close()
        ear.close()
    assert time.monotonic() - began < PATIENCE


async def test_what_is_subscribed_to_later_is_heard_again_after_the_broker_came_back(broker: Mosquitto) -> None:
    async with running(broker.settings("one")) as own:
        bus = own.session
        await until_async(lambda: bus.connected, "no session")
        await bus.add_subscription("more/+")
        await bus.deliver(Publication("more/a", b"1"))
        await until_async(lambda: own.messages == ["more/a 1 live"], "the first message")
        broker.kill()
        await until_async(lambda: not bus.connected, "the session is lost")
        with pytest.raises(SessionError, match="no session with the broker"):
            await bus.deliver(Publication("more/a", b"2"))
        await bus.add_subscription("later")
        broker.start()
        await until_async(lambda: bus.connected, "a session again")
        for topic in ("more/b", "later"):
            await bus.deliver(Publication(topic, b"3"))
        await until_async(lambda: set(own.messages[1:]) == {"more/b 3 live", "later 3 live"}, "both")
        bus.drop_subscription("more/+")
        await until_async(lambda: not bus._closing, "the broker knows")
        await bus.deliver(Publication("more/b", b"4"))
        await bus.deliver(Publication("later", b"4"))
        await until_async(lambda: own.messages[-1] == "later 4 live", "what is still wanted")
        assert "more/b 4 live" not in own.messages
