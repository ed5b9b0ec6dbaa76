"""A real server on loopback over a real engine without ports, and clients of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from softswitch.engine.engine import Engine
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.server import P4RuntimeServer

from tests.softswitch.native.bmv2 import BINARY
from tests.softswitch.p4runtime import targets
from tests.softswitch.p4runtime.client import TIMEOUT, Client, Names, Stream
from tests.softswitch.p4runtime.switches import RunningSwitch
from tests.softswitch.p4runtime.targets import Target


@pytest.fixture(scope="session")
def program_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs, shared by the tests of a session."""
    return tmp_path_factory.mktemp("softswitch-cache")


@pytest.fixture
def switch(program_cache: Path) -> Iterator[RunningSwitch]:
    """A switch that has no pipeline yet."""
    make_engine = partial(Engine, cpu_port=510, cache_dir=program_cache)
    with make_engine() as engine:
        engine.start()
        with _Serving(engine, make_engine) as address:
            yield RunningSwitch(address, engine)


class _Serving:
    """A server of `engine` in a thread with an event loop of its own."""

    def __init__(self, engine: Engine, make_engine: Callable[[], Engine]) -> None:
        self._device = Device(1, engine, make_engine, cpu_port=510)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: P4RuntimeServer | None = None

    async def _start(self) -> int:
        self._server = P4RuntimeServer(self._device)
        return await self._server.start("127.0.0.1:0")

    def __enter__(self) -> str:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(TIMEOUT)
        return f"127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)
        self._loop.close()


@pytest.fixture
def client(switch: RunningSwitch) -> Iterator[Client]:
    """A client of the switch that has not arbitrated."""
    with Client(switch.address) as client:
        yield client


@pytest.fixture
def switch_address(switch: RunningSwitch) -> str:
    """Where the switch serves."""
    return switch.address


@pytest.fixture(scope="session")
def names() -> Names:
    """The program `everything`."""
    return Names.of("everything")


@pytest.fixture
def primary(client: Client, names: Names) -> Iterator[Stream]:
    """The stream of the primary (election id 10), which has pushed `everything`."""
    stream = client.primary()
    client.push(names.config())
    yield stream
    stream.close()


@pytest.fixture(scope="session")
def running_bmv2() -> Iterator[Target]:
    """One BMv2 for all tests: a push makes it as new."""
    if BINARY is None:
        pytest.skip("simple_switch_grpc is not installed")
    with targets.bmv2() as target:
        yield target


@pytest.fixture
def softswitch(switch: RunningSwitch) -> Iterator[Target]:
    """A softswitch with a primary."""
    with Client(switch.address) as client:
        stream = client.primary()

        def exchange(packets: Sequence[bytes]) -> list[targets.Outputs]:
            return [sorted(switch.engine.process(1, packet)) for packet in packets]

        yield Target("softswitch", client, stream, exchange)
        stream.close()


@pytest.fixture(params=["softswitch", "bmv2"])
def target(request: pytest.FixtureRequest) -> Target:
    """Each target in turn."""
    made: Target = request.getfixturevalue("softswitch" if request.param == "softswitch" else "running_bmv2")
    return made
