"""The function runtime as a process of its own, over the gateway's Unix socket."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hitless.wire.worker_frames import HttpHead, Request, Response, Shutdown
from tests.hitless.gateway import Runtime, runtime, start
from tests.hitless.peer import Peer
from tests.patience import PATIENCE
from tests.ports import free_port

HANDLER = """
import base64, os, pathlib, sys, time
from hitless.function import invoke

def lambda_handler(event, context):
    what = base64.b64decode(event["body"]).decode() if "body" in event else event["rawPath"]
    if what == "raise":
        raise KeyError("nothing here")
    if what == "exit":
        sys.exit("bye")
    if what == "die":
        os._exit(7)
    if what == "unjson":
        return object()
    if what.startswith("meet "):
        folder, others = pathlib.Path(what[5:]), 3
        (folder / str(os.getpid())).touch()
        end = time.monotonic() + 20
        while len(list(folder.iterdir())) < others and time.monotonic() < end:
            time.sleep(0.005)
        return len(list(folder.iterdir()))
    if what == "slow":
        time.sleep(0.5)
        return "slept"
    if what.startswith("call"):
        response = invoke("up", what.encode(), timeout=20.0)
        return {"statusCode": response.status, "body": response.payload.decode(), "headers": {}}
    return {
        "what": what,
        "configuration": dict(context.configuration),
        "name": context.function_name,
        "id": context.aws_request_id,
        "left": context.get_remaining_time_in_millis(),
        "pid": os.getpid(),
    }
