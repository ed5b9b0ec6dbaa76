"""The server with the official client: what calls of every shape, size and fate come to."""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Iterator

import grpc
import pytest
from grpc import StatusCode
from softswitch.rpc import hpack
from softswitch.rpc.calls import FRAMING, RpcError
from softswitch.rpc.calls import frame as grpc_frame
from softswitch.rpc.http2 import MAX_FRAME, PREFACE, STREAM_WINDOW
from softswitch.rpc.server import Call, Server, Service

from tests.softswitch.rpc import test_http2 as http2

TIMEOUT = 60
"""Seconds until what must happen is taken not to happen, however busy the machine."""


class Echo:
    """A service that shows what reached it."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.begun = threading.Semaphore(0)
        """Released by each call of `later`."""
        self.taking = threading.Event()
        """What calls of `late` wait for."""

    def unary(self, message: bytes) -> bytes:
        if message == b"refuse":
            raise RpcError(StatusCode.ABORTED, "100 % no: \u00fc\n", b"\x00details\xff")
        if message == b"break":
            raise ZeroDivisionError("oops")
        return message

    def later(self, message: bytes) -> Awaitable[bytes]:
        self.begun.release()
        return asyncio.sleep(float(message), message)

    async def each(self, call: Call) -> None:
        try:
            while (message := await call.receive()) is not None:
                if message == b"refuse":
                    raise RpcError(StatusCode.NOT_FOUND, "no such thing")
                await call.send(message)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def many(self, call: Call) -> None:
        size = int(await call.receive() or b"0")
        for number in range(64):
            await call.send(bytes([number]) * size)

    async def late(self, call: Call) -> None:
        await asyncio.to_thread(self.taking.wait, TIMEOUT)
        while await call.receive() is not None:
            pass

    def service(self) -> Service:
        return Service(
            {"/e/Unary": self.unary, "/e/Later": self.later},
            {"/e/Each": self.each, "/e/Many": self.many, "/e/Late": self.late},
        )


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def address(echo: Echo) -> Iterator[str]:
    """Where an Echo is served."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Server(echo.service())
    port = asyncio.run_coroutine_threadsafe(server.start("127.0.0.1:0"), loop).result(TIMEOUT)
    yield f"127.0.0.1:{port}"
    asyncio.run_coroutine_threadsafe(server.stop(0.1), loop).result(TIMEOUT)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(TIMEOUT)
    loop.close()


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as channel:
        yield channel


@pytest.mark.parametrize("size", [0, 1, 16_384, 100_000, 5 << 20])
@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_messages_of_any_size(channel: grpc.Channel, size: int, compression: grpc.Compression | None) -> None:
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert channel.unary_unary("/e/Unary")(message, timeout=TIMEOUT, compression=compression) == message


def test_many_calls_at_once(channel: grpc.Channel) -> None:
    unary, later = channel.unary_unary("/e/Unary"), channel.unary_unary("/e/Later")
    calls = [later.future(b"0.05", timeout=TIMEOUT) for _ in range(300)]
    assert [unary(str(n).encode(), timeout=TIMEOUT) for n in range(300)] == [str(n).encode() for n in range(300)]
    assert {call.result() for call in calls} == {b"0.05"}


