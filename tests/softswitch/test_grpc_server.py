"""The gRPC server with the official client: what calls of every shape, size and fate come to, and where it serves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from softswitch.grpc_server import CannotServe, GrpcServer, Service, tls_credentials
from softswitch.p4runtime.errors import P4RuntimeError

from softswitch import grpc_server
from tests.patience import PATIENCE

LONG = PATIENCE * 10


class Echo:
    """A service that shows what reached it."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        """Released by each call of `Later` and `Late`."""
        self.cancelled = threading.Semaphore(0)
        """Released by each call of `Later` that was given up."""
        self.ended = threading.Semaphore(0)
        """Released by each call of `Each`, however it ended."""
        self.taking = threading.Event()
        """What calls of `Late` wait for."""

    async def unary(self, message: bytes, _: Any) -> bytes:
        if message == b"refuse":
            raise P4RuntimeError(StatusCode.ABORTED, "100 % no: \u00fc\n", b"\x00details\xff")
        if message == b"break":
            raise ZeroDivisionError("oops")
        return message

    async def later(self, message: bytes, _: Any) -> bytes:
        self.begun.release()
        try:
            await asyncio.sleep(float(message))
        except asyncio.CancelledError:
            self.cancelled.release()
            raise
        return message

    async def each(self, context: Any) -> None:
        try:
            while (message := await context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
                if message == b"refuse":
                    raise P4RuntimeError(StatusCode.NOT_FOUND, "no such thing")
                await context.write(message)
        finally:
            self.ended.release()

    async def many(self, message: bytes, context: Any) -> None:
        for number in range(64):
            await context.write(bytes([number]) * int(message))

    async def late(self, context: Any) -> None:
        self.begun.release()
        await asyncio.to_thread(self.taking.wait, PATIENCE)
        while await context.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]
            pass

    def service(self) -> Service:
        unary = {"Unary": self.unary, "Later": self.later}
        return Service("e", unary, {"Many": self.many}, {"Each": self.each, "Late": self.late})


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, work: Any) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return done.result(PATIENCE)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


Serve = Callable[..., str]


@pytest.fixture
def serve(loop: Loop, echo: Echo) -> Iterator[Serve]:
    """Serve an Echo, and where; ended with the test."""
    servers: list[GrpcServer] = []

    def serve(address: str = "127.0.0.1:0", **keepalive: float) -> str:
        servers.append(GrpcServer((echo.service(),), **keepalive))
        port = loop.run(servers[-1].start(address))
        return address.removesuffix("0") + str(port) if address.endswith(":0") else address

    yield serve
    for server in servers:
        loop.run(server.stop(0.1))


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def address(serve: Serve) -> str:
    """Where an Echo is served."""
    return serve()


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    with connected(address) as channel:
        yield channel


def connected(address: str) -> grpc.Channel:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    # none that an earlier server on the same address had
    return grpc.insecure_channel(address, options=[*options, ("grpc.use_local_subchannel_pool", 1)])


@pytest.mark.parametrize("size", [0, 1, 16_384, 100_000, 5 << 20])
@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_messages_of_any_size(channel: grpc.Channel, size: int, compression: grpc.Compression | None) -> None:
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert channel.unary_unary("/e/Unary")(message, timeout=PATIENCE, compression=compression) == message


def test_a_message_beyond_the_limit_is_refused(
    loop: Loop, echo: Echo, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setattr(grpc_server, "MAX_MESSAGE", 1 << 20)
    with connected(serve()) as channel:
        call = channel.unary_unary("/e/Unary")
        with pytest.raises(grpc.RpcError) as refused:
            call(bytes((1 << 20) + 1), timeout=PATIENCE)
        assert refused.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert call(bytes(1 << 20), timeout=PATIENCE) == bytes(1 << 20)


def test_many_calls_at_once(channel: grpc.Channel) -> None:
    unary, later = channel.unary_unary("/e/Unary"), channel.unary_unary("/e/Later")
    calls = [later.future(b"0.05", timeout=PATIENCE) for _ in range(300)]
    assert [unary(str(n).encode(), timeout=PATIENCE) for n in range(300)] == [str(n).encode() for n in range(300)]
    assert {call.result() for call in calls} == {b"0.05"}


def test_errors_carry_message_and_details(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/e/Unary")(b"refuse", timeout=PATIENCE)
    assert (caught.value.code(), caught.value.details()) == (StatusCode.ABORTED, "100 % no: \u00fc\n")
    assert dict(caught.value.trailing_metadata())["grpc-status-details-bin"] == b"\x00details\xff"


def test_defects_of_a_handler_are_told(channel: grpc.Channel, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/e/Unary")(b"break", timeout=PATIENCE)
    assert (caught.value.code(), caught.value.details()) == (StatusCode.INTERNAL, "ZeroDivisionError: oops")
    assert channel.unary_unary("/e/Unary")(b"on we go", timeout=PATIENCE) == b"on we go"
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("softswitch.grpc", "Unary of e failed")
    ]


@pytest.mark.parametrize("path", ["/e/Nothing", "/nobody/Unary", "/"])
def test_unknown_methods(channel: grpc.Channel, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path)(b"", timeout=PATIENCE)
    assert caught.value.code() is StatusCode.UNIMPLEMENTED


def test_a_call_whose_time_is_over_ends_on_both_sides(channel: grpc.Channel, echo: Echo) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/e/Later")(str(LONG).encode(), timeout=0.2)
    assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
    if echo.begun.acquire(timeout=PATIENCE):
        assert echo.cancelled.acquire(timeout=PATIENCE)


def test_streams_both_ways(channel: grpc.Channel) -> None:
    messages = [bytes([n]) * n for n in range(200)]
    assert list(channel.stream_stream("/e/Each")(iter(messages), timeout=PATIENCE)) == messages
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream("/e/Each")(iter([b"a", b"refuse"]), timeout=PATIENCE))
    assert (caught.value.code(), caught.value.details()) == (StatusCode.NOT_FOUND, "no such thing")


@contextlib.contextmanager
def open_stream(channel: grpc.Channel) -> Iterator[Any]:
    """A call of `Each` that has been answered once, and whose client says nothing more."""
    done = threading.Event()

    def messages() -> Iterator[bytes]:
        yield b"a"
        done.wait(PATIENCE)

    call = channel.stream_stream("/e/Each")(messages())
    assert next(call) == b"a"
    yield call
    done.set()


def test_cancelled_stream_ends_its_handler(channel: grpc.Channel, echo: Echo) -> None:
    with open_stream(channel) as call:
        assert not echo.ended.acquire(blocking=False)
        call.cancel()
        assert echo.ended.acquire(timeout=PATIENCE)


def test_server_waits_for_a_slow_reader(channel: grpc.Channel) -> None:
    """64 messages of 1 MB, read at leisure: all come, in order."""
    received = []
    for message in channel.unary_stream("/e/Many")(str(1 << 20).encode(), timeout=PATIENCE):
        received.append(message[0])
        if len(received) == 2:
            time.sleep(0.3)
    assert received == list(range(64))


def test_a_client_that_outruns_its_handler_is_held_back(channel: grpc.Channel, echo: Echo) -> None:
    """256 MB, of which the server takes a window's worth before the handler reads."""
    sent = 0

    def messages() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(4096):
            sent += 1
            yield bytes(1 << 16)

    late = channel.stream_stream("/e/Late")(messages(), timeout=PATIENCE)
    assert echo.begun.acquire(timeout=PATIENCE)
    before = -1
    while before != sent:
        before = sent
        time.sleep(0.5)
    assert sent < 1024
    echo.taking.set()
    assert list(late) == []
    assert sent == 4096


