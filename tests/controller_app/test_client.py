"""The API's client against what may stand at the socket: each trouble is one of its two errors."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.operator.client import Client, NoControllerError, RefusedError
from tests.patience import PATIENCE


@contextmanager
def controller(path: Path, answer: bytes, *, then: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Something that gives this answer to one request, waits for `then`, and hangs up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                request = peer.makefile("rb")
                head = list(iter(request.readline, b"\r\n"))
                request.read(sum(int(line.split()[1]) for line in head if line.startswith(b"Content-Length")))
                peer.sendall(answer)
                then()

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(PATIENCE)


def http(status: str, body: str, length: int | None = None) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {length or len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    "answer, kind, told",
    [
        (http("409 Conflict", '{"error": "no node edge9"}'), RefusedError, "^no node edge9$"),
        (http("500 Oops", "<html>"), RefusedError, "answered 500 to POST /v1/release"),
        (http("200 OK", '{"service": "web"}'), RefusedError, "another version.*message: expected, but missing"),
        (http("200 OK", "<html>"), RefusedError, "another version.*expected JSON"),
        (http("200 OK", "{", 100), NoControllerError, "went away while it answered"),
        (b"", NoControllerError, "does not answer"),
        (b"SSH-2.0\r\n", NoControllerError, "does not answer"),
    ],
)
def test_every_trouble_is_told(tmp_path: Path, answer: bytes, kind: type[Exception], told: str) -> None:
    with controller(tmp_path / "c.sock", answer), pytest.raises(kind, match=told):
        Client(tmp_path / "c.sock").release("web")


def test_a_silent_controller_is_given_up(tmp_path: Path) -> None:
    given_up = threading.Event()
    with controller(tmp_path / "c.sock", b"", then=lambda: given_up.wait(PATIENCE) and None):
        began = time.monotonic()
        with pytest.raises(NoControllerError, match="does not answer: timed out"):
            Client(tmp_path / "c.sock", timeout_s=0.2).status()
        assert time.monotonic() - began < PATIENCE / 2
        given_up.set()


def test_events_end_with_the_controller(tmp_path: Path) -> None:
    line = '{"seq": 1, "time_ns": 5, "kind": "node", "node": "edge1", "online": true, "epoch": 3, "what": "x"}\n'
    chunk = f"{len(line):x}\r\n{line}\r\n"
    answer = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}".encode()
    with controller(tmp_path / "c.sock", answer):
        assert [event.seq for event in Client(tmp_path / "c.sock").events(follow=True)] == [1]