def test_errors_carry_message_and_details(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/e/Unary")(b"refuse", timeout=TIMEOUT)
    assert (caught.value.code(), caught.value.details()) == (StatusCode.ABORTED, "100 % no: \u00fc\n")
    assert dict(caught.value.trailing_metadata())["grpc-status-details-bin"] == b"\x00details\xff"


def test_defects_of_a_handler_are_told(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/e/Unary")(b"break", timeout=TIMEOUT)
    assert (caught.value.code(), caught.value.details()) == (StatusCode.INTERNAL, "ZeroDivisionError: oops")
    assert channel.unary_unary("/e/Unary")(b"on we go", timeout=TIMEOUT) == b"on we go"


def test_unknown_method(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/e/Nothing")(b"", timeout=TIMEOUT)
    assert caught.value.code() is StatusCode.UNIMPLEMENTED


def test_deadlines(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/e/Later")(b"30", timeout=0.2)
    assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED


def test_streams_both_ways(channel: grpc.Channel) -> None:
    messages = [bytes([n]) * n for n in range(200)]
    assert list(channel.stream_stream("/e/Each")(iter(messages), timeout=TIMEOUT)) == messages
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream("/e/Each")(iter([b"a", b"refuse"]), timeout=TIMEOUT))
    assert caught.value.code() is StatusCode.NOT_FOUND


def test_cancelled_stream_ends_its_handler(channel: grpc.Channel, echo: Echo) -> None:
    echo.cancelled.clear()
    release = threading.Event()
    call = channel.stream_stream("/e/Each")(iter(lambda: b"a" if not release.wait(0.1) else None, None))
    assert next(call) == b"a"
    call.cancel()
    assert echo.cancelled.wait(TIMEOUT)
    release.set()


def test_server_waits_for_a_slow_reader(channel: grpc.Channel) -> None:
    """64 messages of 1 MB, read at leisure: all come, in order."""
    received = []
    for message in channel.unary_stream("/e/Many")(str(1 << 20).encode(), timeout=TIMEOUT):
        received.append(message[0])
        if len(received) == 2:
            time.sleep(0.3)
    assert received == list(range(64))


def test_a_client_that_outruns_its_handler_is_held_back(address: str, echo: Echo) -> None:
    """It may send no more than its window holds before the handler takes what has come."""
    echo.taking.clear()
    host, port = address.split(":")
    request = [(b":method", b"POST"), (b":path", b"/e/Late"), (b"content-type", b"application/grpc")]
    message = http2.frame(http2.DATA, 0, 1, grpc_frame(bytes(MAX_FRAME - FRAMING)))
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as client, client.makefile("rb") as answers:

        def answer() -> tuple[int, int]:
            """Type and stream of the next frame."""
            head = answers.read(9)
            answers.read(int.from_bytes(head[:3], "big"))
            return head[3], int.from_bytes(head[5:], "big")

        client.sendall(PREFACE + http2.frame(http2.SETTINGS) + http2.frame(http2.HEADERS, 4, 1, hpack.encode(request)))
        client.sendall(message * (STREAM_WINDOW // MAX_FRAME) + http2.frame(http2.PING, 0, 0, bytes(8)))
        assert (http2.WINDOW_UPDATE, 1) not in iter(answer, (http2.PING, 0))
        echo.taking.set()
        assert answer() == (http2.WINDOW_UPDATE, 1)


def test_messages_that_wait_for_their_handler_stay_compressed(channel: grpc.Channel, echo: Echo) -> None:
    """12 messages of 8 MB of zeros, 100 kB on the wire: never are all of them there."""
    echo.taking.clear()
    messages = itertools.repeat(bytes(8 << 20), 12)
    tracemalloc.start()
    try:
        late = channel.stream_stream("/e/Late")(messages, timeout=TIMEOUT, compression=grpc.Compression.Gzip)
        time.sleep(0.3)
        echo.taking.set()
        assert list(late) == []
        assert tracemalloc.get_traced_memory()[1] < 60 << 20
    finally:
        tracemalloc.stop()


def test_a_unary_call_without_end_is_refused(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary("/e/Unary")(itertools.repeat(b"again"), timeout=TIMEOUT)
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT


def test_garbage_ends_only_its_connection(address: str, channel: grpc.Channel) -> None:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as garbage:
        garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while garbage.recv(1000):
            pass
    assert channel.unary_unary("/e/Unary")(b"x", timeout=TIMEOUT) == b"x"


def test_the_kernel_asks_after_silent_clients(address: str) -> None:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as client:
        client.recv(1)  # the server has taken the connection
        ours = subprocess.run(["ss", "-tnoH", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    assert "timer:(keepalive" in ours


@pytest.mark.parametrize(("call", "grace", "ends"), [(b"0.2", TIMEOUT, True), (b"600", 0.2, False)])
def test_stop_ends_calls_and_the_client_may_come_back(call: bytes, grace: float, ends: bool) -> None:
    async def run() -> None:
        echo = Echo()
        server = Server(echo.service())
        port = await server.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            answer = asyncio.ensure_future(channel.unary_unary("/e/Later")(call, timeout=TIMEOUT))
            assert await asyncio.to_thread(echo.begun.acquire, timeout=TIMEOUT)
            await server.stop(grace)
            if ends:
                assert await answer == call
            else:
                with pytest.raises(grpc.RpcError) as caught:
                    await answer
                assert caught.value.code() is StatusCode.UNAVAILABLE
            again = Server(echo.service())
            await again.start(f"127.0.0.1:{port}")
            assert await channel.unary_unary("/e/Unary")(b"x", timeout=TIMEOUT, wait_for_ready=True) == b"x"
            await again.stop(0)

    asyncio.run(run())
