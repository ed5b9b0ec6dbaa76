"""The bus against a real broker: it comes back, it says why it is away, and a bad message ends nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import aiomqtt

from controller.nodes.bus import Broker, Bus, Publication
from tests.controller_app.fake_node import until
from tests.controller_app.support import Ports, RunningBroker


def run(broker: Broker, scenario: Callable[[Bus, list[str], list[int]], Awaitable[None]]) -> None:
    """Run a scenario with a bus: it gets the bus, the messages that came, and an item for every session."""

    async def body() -> None:
        messages: list[str] = []
        sessions: list[int] = []

        def message(topic: str, payload: bytes, retained: bool) -> None:
            if payload == b"bad":
                raise RuntimeError("cannot be handled")
            messages.append(f"{topic} {payload.decode()} {'retained' if retained else 'live'}")

        bus = Bus(broker, ["test/#"], on_connected=lambda: sessions.append(len(sessions)), on_message=message)
        running = asyncio.create_task(bus.run())
        try:
            await scenario(bus, messages, sessions)
        finally:
            running.cancel()

    asyncio.run(body())


def at(ports: Ports, password: str = "secret") -> Broker:
    return Broker("127.0.0.1", ports.broker, "controller", password)


def test_it_comes_back_after_the_broker_and_drops_what_was_said_meanwhile(ports: Ports, broker: RunningBroker) -> None:
    async def scenario(bus: Bus, messages: list[str], sessions: list[int]) -> None:
        await until(lambda: bus.connected, "no session")
        assert bus.publish(Publication("test/a", b"1"))
        await until(lambda: messages == ["test/a 1 live"], "the message did not come")
        broker.kill()
        await until(lambda: not bus.connected, "the loss was not noticed")
        assert bus.error
        assert not bus.publish(Publication("test/a", b"2"))
        broker.start()
        await until(lambda: len(sessions) == 2, "no second session")
        assert bus.error is None
        bus.publish(Publication("test/a", b"3"))
        await until(lambda: len(messages) == 2, "the message did not come")
        assert messages[-1] == "test/a 3 live"

    run(at(ports), scenario)


def test_a_message_that_cannot_be_handled_ends_nothing(ports: Ports, broker: RunningBroker) -> None:
    async def scenario(bus: Bus, messages: list[str], sessions: list[int]) -> None:
        await until(lambda: bus.connected, "no session")
        bus.publish(Publication("test/a", b"bad"))
        bus.publish(Publication("test/a", b"good"))
        await until(lambda: messages == ["test/a good live"], "the next message did not come")
        assert sessions == [0]

    run(at(ports), scenario)


def test_what_the_broker_kept_is_told_from_what_is_new(ports: Ports, broker: RunningBroker) -> None:
    async def scenario(bus: Bus, messages: list[str], sessions: list[int]) -> None:
        await until(lambda: "test/kept 1 retained" in messages, "the kept message did not come")
        bus.publish(Publication("test/kept", b"2", retain=True))
        await until(lambda: "test/kept 2 live" in messages, "the new message did not come")

    async def keep() -> None:
        async with aiomqtt.Client("127.0.0.1", ports.broker, username="edge1", password="secret") as client:
            await client.publish("test/kept", b"1", 1, True)

    asyncio.run(keep())
    run(at(ports), scenario)


def test_a_wrong_password_is_said_and_tried_again(ports: Ports, broker: RunningBroker) -> None:
    async def scenario(bus: Bus, messages: list[str], sessions: list[int]) -> None:
        await until(lambda: "authori" in (bus.error or ""), f"it says {bus.error}")
        assert sessions == []

    run(at(ports, "wrong"), scenario)
