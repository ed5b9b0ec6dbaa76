"""A switch that serves P4Runtime and Thrift over one engine, and a client of its Thrift services."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from softswitch.engine.engine import Engine
from softswitch.files import load_program
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.server import P4RuntimeServer
from softswitch.thrift.server import ThriftServer

from tests.softswitch.p4runtime.client import PROGRAMS, TIMEOUT, Names
from tests.softswitch.thrift.client import ThriftClient, ThriftSwitch

Start = Callable[..., ThriftSwitch]


@pytest.fixture(scope="session")
def program_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs, shared by the tests of a session."""
    return tmp_path_factory.mktemp("softswitch-cache")


@pytest.fixture
def start(program_cache: Path) -> Iterator[Start]:
    """Start a switch with a program, whose P4Info it gets or not."""
    with ExitStack() as stack:

        def start(program: str | None, *, p4info: bool = False) -> ThriftSwitch:
            return stack.enter_context(_serving(program_cache, program, p4info=p4info))

        yield start


@contextmanager
def _serving(cache: Path, program: str | None, *, p4info: bool) -> Iterator[ThriftSwitch]:
    make_engine = partial(Engine, cpu_port=510, cache_dir=cache)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    with make_engine() as engine:
        device = Device(1, engine, make_engine, cpu_port=510)
        if program is not None:
            info = PROGRAMS / f"{program}.p4info.txtpb" if p4info else None
            load_program(device, PROGRAMS / f"{program}.json", info)
        engine.start()
        thread.start()

        async def serve() -> tuple[P4RuntimeServer, int]:
            server = P4RuntimeServer(device)
            return server, await server.start("127.0.0.1:0")

        server, port = asyncio.run_coroutine_threadsafe(serve(), loop).result(TIMEOUT)
        thrift = ThriftServer(server, loop, 0)
        try:
            with ThriftClient(thrift.port) as client:
                yield ThriftSwitch(f"127.0.0.1:{port}", thrift.port, engine, client)
        finally:
            thrift.stop()
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(TIMEOUT)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(TIMEOUT)
            loop.close()


@pytest.fixture(scope="session")
def names() -> Names:
    """The program `everything`."""
    return Names.of("everything")
