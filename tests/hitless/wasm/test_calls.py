"""A WebAssembly function behind a gateway's socket: what it is sent, what it answers, what it costs to go wrong."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hitless.wire.worker_frames import (
    WHOLE,
    Body,
    Configure,
    HttpHead,
    Invoked,
    Request,
    Response,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    Shutdown,
)
from tests.hitless.gateway import Runtime, deadline_ns
from tests.hitless.wasm.modules import COMMAND, ECHO, HOSTILE, running

BINARY = {"content-type": "application/octet-stream"}


def test_a_reactor_has_an_instance_of_its_own_for_each_call(tmp_path: Path) -> None:
    with running(tmp_path, ECHO) as runtime:
        worker = runtime.worker
        assert (worker.hello.handler, worker.hello.launch) == ("function.wasm", 3)
        for payload in (b"", b"one", bytes(range(256)) * 200):
            before = time.monotonic_ns()
            answer = worker.call(payload)
            assert (answer.status, answer.body, answer.headers) == (200, b"1" + payload, BINARY)
            assert before <= answer.started_ns <= answer.finished_ns <= time.monotonic_ns()


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with running(tmp_path_factory.mktemp("command"), COMMAND) as runtime:
        yield runtime


def test_a_command_reads_its_request_and_writes_its_answer(command: Runtime) -> None:
    assert command.worker.call(b"hello").body == b"hello"
    failed = command.worker.call(b"!no")
    said = json.loads(failed.body)
    assert (failed.status, said["errorMessage"], said["errorType"]) == (500, "exit with 3", "Wasm.Exit")
    assert command.worker.call(b"again").body == b"again"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with running(tmp_path_factory.mktemp("hostile"), HOSTILE, "--memory-mb", "8") as runtime:
        yield runtime


@pytest.mark.parametrize(
    ("payload", "kind", "words"),
    [
        (b"grow", "Wasm.Trap", "unreachable"),
        (b"recurse", "Wasm.Trap", "call stack exhausted"),
        (b"out of bounds", "Wasm.Trap", "out of bounds"),
        (b"answer with what it has not", "Wasm.Error", "out of its memory"),
    ],
)
def test_what_goes_wrong_costs_its_own_call(hostile: Runtime, payload: bytes, kind: str, words: str) -> None:
    worker = hostile.worker
    for _ in range(2):
        failed = worker.call(payload)
        said = json.loads(failed.body)
        assert (failed.status, said["errorType"]) == (500, kind) and words in said["errorMessage"]
        assert worker.call(b"fine").body == b"fine"
    assert hostile.process.poll() is None


def test_a_loop_is_stopped_when_nobody_waits_any_more(hostile: Runtime) -> None:
    worker = hostile.worker
    for _ in range(3):
        request = worker.request(b"loop", deadline_ms=30)
        answer = worker.receive()
        assert isinstance(answer, Response) and answer.status == 504
        assert answer.finished_ns >= request.deadline_ns
        assert json.loads(answer.body)["errorType"] == "Wasm.TimedOut"
        assert worker.call(b"fine").body == b"fine"


REQUEST = """(module
  (import "hitless" "get" (func $get (param i32 i32 i32) (result i32)))
  (import "hitless" "status" (func $status (param i32)))
  (import "hitless" "field" (func $field (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "X-Kind")
  (data (i32.const 8) "teapot")
  (func (export "allocate") (param i32) (result i32) i32.const 60000)
  (func (export "handle") (param i32 i32) (result i64)
    (local $head i32)
    (call $status (i32.const 418))
    (call $field (i32.const 0) (i32.const 6) (i32.const 8) (i32.const 6))
    (local.set $head (call $get (i32.const 0) (i32.const 1024) (i32.const 4096)))
    (i64.or (i64.const 4398046511104) (i64.extend_i32_u (i32.add (local.get $head)
      (call $get (i32.const 1) (i32.add (i32.const 1024) (local.get $head)) (i32.const 4096)))))))"""


def test_a_function_sees_head_and_configuration_and_says_status_and_fields(tmp_path: Path) -> None:
    with running(tmp_path, REQUEST) as runtime:
        runtime.worker.send(Configure({"longest": 5}))
        head = HttpHead("PUT", "/a%20b", "q=1", {"x-one": "1", "x-two": "zwei"}, "10.0.0.9")
        answer = runtime.worker.call(b"ignored", http=head)
        assert (answer.status, answer.headers) == (418, {"x-kind": "teapot", **BINARY})
        assert answer.body == b'PUT\n/a%20b\nq=1\n10.0.0.9\nx-one\n1\nx-two\nzwei{"longest": 5}'
        assert runtime.worker.call(b"").body == b'{"longest": 5}'


def test_an_invocation_is_answered_as_lambda_does(command: Runtime) -> None:
    answer = command.worker.call(b'{"a": 1}', invoked=Invoked("id", version="1.2.3"))
    assert (answer.status, answer.body) == (200, b'{"a": 1}')
    assert answer.headers == {"content-type": "application/json", "x-amz-executed-version": "1.2.3"}
    other = command.worker.call(b"{}", invoked=Invoked("id", version="9.0.0"))
    assert other.status == 404 and json.loads(other.body)["Message"] == "org.Test has version 1.2.3 here, not 9.0.0"


LARGE = """(module
  (memory (export "memory") 300)
  (func (export "allocate") (param i32) (result i32) i32.const 1024)
  (func (export "handle") (param $at i32) (param $size i32) (result i64)
    (i64.or (i64.const 4398046511104) (i64.const 16777217))))"""
"""Answers with a byte more than goes in one frame."""


def test_a_large_answer_goes_in_parts_and_a_streamed_body_comes_in_parts(tmp_path: Path) -> None:
    with running(tmp_path, LARGE) as runtime:
        worker = runtime.worker
        worker.send(Request(7, 1, 1, 0, deadline_ns(), None))
        for data in (b"begin ", b"", b"end"):
            worker.send(Body(7, data == b"end", data))
        head = worker.receive()
        assert isinstance(head, ResponseHead)
        assert (head.id, head.status, head.headers["content-length"]) == (7, 200, str(WHOLE + 1))
        parts = []
        while isinstance(part := worker.receive(), ResponseBody):
            parts.append(part.data)
        assert isinstance(part, ResponseEnd) and (part.id, part.failure) == (7, "")
        answer = b"".join(parts)
        assert len(answer) == WHOLE + 1 and answer.startswith(b"begin end\0")


def test_what_was_sent_is_answered_before_it_leaves(tmp_path: Path) -> None:
    with running(tmp_path, ECHO) as runtime:
        worker = runtime.worker
        requests = [worker.request(b"%d" % one) for one in range(5)]
        worker.send(Shutdown())
        assert [worker.receive() for _ in requests] != [None] * 5
        assert worker.receive() is None
        # Another takes its place, and goes with its supervisor.
        second = runtime.warm_worker()
        runtime.process.send_signal(signal.SIGTERM)
        assert second.receive() is None
        assert runtime.end()[0] == 0


def test_a_gateway_that_comes_back_finds_the_worker_again(tmp_path: Path) -> None:
    with running(tmp_path, ECHO) as runtime:
        pid = runtime.worker.hello.pid
        runtime.worker.socket.close()
        runtime.connections.remove(runtime.worker)
        again = runtime.warm_worker()
        assert again.hello.pid == pid and again.call(b"x").body == b"1x"