"""


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    (folder / "fn.py").write_text(HANDLER)
    return folder


@pytest.fixture
def running(artifacts: Path, tmp_path: Path) -> Iterator[Runtime]:
    with runtime("fn.lambda_handler", artifacts, tmp_path) as started:
        yield started


def test_request_and_context(running: Runtime) -> None:
    worker = running.worker
    assert worker.hello.pid == running.process.pid and worker.hello.handler == "fn.lambda_handler"
    worker.configure(size=3)
    before = time.monotonic_ns()
    response = worker.call(b"hello", deadline_ms=400_000, request_id=0xABC)
    assert response.status == 200
    assert before <= response.started_ns <= response.finished_ns <= time.monotonic_ns()
    seen = json.loads(response.body)
    assert seen["what"] == "hello" and seen["configuration"] == {"size": 3} and seen["name"] == "org.Test"
    assert seen["id"] == "00000000-0000-002a-0000-000000000abc"
    assert 300_000 < seen["left"] <= 400_000


def test_http_request(running: Runtime) -> None:
    response = running.worker.call(http=HttpHead("GET", "/path"))
    assert json.loads(response.body)["what"] == "/path"
    assert response.headers == {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("what", "status", "body"),
    [
        (b"raise", 500, b"KeyError: 'nothing here'"),
        (b"exit", 500, b"SystemExit: bye"),
        (b"unjson", 500, b"HandlerError: handler returned a object, which is not JSON"),
        (b"call", 500, b"UnknownEndpoint: the component's configuration has no endpoints.up"),
    ],
)
def test_a_failing_handler_is_answered_and_the_worker_lives(
    running: Runtime, what: bytes, status: int, body: bytes
) -> None:
    response = running.worker.call(what)
    assert response.status == status and response.body.startswith(body)
    assert json.loads(running.worker.call(b"alive").body)["pid"] == running.process.pid


def test_requests_are_taken_in_order_and_configuration_changes_between_them(running: Runtime) -> None:
    worker = running.worker
    worker.configure(version=1)
    sent = [worker.request(b"slow"), worker.request(b"a")]
    worker.configure(version=2)
    sent.append(worker.request(b"b"))
    received = [worker.receive() for _ in sent]
    assert [response.id for response in received if isinstance(response, Response)] == [one.id for one in sent]
    bodies = [response.body for response in received if isinstance(response, Response)]
    assert bodies[0] == b"slept"
    seen = [json.loads(body) for body in bodies[1:]]
    assert [one["configuration"] for one in seen] == [{"version": 1}, {"version": 2}]
    assert seen[0]["pid"] == seen[1]["pid"] == running.process.pid


def test_upstream_calls_carry_the_parent_and_follow_the_configuration(running: Runtime) -> None:
    worker = running.worker
    with Peer(service_id=9) as old, Peer(lambda request: request.answer(418, b"new"), service_id=9) as new:
        for peer in (old, new):
            address, port = peer.address
            worker.configure(endpoints={"up": {"address": address, "port": port, "service_id": 9, "protocol": "udp"}})
            worker.call(b"call" + bytes([65 + (peer is new)]) * 3000, request_id=500 + (peer is new))
        assert [(one.service_id, one.parent_id, len(one.payload)) for one in old.executed] == [(9, 500, 3004)]
        assert [(one.service_id, one.parent_id) for one in new.executed] == [(9, 501)]
        assert old.executed[0].client_id == new.executed[0].client_id
        assert worker.call(b"call").status == 418


def test_an_upstream_call_never_outlasts_the_client(running: Runtime) -> None:
    endpoint = {"address": "127.0.0.1", "port": free_port(), "service_id": 9}
    running.worker.configure(endpoints={"up": endpoint})
    before = time.monotonic()
    response = running.worker.call(b"call", deadline_ms=300)
    assert response.status == 500 and response.body.startswith(b"DeadlineExceeded")
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("how", ["shutdown", "sigterm"])
def test_requests_that_were_sent_are_finished(running: Runtime, how: str) -> None:
    worker = running.worker
    sent = [worker.request(b"slow")]
    time.sleep(0.2)
    sent.append(worker.request(b"slow"))  # waits in the socket while the first one runs
    if how == "shutdown":
        worker.send(Shutdown())
    else:
        running.process.send_signal(signal.SIGTERM)
    for request in sent:
        response = worker.receive()
        assert isinstance(response, Response) and response.id == request.id and response.body == b"slept"
    assert worker.receive() is None
    assert running.end() == (0, "")


def test_sigterm_when_idle(running: Runtime) -> None:
    running.worker.call(b"x")
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == (0, "")


def test_losing_the_gateway_ends_it(running: Runtime) -> None:
    running.worker.socket.close()
    code, errors = running.end()
    assert code == 1 and "gateway closed the connection" in errors


def test_several_workers(artifacts: Path, tmp_path: Path) -> None:
    with runtime("fn.lambda_handler", artifacts, tmp_path, workers=3) as running:
        assert len({worker.hello.pid for worker in running.workers} | {running.process.pid}) == 4
        meeting = tmp_path / "meeting"
        meeting.mkdir()
        for worker in running.workers:
            worker.request(b"meet " + str(meeting).encode())
        for worker in running.workers:
            response = worker.receive()
            assert isinstance(response, Response) and response.body == b"3", "they work at the same time"
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0


def test_one_worker_that_dies_ends_all(artifacts: Path, tmp_path: Path) -> None:
    with runtime("fn.lambda_handler", artifacts, tmp_path, workers=2) as running:
        first, second = running.workers
        first.send(Request(1, 1, 1, 0, 1000, b"die"))
        assert first.receive() is None
        assert second.receive() is None
        assert running.end()[0] == 7


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [("fn.nothing", "has no function nothing"), ("other.f", "no module other"), ("fn", "expected module.function")],
)
def test_a_handler_that_is_not_there(artifacts: Path, tmp_path: Path, handler: str, complaint: str) -> None:
    process = start(handler, artifacts, tmp_path / "none.sock")
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and complaint in errors and "Traceback" not in errors


def test_no_gateway(artifacts: Path, tmp_path: Path) -> None:
    process = start("fn.lambda_handler", artifacts, tmp_path / "none.sock")
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "none.sock" in errors and "Traceback" not in errors
    environment = {name: value for name, value in os.environ.items() if name != "HITLESS_GATEWAY"}
    done = subprocess.run(
        [sys.executable, "-m", "hitless.function", "--handler", "fn.f", "--artifacts", str(artifacts)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1 and "HITLESS_GATEWAY is not set" in done.stderr


def test_invoke_outside_a_handler() -> None:
    from hitless.function import invoke

    with pytest.raises(RuntimeError, match="while a handler runs"):
        invoke("up", b"")
