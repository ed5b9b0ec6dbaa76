"""Bodies and answers in parts over HTTP: framing, back-pressure both ways, clients that go away, drains."""

import asyncio
import re
import socket
import struct
import time
from collections.abc import Callable

import pytest

from greengrass_agent.gateway.http import bounds
from greengrass_agent.gateway.http import server as http_server
from greengrass_agent.gateway.job import Answer, Job
from tests.agent.http_server import RESET, FakeFlow, Serving, rest, serving, until_has
from tests.patience import until

GET = b"GET / HTTP/1.1\r\nHost: echo\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: echo\r\nConnection: close\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: echo\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


def take(job: Job) -> None:
    """A worker takes the job, and answers nothing yet."""
    job.flow = FakeFlow()
    job.client.body_wanted(True)


def told(job: Job) -> list[object]:
    assert isinstance(job.flow, FakeFlow)
    return job.flow.told


def fill(server: Serving, job: Job) -> int:
    """Answer with parts until the worker is paused, as nobody reads them. Returns how many bytes."""
    sent = 0
    while told(job)[-1:] != ["pause"]:
        assert sent < 64 << 20, "the gateway holds what nobody reads"
        server.do(lambda: job.client.part(bytes(1 << 20)))
        time.sleep(0.02)  # the kernel takes what it has room for
        sent += 1 << 20
    return sent


def in_parts(*parts: bytes, headers: dict[str, str] | None = None) -> Callable[[Job], None]:
    def submit(job: Job) -> None:
        take(job)
        job.begin(200, headers or {})
        for part in parts:
            job.client.part(part)
        job.client.end()

    return submit


@pytest.mark.parametrize(
    ("request_", "headers", "said", "body"),
    [
        (CLOSE, {}, b"Transfer-Encoding: chunked", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (CLOSE, {"Content-Length": "5"}, b"Content-Length: 5", b"abcde"),
        (OLD, {}, b"Connection: close", b"abcde"),
        (CLOSE.replace(b"GET", b"HEAD"), {}, b"Connection: close", b""),
    ],
)
def test_an_answer_in_parts_is_framed_for_its_client(
    request_: bytes, headers: dict[str, str], said: bytes, body: bytes
) -> None:
    with serving(in_parts(b"abc", b"", b"de", headers=headers)) as server:
        head, _, received = server.ask(request_).partition(b"\r\n\r\n")
        assert said in head.split(b"\r\n") and received == body
        assert "cancel" not in told(server.jobs[0])


def test_the_connection_goes_on_behind_an_answer_in_parts() -> None:
    with serving(in_parts(b"abc")) as server, server.connect() as sock:
        for _ in range(3):
            sock.sendall(GET)
            until_has(sock, b"\r\n0\r\n\r\n")
        assert len(server.connections) == 1


@pytest.mark.parametrize("headers", [{"Content-Length": "2"}, {"Content-Length": "9"}])
def test_an_answer_of_another_length_than_announced_is_broken_off(headers: dict[str, str]) -> None:
    with serving(in_parts(b"abc", headers=headers)) as server:
        answer = server.ask(GET)
        assert len(answer.partition(b"\r\n\r\n")[2].removesuffix(RESET)) != int(headers["Content-Length"])


@pytest.mark.parametrize("request_", [GET, OLD])
def test_a_client_sees_that_the_rest_will_not_come(request_: bytes) -> None:
    with serving(take) as server, server.connect() as sock:
        sock.sendall(request_)
        job = until(lambda: server.jobs and server.jobs[0], "the request")
        server.do(lambda: (job.begin(200, {}), job.client.part(b"abc")))
        until_has(sock, b"abc")
        server.do(lambda: job.client.broken("its worker ended"))
        last = rest(sock)
        assert last == RESET, "no last chunk, and no orderly end that a client of 1.0 would take for one"


def test_a_broken_answer_that_has_not_begun_is_a_502() -> None:
    with serving(lambda job: job.client.broken("its worker ended")) as server:
        assert server.ask(CLOSE).startswith(b"HTTP/1.1 502 ")


def test_a_client_that_is_slow_pauses_the_worker_and_one_that_reads_resumes_it() -> None:
    with serving(take) as server, server.connect() as sock:
        sock.sendall(CLOSE)
        job = until(lambda: server.jobs and server.jobs[0], "the request")
        server.do(lambda: job.begin(200, {}))
        sent = fill(server, job)
        received = 0
        while received < sent:
            received += len(sock.recv(1 << 20))
        until(lambda: told(job)[-1] == "resume", "the worker goes on")
        server.do(job.client.end)
        assert rest(sock).endswith(b"0\r\n\r\n")


def test_a_client_that_reads_nothing_of_its_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "WRITE_SILENCE_S", 0.2)
    monkeypatch.setattr(http_server, "SWEEP_S", 0.05)
    with serving(take) as server, server.connect() as sock:
        sock.sendall(GET)
        job = until(lambda: server.jobs and server.jobs[0], "the request")
        server.do(lambda: job.begin(200, {}))
        server.do(lambda: job.client.part(bytes(32 << 20)))
        until(lambda: "cancel" in told(job), "the worker is stopped")
        assert rest(sock).endswith(RESET)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("leave", [reset, socket.socket.close])
