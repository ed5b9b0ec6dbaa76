"""Hostile HTTP clients cost their own requests only; without descriptors, clients wait and nothing spins."""

import contextlib
import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from greengrass_agent.gateway.http import bounds
from greengrass_agent.gateway.http import server as http_server
from greengrass_agent.gateway.job import Answer, Job
from tests.agent.gateway import running_gateway
from tests.agent.http_server import Serving, mirror, rest, serving
from tests.patience import PATIENCE, until

HOST = b"Host: echo\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
GET_LARGE = b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n"
UPLOAD = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n"
LARGE = 8 << 20
EACH = int(os.environ.get("CONNECTIONS", "30"))
"""Connections of a kind; `make fuzz` has ten thousand of all ten kinds."""

Hostile = Callable[[socket.socket], None]


def silent(sock: socket.socket) -> None:
    """Connect, and say nothing."""


def half_a_head(sock: socket.socket) -> None:
    sock.sendall(GET[:-4])


def half_a_body(sock: socket.socket) -> None:
    sock.sendall(UPLOAD % 1000 + bytes(500))


def slow_body(sock: socket.socket) -> None:
    """A byte now and then, which is never silent for long."""
    sock.sendall(UPLOAD % 1000)

    def send() -> None:
        while True:
            try:
                sock.sendall(b"x")
            except OSError:
                return
            threading.Event().wait(0.05)

    threading.Thread(target=send, daemon=True).start()


def never_reads(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(GET_LARGE)


def garbage(sock: socket.socket) -> None:
    sock.sendall(os.urandom(20_000))


def oversized_head(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for _ in range(20):
            sock.sendall(GET[:-2] + b"X: " + b"a" * 100_000)


def pipelined_flood(sock: socket.socket) -> None:
    """More requests than anybody reads the answers of."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.send(GET * 500)
        for _ in range(100):
            sock.send(GET_LARGE * 500)


def half_closed(sock: socket.socket) -> None:
    sock.sendall(GET[:-4])
    sock.shutdown(socket.SHUT_WR)


def reset(sock: socket.socket) -> None:
    sock.sendall(UPLOAD % 1000 + bytes(500))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


KINDS = [
    silent,
    half_a_head,
    half_a_body,
    slow_body,
    never_reads,
    garbage,
    oversized_head,
    pipelined_flood,
    half_closed,
    reset,
]


def function(job: Job) -> None:
    assert job.http is not None
    if job.http.path == "/large":
        job.conclude(Answer(200, bytes(LARGE)))
    else:
        mirror(job)


@contextmanager
def impatient(monkeypatch: pytest.MonkeyPatch, streamed: bool) -> Iterator[Serving]:
    """A server with time limits of a test's length."""
    for name in ("HEAD_S", "BODY_SILENCE_S", "WRITE_SILENCE_S", "LINGER_S", "BODY_CREDIT_S"):
        monkeypatch.setattr(bounds, name, 0.3)
    monkeypatch.setattr(http_server, "SWEEP_S", 0.05)
    with serving(function, streamed=streamed) as server:
        yield server


def good_request(client: HTTPConnection, number: int) -> None:
    client.request("POST", f"/{number}", body=b"good" * 100)
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (200, f"POST|/{number}||".encode() + b"good" * 100)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_kind_of_hostile_connections_ends_and_costs_no_good_request(
    kind: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(impatient(monkeypatch, streamed=False))
        client = stack.enter_context(closing(HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)))
        good_request(client, 0)
        good = client.sock
        for number in range(1, EACH + 1):
            kind(stack.enter_context(server.connect()))
            good_request(client, number)

        def alone() -> bool:
            good_request(client, EACH + 1)
            return len(server.server._connections) == 1

        until(alone, "all of them have ended, and the good connection has not")
        assert server.server._held == 0, "no bytes of theirs are held"
        assert client.sock is good, "the good connection was never lost"


def test_with_too_many_connections_the_idlest_give_way_and_no_newcomer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_CONNECTIONS", 10)
    waiting: list[Job] = []
    with serving(waiting.append) as server, ExitStack() as stack:
        busy = stack.enter_context(server.connect())
        busy.sendall(GET)
        until(lambda: waiting, "a request is under way")
        idle = [stack.enter_context(server.connect()) for _ in range(9)]
        until(lambda: len(server.connections) == 10, "as many as there may be")
        for number in range(1, 31):
            newcomer = stack.enter_context(server.connect())
            newcomer.sendall(GET)
            until(lambda number=number: len(waiting) > number, "a newcomer's request")
            server.do(lambda: waiting[-1].conclude(Answer(200, b"served")))
            assert newcomer.recv(4096).endswith(b"served")
        assert [rest(sock) for sock in idle].count(b"") < len(idle), "they were reset"
        server.do(lambda: waiting[0].conclude(Answer(200, b"served")))
        assert busy.recv(4096).endswith(b"served"), "what is under way is never given up"


def test_with_too_many_bytes_of_bodies_the_one_longest_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_BUFFERED", 1_000_000)
    with serving(mirror) as server, ExitStack() as stack:
        hoarders = [stack.enter_context(server.connect()) for _ in range(9)]
        for number, sock in enumerate(hoarders):
            sock.sendall(UPLOAD % 200_000 + bytes(100_000))
            until(lambda number=number: server.server._held > number * 100_000 + 50_000, "its bytes are held")
        good = stack.enter_context(server.connect())
        good.sendall(UPLOAD % 500_000 + b"a" * 500_000)
        answer = b""
        while len(answer) < 500_000:
            answer += good.recv(1 << 20)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert rest(hoarders[0]).startswith(b"HTTP/1.1 503 ")
        hoarders[-1].sendall(b"b" * 100_000)
        assert hoarders[-1].recv(100).startswith(b"HTTP/1.1 200 "), "who did not have to go was left alone"


def test_without_descriptors_clients_wait_and_the_gateway_does_not_spin() -> None:
    with running_gateway("def lambda_handler(event, context):\n    return 'served'\n") as gateway, ExitStack() as stack:

        def connected() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), PATIENCE))

        pid = gateway.process.pid
        old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        assert old[0] == old[1], "the gateway has raised its limit as far as it may"
        used = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 4, old[1]))
        asked = [connected() for _ in range(4)]
        for sock in asked:
            sock.sendall(GET)
        until(lambda: gateway.numbers().queue_depth == 4, "as many requests under way as there are descriptors")
        late = [connected() for _ in range(4)]
        for sock in late:
            sock.sendall(GET)
        until(lambda: "connections wait" in gateway.said(), "it has no descriptor left")
        before, began = cpu_s(pid), time.monotonic()
        threading.Event().wait(0.5)
        assert cpu_s(pid) - before < 0.5 * (time.monotonic() - began), "it spins"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, old)
        gateway.serve()
        for sock in (*asked, *late):
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_without_descriptors_an_idle_connection_gives_way() -> None:
    with running_gateway("def lambda_handler(event, context):\n    return 'served'\n") as gateway, ExitStack() as stack:

        def connected() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), PATIENCE))

        gateway.serve()
        pid = gateway.process.pid
        used = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 4, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
        for _ in range(8):
            connected()
        newcomer = connected()
        newcomer.sendall(GET)
        assert newcomer.recv(4096).startswith(b"HTTP/1.1 200 ")


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
