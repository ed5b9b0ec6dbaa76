"""The function runtime as a process of its own, over the gateway's Unix socket."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hitless.wire.worker_frames import (
    PART,
    WHOLE,
    Body,
    Cancel,
    End,
    Hello,
    HttpHead,
    Ready,
    Request,
    Response,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    Shutdown,
    Workers,
)
from tests.hitless.gateway import Runtime, deadline_ns, listening, runtime, start
from tests.hitless.peer import Peer
from tests.patience import PATIENCE
from tests.ports import free_port

HANDLER = """
import atexit, base64, concurrent.futures, io, os, pathlib, sys, time
from hitless.function import invoke

def broken(what):
    if what == "broken parts":
        yield "one"
    raise RuntimeError("half way")

def endless(marker):
    try:
        while True:
            yield b"x" * 1000
            time.sleep(0.001)
    finally:
        marker.touch()

def lambda_handler(event, context):
    if context.body is not None:
        return iter(context.body) if event["rawPath"] == "/echo" else "unread"
    what = base64.b64decode(event["body"]).decode() if "body" in event else event["rawPath"]
    if what == "raise":
        raise KeyError("nothing here")
    if what == "exit":
        sys.exit("bye")
    if what == "die":
        os._exit(7)
    if what == "fault":
        import ctypes
        ctypes.string_at(0)
    if what == "hang":
        time.sleep(1000)
    if what == "fork":
        os.fork()
        return os.getpid()
    if what == "fork parts":
        return (str(os.fork()) for _ in range(1))
    if what == "huge":
        return "x" * (16 * 1024 * 1024 + 1)
    if what.startswith("touch "):
        pathlib.Path(what[6:]).touch()
    if what.startswith("at the end "):
        atexit.register(pathlib.Path(what[11:] + "/atexit").touch)
        pool = concurrent.futures.ThreadPoolExecutor()
        pool.submit(pathlib.Path(what[11:] + "/thread").touch)
        print("bye", end="", file=sys.stderr)
    if what == "parts":
        return {"statusCode": 201, "headers": {"X-A": "1"}, "body": iter([b"one ", "zwölf"])}
    if what == "file":
        return io.BytesIO(bytes(1_000_000))
    if what.startswith("broken"):
        return broken(what)
    if what.startswith("endless "):
        return endless(pathlib.Path(what[8:]))
    if what.startswith("illegal"):
        return {"statusCode": 200, "headers": {"X-A": "1\\r\\nSet-Cookie: a=b"}}
    if what == "interrupt":
        raise KeyboardInterrupt("now")
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
    assert (worker.hello.handler, worker.hello.launch) == ("fn.lambda_handler", 3)
    assert running.supervisor.hello.pid == running.process.pid != worker.hello.pid
    worker.configure(size=3)
    before = time.monotonic_ns()
    response = worker.call(b"hello", deadline_ms=400_000, request_id=0xABC)
    assert response.status == 200
    assert before <= response.started_ns <= response.finished_ns <= time.monotonic_ns()
    seen = json.loads(response.body)
    assert seen["what"] == "hello" and seen["configuration"] == {"size": 3} and seen["name"] == "org.Test"
    assert 300_000 < seen["left"] <= 400_000


def test_http_request(running: Runtime) -> None:
    response = running.worker.call(http=HttpHead("GET", "/path"))
    assert json.loads(response.body)["what"] == "/path"
    assert response.headers == {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("what", "status", "error"),
    [
        (b"raise", 500, ("KeyError", "'nothing here'")),
        (b"exit", 500, ("SystemExit", "bye")),
        (b"interrupt", 500, ("KeyboardInterrupt", "now")),
        (b"illegal", 502, ("IllegalAnswer", "handler returned header X-A")),
        (b"unjson", 500, ("Runtime.MarshalError", "Unable to marshal response: Object of type object is not")),
        (b"call", 500, ("UnknownEndpoint", "the component's configuration has no endpoints.up")),
    ],
)
def test_a_failing_handler_is_answered_and_the_worker_lives(
    running: Runtime, what: bytes, status: int, error: tuple[str, str]
) -> None:
    response = running.worker.call(what)
    said = json.loads(response.body)
    assert (response.status, said["errorType"]) == (status, error[0]) and said["errorMessage"].startswith(error[1])
    assert response.headers == {"content-type": "application/json"} and uuid.UUID(said["requestId"])
    assert json.loads(running.worker.call(b"alive").body)["pid"] == running.worker.hello.pid


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
    assert seen[0]["pid"] == seen[1]["pid"] == running.worker.hello.pid


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
    response = running.worker.call(b"call", deadline_ms=300)
    assert response.status == 500 and json.loads(response.body)["errorType"] == "DeadlineExceeded"
    (waited,) = re.findall(rb"within ([0-9.e-]+) s", response.body)
    assert float(waited) <= 0.3, "of the 20 s that the function would wait"