def test_a_client_that_goes_away_stops_its_worker(
    leave: Callable[[socket.socket], None], begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "SWEEP_S", 0.05)
    with serving(take) as server, server.connect() as sock:
        sock.sendall(GET)
        job = until(lambda: server.jobs and server.jobs[0], "the request")
        if begun:
            server.do(lambda: job.begin(200, {}))
            until_has(sock, b"\r\n\r\n")
        leave(sock)

        def stopped() -> bool:
            if begun:
                server.do(lambda: job.client.part(b"event"))
            return "cancel" in told(job)

        until(stopped, "the worker is told")


def test_a_client_that_closes_its_half_gets_what_it_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "SWEEP_S", 0.02)
    with serving(take) as server, server.connect() as sock:
        sock.sendall(GET * 2)
        sock.shutdown(socket.SHUT_WR)
        for number in range(2):
            until(lambda number=number: len(server.jobs) > number, "the request")
            time.sleep(0.1)  # some sweeps
            job = server.jobs[number]
            server.do(lambda job=job: job.conclude(Answer(200, b"abc")))
        assert re.findall(rb"HTTP/1\.1 (\d+)", rest(sock)).count(b"200") == 2


@pytest.mark.parametrize("chunked", [False, True])
def test_a_streamed_body_is_passed_on_as_it_comes(chunked: bool) -> None:
    def framed(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data) if chunked else data

    with serving(take, streamed=True) as server, server.connect() as sock:
        head = UPLOAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") if chunked else UPLOAD % 6
        sock.sendall(head)
        job = until(lambda: server.jobs and server.jobs[0], "the request is there before its body")
        assert job.body is None
        until(lambda: job.flow, "it has a worker")
        sock.sendall(framed(b"abc"))
        until(lambda: told(job) == [(b"abc", False)], "the first part")
        sock.sendall(framed(b"def") + (b"0\r\n\r\n" if chunked else b""))
        until(lambda: told(job)[-1][1], "the last part")  # type: ignore[index]
        assert b"".join(part for part, _ in told(job)) == b"abcdef"  # type: ignore[misc]
        server.do(lambda: job.conclude(Answer(200, b"done")))
        assert rest(sock).endswith(b"done")


def test_a_client_waits_while_the_worker_has_no_room_for_its_body() -> None:
    size = 64 << 20
    with serving(lambda job: None, streamed=True) as server, server.connect() as sock:
        sock.sendall(UPLOAD % size)
        job = until(lambda: server.jobs and server.jobs[0], "the request waits for a worker")
        sock.settimeout(0.2)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < size:
                sent += sock.send(bytes(1 << 20))
        assert sent < size, "more than any socket holds, and nobody to take it"
        server.do(lambda: take(job))
        sock.settimeout(None)
        while sent < size:
            sent += sock.send(bytes(min(1 << 20, size - sent)))
        until(lambda: told(job)[-1][1], "the last part")  # type: ignore[index]
        assert sum(len(part) for part, _ in told(job)) == size  # type: ignore[misc]
        server.do(lambda: job.conclude(Answer(200, b"done")))
        assert rest(sock).endswith(b"done")


