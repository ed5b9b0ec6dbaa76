"""`hitless invoke`: one call of a service over either protocol, what is printed of its answer, and the exit code."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from controller.operator.cli import main
from controller.operator.documents import Status
from controller.operator.invoke import InvokeError, client_host
from hitless.wire.invocation import Message
from tests.controller_app.test_client import controller, http
from tests.hitless.peer import Peer
from tests.ports import free_port


class Echo(BaseHTTPRequestHandler):
    """A node that answers with what it was asked."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("X-Hitless-Node", "edge2")
        self.end_headers()
        self.wfile.write(f"{self.command} {self.path} {body.decode()}".encode())

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def handler(request: Message) -> Message | None:
    if request.payload == b"fail":
        return request.answer(500, b"ValueError: not today", error=True)
    return None if request.payload == b"silence" else request.answer(200, request.payload[::-1])


def status(**places: Any) -> dict[str, Any]:
    """The status of a fabric with one node and these services."""
    service = {"policy": "single", "host": "edge1", "held": False, "held_on": None, "held_for_s": None, "instances": {}}
    return {
        "fabric": "small",
        "mode": "in-network",
        "last_event": 1,
        "broker": {"address": "10.0.0.100:8883", "connected": True, "error": None},
        "switches": {"s1": {"connected": True, "target": "", "cookie": None, "error": None}},
        "nodes": {"edge1": {"online": True, "deployment": "done", "components": {}}},
        "services": {name: service | {"called_at": place} for name, place in places.items()},
    }


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        peer = stack.enter_context(Peer(handler, service_id=7))
        web = stack.enter_context(HTTPServer(("127.0.0.1", 0), Echo))
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(web.shutdown)
        udp = {"service_id": 7, "address": "127.0.0.1", "port": peer.address[1], "protocol": "udp"}
        tcp = {"service_id": 8, "address": "127.0.0.1", "port": web.server_port, "protocol": "tcp"}
        yield {"echo": udp, "web": tcp, "gone": tcp | {"port": free_port()}, "nowhere": None}


@pytest.fixture
def invoke(tmp_path: Path, places: dict[str, Any]) -> Any:
    def run(*words: str, input: bytes | None = None) -> Result:
        socket = tmp_path / "c.sock"
        socket.unlink(missing_ok=True)
        with controller(socket, http("200 OK", json.dumps(status(**places)))):
            return CliRunner().invoke(main, ["invoke", *words, "--socket", str(socket)], input=input)

    return run


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["echo", "hello"], "olleh"),
        (["echo"], ""),
        (["web"], "GET / "),
        (["web", "hello"], "POST / hello"),
        (["web", "hello", "--path", "/a?b=1", "--method", "PUT"], "PUT /a?b=1 hello"),
    ],
)
def test_the_answer_is_printed_as_it_is(invoke: Any, words: list[str], printed: str) -> None:
    done = invoke(*words)
    assert (done.exit_code, done.stdout, done.stderr) == (0, printed, "")


def test_the_body_comes_from_a_file_or_from_standard_input(invoke: Any, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(range(256)))
    assert invoke("echo", "--file", str(tmp_path / "body")).stdout_bytes == bytes(range(256))[::-1]
    assert invoke("echo", "--file", "-", input=b"abc").stdout_bytes == b"cba"


def test_an_error_ends_with_1_and_its_status_beside_its_reason(invoke: Any) -> None:
    done = invoke("echo", "fail")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "ValueError: not today", "status 500\n")
    done = invoke("web", "--path", "/none")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "GET /none ", "status 404\n")


def test_json_has_the_status_the_body_and_who_served(invoke: Any) -> None:
    told = json.loads(invoke("web", "hello", "--json").stdout)
    assert told["took_ms"] > 0
    expected = {"service": "web", "status": 200, "failed": False, "node": "edge2", "body": "POST / hello"}
    assert expected.items() <= told.items()
    done = invoke("echo", "fail", "--json")
    assert done.exit_code == 1 and done.stderr == ""
    assert (json.loads(done.stdout)["status"], json.loads(done.stdout)["failed"]) == (500, True)


def test_no_answer_in_time_ends_with_4(invoke: Any) -> None:
    done = invoke("echo", "silence", "--timeout", "0.05")
    assert done.exit_code == 4
    assert done.stderr.startswith("no answer to request 1 from 127.0.0.1:") and "within 0.05 s" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["gone"], 1, "cannot call 127.0.0.1:"),
        (["nowhere"], 1, "no node serves nowhere yet"),
        (["ech"], 1, "no service ech in fabric small; services: echo, web, gone, nowhere"),
        (["echo", "--from", "client"], 1, "no host client to call from"),
    ],
)
def test_what_cannot_be_called_is_told(invoke: Any, words: list[str], code: int, told: str) -> None:
    done = invoke(*words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert told in done.stderr and "Traceback" not in done.stderr


def test_two_bodies_are_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["invoke", "echo", "a", "--file", "-"]).exit_code == 2


def test_who_calls_is_the_first_host_that_is_neither_node_nor_switch() -> None:
    seen = Status.model_validate(status())
    hosts = {"s1": 5, "edge1": 6, "client": 7, "ctrl": 8}
    assert client_host(hosts, seen, None) == "client"
    assert client_host(hosts, seen, "edge1") == "edge1"
    assert client_host({}, seen, None) is None
    with pytest.raises(InvokeError, match="no host cam to call from; hosts: s1, edge1, client, ctrl"):
        client_host(hosts, seen, "cam")
