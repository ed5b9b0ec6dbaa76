"""A worker's death costs its own request: its siblings, the gateway and the component go on."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agent.gateway import Gateway, running_gateway
from tests.patience import PATIENCE, until

FUNCTION = """
import base64, ctypes, os, sys, time

HELD = os.path.join(os.path.dirname(__file__), "held")

def lambda_handler(event, context):
    body = base64.b64decode(event.get("body", "")) if event["isBase64Encoded"] else event.get("body", "").encode()
    while body.startswith(b"held") and os.path.exists(HELD):
        time.sleep(0.005)
    if body == b"exit":
        os._exit(0)
    if body == b"fault":
        ctypes.string_at(0)
    if body == b"stuck":
        time.sleep(1000)
    if body == b"orphan":
        if os.fork() == 0:
            time.sleep(3)
            os._exit(0)
        os._exit(1)
    if body == b"long":
        return "x" * (100 * 1024 * 1024)
    if body == b"pid":
        return os.getpid()
    return body[::-1].decode()
"""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running_gateway(FUNCTION) as running:
        running.configure(concurrency=2, timeout_ms=1000)
        yield running


def worker_of(function: int) -> int:
    """Process of the only worker."""
    (worker,) = Path(f"/proc/{function}/task/{function}/children").read_text().split()
    return int(worker)


@contextmanager
def load(gateway: Gateway) -> Iterator[None]:
    """Calls that come one after the other through the block, each of which must be answered."""
    begun, over = threading.Event(), threading.Event()

    def call() -> None:
        while not over.is_set():
            assert gateway.call(b"abc").result() == b"cba"
            begun.set()

    with ThreadPoolExecutor() as pool:
        calls = pool.submit(call)
        try:
            assert begun.wait(PATIENCE)
            yield
        finally:
            over.set()
        calls.result(PATIENCE)


@pytest.mark.parametrize(
    ("request_", "status", "times"),
    [(b"exit", 502, 2), (b"fault", 502, 2), (b"orphan", 502, 2), (b"stuck", 504, 1), (b"long", 500, 2)],
)
def test_it_costs_one_request_and_the_sibling_notices_nothing(
    gateway: Gateway, request_: bytes, status: int, times: int
) -> None:
    function = gateway.serve(workers=2)
    with load(gateway):
        for _ in range(times):
            assert gateway.call(request_).status == status
        until(lambda: gateway.numbers().concurrency == 2, "the worker has been replaced")
    assert function.poll() is None
    rows = until(
        lambda: [row for row in gateway.rows() if row["status"] != "200"][times - 1 :] and gateway.rows(),
        "all are logged",
    )
    assert [row["status"] for row in rows if row["status"] != "200"] == [str(status)] * times


def test_a_function_that_dies_without_having_been_asked_gives_up(gateway: Gateway) -> None:
    gateway.configure(concurrency=1)
    function = gateway.launch()
    for again in range(3):
        worker = worker_of(function.pid)
        os.kill(worker, signal.SIGKILL)
        gateway.hear_until(lambda warm: warm == {})
        if again < 2:
            gateway.hear_until(lambda warm: warm == {1: 1})
    assert function.wait(PATIENCE) != 0, "its component's error"
    assert "3 workers in a row ended" in gateway.said()
    until(lambda: not gateway.numbers().ready, "the report says not ready")


def test_workers_come_back_to_a_gateway_that_was_killed(gateway: Gateway) -> None:
    function = gateway.serve(workers=2)
    before = {gateway.answering for _ in range(20)}
    gateway.process.send_signal(signal.SIGKILL)
    gateway.process.wait(PATIENCE)
    gateway.start_again()
    gateway.configure(concurrency=2)
    gateway.send(command="serve", launch=1)
    gateway.hear_until(lambda warm: warm == {1: 2})
    assert gateway.answering in before, "the same workers"
    assert function.poll() is None


def test_a_supervisor_that_is_killed_takes_its_workers_along(gateway: Gateway) -> None:
    function = gateway.serve(workers=2)
    worker = gateway.answering
    os.kill(function.pid, signal.SIGKILL)
    gateway.hear_until(lambda warm: warm == {})
    function.wait(PATIENCE)
    until(lambda: not Path(f"/proc/{worker}").exists(), "no worker is left behind")