def test_a_worker_that_takes_nothing_of_a_body_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "SWEEP_S", 0.02)

    def full(job: Job) -> None:
        take(job)
        job.client.body_wanted(False)

    with serving(full, streamed=True, timeout_s=0.1) as server, server.connect() as sock:
        sock.sendall(UPLOAD % 9 + b"abc")
        assert rest(sock).startswith(b"HTTP/1.1 504 ")
        assert told(server.jobs[0]) == [(b"abc", False), "cancel"]


def test_a_streamed_body_that_was_announced_is_asked_for_when_it_is_wanted() -> None:
    with serving(lambda job: None, streamed=True) as server, server.connect() as sock:
        sock.sendall(UPLOAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") % 3)
        job = until(lambda: server.jobs and server.jobs[0], "the request waits for a worker")
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(100)
        sock.settimeout(None)
        server.do(lambda: take(job))
        assert until_has(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        until(lambda: told(job) == [(b"abc", True)], "the body")


@pytest.mark.parametrize(("rest_of_body", "status"), [(b"zz\r\n", b"400"), (None, None)])
def test_a_streamed_body_that_is_broken_off_stops_its_worker(rest_of_body: bytes | None, status: bytes | None) -> None:
    with serving(take, streamed=True) as server, server.connect() as sock:
        sock.sendall(UPLOAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        job = until(lambda: server.jobs and server.jobs[0], "the request")
        until(lambda: told(job), "the first part")
        if rest_of_body is None:
            sock.shutdown(socket.SHUT_WR)
        else:
            sock.sendall(rest_of_body)
        answer = rest(sock)
        assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == ([status] if status else [])
        assert "cancel" in told(job)
        assert status is None or (job.answered and job.status == int(status)), "the execution log has what was sent"


def test_an_answer_before_the_whole_body_ends_the_connection() -> None:
    def refuse(job: Job) -> None:
        job.conclude(Answer(403, b"no"))

    with serving(refuse, streamed=True) as server, server.connect() as sock:
        sock.sendall(UPLOAD % (1 << 20) + b"abc")
        answer = until_has(sock, b"no")
        assert b"\r\nConnection: close\r\n" in answer
        sock.sendall(bytes(1000))
        assert rest(sock) == b"", "ended in order, though the client was still sending"


def test_what_is_streamed_survives_a_drain_until_it_ends() -> None:
    with serving(take) as server, server.connect() as sock, server.connect() as other:
        sock.sendall(GET)
        job = until(lambda: server.jobs and server.jobs[0], "the request")
        server.do(lambda: job.begin(200, {"content-type": "text/event-stream"}))
        until_has(sock, b"\r\n\r\n")
        asyncio.run_coroutine_threadsafe(server.server.pause(), server.loop).result()
        for number in range(3):
            event = b"data: %d\n\n" % number
            server.do(lambda event=event: job.client.part(event))
            until_has(sock, event)
        assert server.do(lambda: server.server.busy)
        server.do(job.client.end)
        until_has(sock, b"0\r\n\r\n")
        assert not server.do(lambda: server.server.busy)
        for number, client in ((1, sock), (2, other)):
            # It was not told before that the connection would end, and may have sent this already.
            client.sendall(GET)
            job = until(lambda number=number: len(server.jobs) > number and server.jobs[number], "one request more")
            server.do(lambda job=job: job.conclude(Answer(200, b"abc")))
            assert b"\r\nConnection: close\r\n" in rest(client)


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", UPLOAD % 9 + b"abc"])
def test_what_does_not_come_in_time_is_not_waited_for(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_S", "BODY_SILENCE_S"):
        monkeypatch.setattr(bounds, name, 0.1)
    monkeypatch.setattr(http_server, "SWEEP_S", 0.02)
    with serving() as server:
        answer = server.ask(sent)
        assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == ([b"408"] if sent else [])


def test_a_connection_without_requests_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "IDLE_S", 0.1)
    monkeypatch.setattr(http_server, "SWEEP_S", 0.02)
    with serving() as server:
        assert server.ask(GET).endswith(b"GET|/||")
        until(lambda: server.server._sweep is None, "without connections nothing wakes up")