@pytest.mark.parametrize("how", ["shutdown", "sigterm"])
def test_requests_that_were_sent_are_finished(running: Runtime, how: str) -> None:
    worker = running.worker
    sent = [worker.request(b"slow")]
    time.sleep(0.2)
    sent.append(worker.request(b"slow"))  # waits in the socket while the first one runs
    if how == "shutdown":
        worker.send(Shutdown())
        running.supervisor.send(Shutdown())
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


def test_what_a_handler_left_for_the_end_is_done(running: Runtime, tmp_path: Path) -> None:
    running.worker.call(f"at the end {tmp_path}".encode())
    running.worker.send(Shutdown())
    running.supervisor.send(Shutdown())
    assert running.end() == (0, "bye")
    assert (tmp_path / "atexit").exists() and (tmp_path / "thread").exists()


def test_a_gateway_that_is_lost_is_found_again(running: Runtime) -> None:
    before = json.loads(running.worker.call(b"x").body)["pid"]
    for connection in running.connections:
        connection.socket.close()
    running.connections.clear()
    running.accept(2)
    assert running.supervisor.hello.pid == running.process.pid
    running.worker.warm()
    assert json.loads(running.worker.call(b"x").body)["pid"] == before, "nothing was started anew"
    running.process.terminate()
    assert running.end()[0] == 0


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


@pytest.mark.parametrize("death", [b"die", b"fault"])
def test_a_worker_that_dies_is_replaced_and_its_sibling_notices_nothing(
    artifacts: Path, tmp_path: Path, death: bytes
) -> None:
    with runtime("fn.lambda_handler", artifacts, tmp_path, workers=2) as running:
        first, second = running.workers
        for _ in range(3):
            first.request(death)
            assert first.receive() is None
            assert second.call(b"alive").status == 200
            first = running.warm_worker()
        assert first.call(b"alive").status == 200
        running.process.terminate()
        code, errors = running.end()
        assert code == 0 and "starting another" in errors


def test_a_function_whose_workers_die_without_having_been_asked_gives_up(artifacts: Path, tmp_path: Path) -> None:
    with runtime("fn.lambda_handler", artifacts, tmp_path) as running:
        worker = running.worker
        for again in range(3):
            os.kill(worker.hello.pid, signal.SIGKILL)
            assert worker.receive() is None
            if again < 2:
                worker = running.warm_worker()
        code, errors = running.end()
        assert code == 128 + signal.SIGKILL and "3 workers in a row ended" in errors and "Traceback" not in errors


def test_requests_that_kill_their_workers_cost_themselves_however_often(running: Runtime) -> None:
    worker = running.worker
    for _ in range(5):
        worker.request(b"die")
        assert worker.receive() is None
        worker = running.warm_worker()
    assert worker.call(b"alive").status == 200


def test_the_gateway_says_how_many_workers_there_are(running: Runtime) -> None:
    running.supervisor.send(Workers(2))
    second = running.warm_worker()
    running.supervisor.send(Workers(1))
    second.send(Shutdown())
    assert second.receive() is None
    running.supervisor.send(Workers(2))
    assert running.warm_worker().call(b"alive").status == 200


def test_a_worker_that_is_stuck_is_killed_and_that_does_not_count(running: Runtime) -> None:
    worker = running.worker
    for _ in range(4):
        worker.request(b"hang")
        running.supervisor.send(End(worker.hello.pid))
        assert worker.receive() is None
        worker = running.warm_worker()
    assert worker.call(b"alive").status == 200


def test_workers_die_with_their_supervisor(running: Runtime) -> None:
    running.worker.request(b"hang")
    running.process.kill()
    assert running.worker.receive() is None


def test_a_worker_says_ready_when_its_warm_up_is_done(artifacts: Path, tmp_path: Path) -> None:
    with listening(tmp_path / "sock") as listener:
        running = Runtime(start("fn.lambda_handler", artifacts, tmp_path / "sock"), listener)
        running.accept(2)
        marker = tmp_path / "warm"
        running.worker.configure(warm_up={"rawPath": f"touch {marker}"})
        assert isinstance(running.worker.receive(), Ready) and marker.exists()
        running.process.terminate()
        assert running.end()[0] == 0