@pytest.mark.parametrize("messages", [[], [b"one", b"more"], itertools.repeat(b"again")])
def test_a_unary_call_without_its_one_message_hurts_nobody(channel: grpc.Channel, messages: Any) -> None:
    call = channel.stream_unary("/e/Unary").future(iter(messages), timeout=1)
    with contextlib.suppress(grpc.RpcError):
        call.result()
    assert channel.unary_unary("/e/Unary")(b"x", timeout=PATIENCE) == b"x"


def test_garbage_ends_only_its_connection(address: str, channel: grpc.Channel) -> None:
    with reached(address) as garbage:
        garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while garbage.recv(1000):
            pass
    assert channel.unary_unary("/e/Unary")(b"x", timeout=PATIENCE) == b"x"


def reached(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


SETTINGS, PING, GOAWAY = 4, 6, 7
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def http2_frame(kind: int, body: bytes = b"") -> bytes:
    """RFC 9113, section 4.1."""
    return struct.pack(">I", len(body))[1:] + bytes((kind, 0)) + bytes(4) + body


def test_clients_may_ask_after_the_switch_as_often_as_they_like(address: str) -> None:
    """grpc's servers send such clients away unless told otherwise ("too_many_pings")."""
    with reached(address) as client, client.makefile("rb") as answers:
        client.sendall(PREFACE + http2_frame(SETTINGS) + http2_frame(PING, bytes(8)) * 20)
        found: list[int] = []
        while found.count(PING) < 20:
            head = answers.read(9)
            answers.read(int.from_bytes(head[:3], "big"))
            found.append(head[3])
        assert GOAWAY not in found


class Wire:
    """A connection that can be cut without a word to either end."""

    def __init__(self, address: str) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.passing = True
        self._server = reached(address)
        self._client: socket.socket | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        self._client, _ = self._listener.accept()
        for one, other in ((self._client, self._server), (self._server, self._client)):
            threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        one.settimeout(None)
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                if self.passing:
                    other.sendall(data)

    def close(self) -> None:
        for end in (self._listener, self._server, self._client):
            if end is not None:
                end.close()


@pytest.mark.parametrize("there", [True, False])
def test_silent_clients_are_asked_after(serve: Serve, echo: Echo, there: bool) -> None:
    """One that has gone without a word is given up, so that its controller is primary no longer; others stay."""
    wire = Wire(serve(keepalive_s=0.1, keepalive_timeout_s=20 if there else 0.4))
    try:
        with connected(wire.address) as channel, open_stream(channel):
            wire.passing = there
            assert echo.ended.acquire(timeout=2 if there else PATIENCE / 2) is not there
    finally:
        wire.close()


@pytest.mark.parametrize(("call", "grace", "ends"), [(b"0.2", PATIENCE, True), (str(LONG).encode(), 0.2, False)])
def test_stop_ends_calls_and_the_client_may_come_back(
    loop: Loop, echo: Echo, call: bytes, grace: float, ends: bool
) -> None:
    server = GrpcServer((echo.service(),))
    port = loop.run(server.start("127.0.0.1:0"))
    with connected(f"127.0.0.1:{port}") as channel:
        answer = channel.unary_unary("/e/Later").future(call, timeout=PATIENCE)
        assert echo.begun.acquire(timeout=PATIENCE)
        loop.run(server.stop(grace))
        if ends:
            assert answer.result() == call
        else:
            assert answer.code() in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)
        again = GrpcServer((echo.service(),))
        loop.run(again.start(f"127.0.0.1:{port}"))
        assert channel.unary_unary("/e/Unary")(b"x", timeout=PATIENCE, wait_for_ready=True) == b"x"
        loop.run(again.stop(0))


def test_health(channel: grpc.Channel) -> None:
    check = health_pb2_grpc.HealthStub(channel).Check
    for service in ("", "e"):
        answer = check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        check(health_pb2.HealthCheckRequest(service="nobody"), timeout=PATIENCE)
    assert caught.value.code() is StatusCode.NOT_FOUND


def reflected(channel: grpc.Channel, **request: str) -> reflection_pb2.ServerReflectionResponse:
    """What reflection answers to one question."""
    ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    (answer,) = ask(iter([reflection_pb2.ServerReflectionRequest(**request)]), timeout=PATIENCE)
    return answer


def test_reflection_lists_what_is_served(channel: grpc.Channel) -> None:
    services = reflected(channel, list_services="").list_services_response.service
    assert {service.name for service in services} == {
        "e",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize("address", ["localhost:0", "[::1]:0", "0.0.0.0:0", ":0"])
def test_addresses(serve: Serve, address: str) -> None:
    port = serve(address).rpartition(":")[2]
    host = "[::1]" if address.startswith("[") else "127.0.0.1"
    with connected(f"{host}:{port}") as channel:
        assert channel.unary_unary("/e/Unary")(b"x", timeout=PATIENCE) == b"x"


def test_a_socket_in_the_file_system(serve: Serve, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "socket"))
    with connected(serve(f"unix:{tmp_path}/socket")) as channel:
        assert channel.unary_unary("/e/Unary")(b"x", timeout=PATIENCE) == b"x"


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:99999", "an address is host:port, with a port up to 65535, or unix:path"),
        ("127.0.0.1:", "an address is host:port"),
        ("127.0.0.1", "an address is host:port"),
        ("192.0.2.1:9559", "Cannot assign requested address"),
        ("no-such-host.invalid:9559", "cannot serve on no-such-host.invalid:9559: "),
        ("unix:/no/such/folder/socket", "No such file or directory"),
        ("unix:/tmp/" + "x" * 120, "fewer than 108 bytes"),
    ],
)
def test_addresses_that_cannot_be_served_on(serve: Serve, address: str, why: str) -> None:
    with pytest.raises(CannotServe) as caught:
        serve(address)
    assert str(caught.value).startswith(f"cannot serve on {address}: ")
    assert why in str(caught.value)


def test_a_file_in_the_way_stays(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CannotServe, match="Address already in use"):
        serve(f"unix:{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_address_in_use(serve: Serve, address: str) -> None:
    """Of another server of ours, too: it is not shared."""
    with pytest.raises(CannotServe, match="Address already in use"):
        serve(address)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do that")
def test_a_port_of_the_systems(serve: Serve) -> None:
    with pytest.raises(CannotServe, match="Permission denied"):
        serve("127.0.0.1:1")


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no PEM")
    with pytest.raises(OSError):
        tls_credentials(tmp_path / "file", tmp_path / "file", None, demand_client=False)