def test_an_answer_in_parts(running: Runtime) -> None:
    request = running.worker.request(b"parts", http=HttpHead("GET", "/"))
    head = running.worker.receive()
    assert isinstance(head, ResponseHead) and (head.status, head.headers["x-a"]) == (201, "1")
    assert [running.worker.receive() for _ in range(2)] == [
        ResponseBody(request.id, b"one "),
        ResponseBody(request.id, "zw\u00f6lf".encode()),
    ]
    end = running.worker.receive()
    assert isinstance(end, ResponseEnd) and end.failure == ""
    assert running.worker.call(b"alive").status == 200


def test_a_file_goes_out_in_parts(running: Runtime) -> None:
    request = running.worker.request(b"file")
    assert isinstance(running.worker.receive(), ResponseHead)
    size = 0
    while isinstance(frame := running.worker.receive(), ResponseBody):
        assert frame.id == request.id and len(frame.data) <= PART
        size += len(frame.data)
    assert isinstance(frame, ResponseEnd) and size == 1_000_000


def test_an_answer_that_fails_half_way_says_so(running: Runtime) -> None:
    running.worker.request(b"broken parts")
    frames = [running.worker.receive() for _ in range(3)]
    assert isinstance(frames[2], ResponseEnd) and frames[2].failure == "RuntimeError: half way"
    assert running.worker.call(b"broken at once").status == 500
    assert running.worker.call(b"alive").status == 200


def test_a_cancelled_answer_ends_its_generator(running: Runtime, tmp_path: Path) -> None:
    marker = tmp_path / "closed"
    request = running.worker.request(b"endless " + str(marker).encode())
    running.worker.receive()
    running.worker.send(Cancel(request.id))
    while isinstance(frame := running.worker.receive(), ResponseBody):
        pass
    assert isinstance(frame, ResponseEnd) and marker.exists()
    assert running.worker.call(b"alive").status == 200


def test_a_body_is_read_as_it_comes(running: Runtime) -> None:
    worker = running.worker
    worker.configure(streamed=True)
    worker.send(Request(50, 1, 1, 0, deadline_ns(), None, HttpHead("POST", "/echo")))
    for part in (b"one", b"two"):
        worker.send(Body(50, False, part))
        if part == b"one":
            assert isinstance(worker.receive(), ResponseHead)
        assert worker.receive() == ResponseBody(50, part), "before the rest is sent"
    worker.send(Body(50, True, b""))
    assert isinstance(worker.receive(), ResponseEnd)
    worker.send(Request(51, 1, 1, 0, deadline_ns(), b"whole", HttpHead("POST", "/echo")))
    assert [type(worker.receive()) for _ in range(3)] == [ResponseHead, ResponseBody, ResponseEnd]
    worker.send(Request(52, 1, 1, 0, deadline_ns(), None, HttpHead("POST", "/unread")))
    assert isinstance(worker.receive(), Response)
    worker.send(Body(52, True, bytes(1000)))
    worker.send(Request(53, 1, 1, 0, deadline_ns(), None, HttpHead("POST", "/echo")))
    worker.send(Cancel(53))
    gone = worker.receive()
    assert isinstance(gone, Response) and json.loads(gone.body)["errorType"] == "ConnectionAbortedError"


@pytest.mark.parametrize("what", [b"fork", b"fork parts"])
def test_a_handler_that_forks_and_comes_back_twice_answers_once(running: Runtime, what: bytes) -> None:
    worker = running.worker
    first = worker.request(what)
    frames = [worker.receive()] if what == b"fork" else [worker.receive() for _ in range(3)]
    assert {frame.id for frame in frames if not isinstance(frame, Hello | None)} == {first.id}  # type: ignore[union-attr]
    assert worker.call(b"alive").status == 200, "and not a second answer to the first"


def test_a_result_too_long_for_a_frame_goes_in_parts(running: Runtime) -> None:
    request = running.worker.request(b"huge")
    head = running.worker.receive()
    assert isinstance(head, ResponseHead) and head.id == request.id
    size = 0
    while isinstance(frame := running.worker.receive(), ResponseBody):
        size += len(frame.data)
    assert isinstance(frame, ResponseEnd) and size == WHOLE + 1


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [("fn.nothing", "has no function nothing"), ("other.f", "no module other"), ("fn", "expected module.function")],
)
def test_a_handler_that_is_not_there(artifacts: Path, tmp_path: Path, handler: str, complaint: str) -> None:
    with listening(tmp_path / "sock"):
        process = start(handler, artifacts, tmp_path / "sock")
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
