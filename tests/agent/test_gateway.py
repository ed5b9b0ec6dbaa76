"""A gateway process with real workers, over loopback UDP and HTTP."""

import json
import os
import re
import select
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from greengrass_agent.measure.queue_page import Page
from hitless.client.blocking import BlockingClient
from hitless.wire.calls import CallError, Endpoint
from hitless.wire.invocation import Message, Reassembler, fragments
from hitless.wire.worker_codec import encode
from hitless.wire.worker_frames import Hello, Ready
from hitless.words import InvocationType
from tests.agent.gateway import SERVICE_ID, Gateway, running_gateway
from tests.patience import PATIENCE, until

FUNCTION = """
import base64, contextlib, json, os, time

HELD = os.path.join(os.path.dirname(__file__), "held")

def lambda_handler(event, context):
    if event["rawPath"] == "/echo":
        return iter(context.body)
    body = base64.b64decode(event["body"]) if event["isBase64Encoded"] else event.get("body", "").encode()
    if body.startswith(b"sleep "):
        time.sleep(float(body.split()[1]))
    while body.startswith(b"held") and os.path.exists(HELD):
        time.sleep(0.005)
    if body == b"die":
        os._exit(3)
    if body == b"die once":
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(os.path.dirname(__file__), "dies"))
            os._exit(3)
    if body == b"pid":
        return os.getpid()
    if body == b"long":
        return (bytes(100_000) for _ in range(50))
    if body == b"raise":
        raise RuntimeError("not today")
    if body == b"configuration":
        return dict(context.configuration)
    if event["rawPath"] == "/teapot":
        return {"statusCode": 418, "headers": {"X-Pot": "short"}, "body": json.dumps(event["requestContext"]["http"])}
    return {"statusCode": 200, "body": base64.b64encode(body[::-1]).decode(), "isBase64Encoded": True}
"""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running_gateway(FUNCTION) as running:
        yield running


def test_udp_serves_on_each_address_and_answers_from_it(gateway: Gateway) -> None:
    gateway.serve()
    picture = bytes(range(256)) * 300
    assert gateway.call(picture).result() == picture[::-1]
    assert gateway.call(b"ab", address="127.0.0.2").result() == b"ba"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        (datagram,) = fragments(Message(InvocationType.REQUEST, SERVICE_ID, 5, 1, b"xy"))
        sock.sendto(datagram, ("127.0.0.2", gateway.port))
        assert sock.recvfrom(2000)[1] == ("127.0.0.2", gateway.port)
    rows = until(lambda: len(gateway.rows()) == 3 and gateway.rows(), "three rows in the log")
    for row in rows:
        assert (row["service"], row["node"], row["status"]) == ("echo", "n1", "200")
        times = [int(row[name]) for name in ("received_ns", "started_ns", "finished_ns")]
        assert times == sorted(times)
        assert 0 <= time.monotonic_ns() - times[0] < 60e9


def test_http_serves_the_same_function(gateway: Gateway) -> None:
    gateway.serve()
    answer = gateway.curl("-i", "-H", "X-Request-Id: 77", "-d", "x=1", path="/teapot?q=1")
    head, body = answer.split("\n\n")
    assert head.startswith("HTTP/1.1 418 ")
    assert "x-hitless-node: n1" in head.lower()
    assert "x-pot: short" in head.lower()
    assert json.loads(body)["method"] == "POST"
    assert gateway.curl("-H", "Content-Type: application/octet-stream", "-d", "abc") == "cba"
    row = until(lambda: gateway.rows() and gateway.rows()[0], "a row in the log")
    assert (row["request_id"], row["status"]) == ("77", "418")


def test_received_counts_what_a_switch_steers_requests_over_udp_and_connections_over_tcp(gateway: Gateway) -> None:
    gateway.serve()
    url = f"http://127.0.0.1:{gateway.port}/"
    assert gateway.curl("-d", "ab", url, url) == "bababa"
    until(lambda: gateway.numbers().received == 1, "one connection with three requests is counted once")
    gateway.curl("-d", "ab")
    for _ in range(3):
        gateway.call(b"ab").result()
    until(lambda: gateway.numbers().received == 5, "each connection and each datagram's request is counted")


def test_a_request_is_executed_once_however_often_it_is_sent(gateway: Gateway) -> None:
    gateway.serve()
    request = fragments(Message(InvocationType.REQUEST, SERVICE_ID, 9, 1, b"held " + b"-" * 3000))
    reassembler = Reassembler()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)

        def receive() -> Message:
            while True:
                data, source = sock.recvfrom(2000)
                message = reassembler.receive(data, source, time.monotonic())
                if message is not None:
                    return message

        with gateway.holding():
            for _ in range(3):
                for fragment in request:
                    sock.sendto(fragment, ("127.0.0.1", gateway.port))
            assert [receive().type for _ in range(2)] == [InvocationType.ACK, InvocationType.ACK]
        answer = receive()
        assert answer.type == InvocationType.RESPONSE
        for fragment in request:
            sock.sendto(fragment, ("127.0.0.1", gateway.port))
        assert receive() == answer
    gateway.call(b"another")
    rows = until(lambda: len(gateway.rows()) > 1 and gateway.rows(), "the row of a request that came after it")
    assert [row["request_id"] for row in rows] == ["1", "1"]
    assert [row["client_id"] for row in rows].count("9") == 1


def test_errors_have_a_status_and_a_reason(gateway: Gateway) -> None:
    gateway.serve()
    answer = gateway.call(b"raise")
    said = json.loads(answer.payload)
    assert (answer.failed, answer.status) == (True, 500)
    assert (said["errorType"], said["errorMessage"]) == ("RuntimeError", "not today")
    with BlockingClient() as client:
        wrong = client.invoke(Endpoint(8, "127.0.0.1", gateway.port), b"x", PATIENCE)
    assert (wrong.failed, wrong.status) == (True, 404)
    assert b"service 8 is not served here" in wrong.payload


def test_a_worker_that_dies_fails_its_request_and_no_other(gateway: Gateway) -> None:
    gateway.serve()
    answer = gateway.call(b"die")
    assert (answer.failed, answer.status) == (True, 502)
    assert gateway.call(b"abc").result() == b"cba", "what comes now waits for the worker that takes its place"


def test_a_request_of_an_idempotent_function_is_executed_again_where_its_worker_died(gateway: Gateway) -> None:
    gateway.configure(idempotent=True)
    gateway.serve()
    (gateway.folder / "dies").touch()
    assert gateway.call(b"die once").result() == b"ecno eid"
    row = until(lambda: gateway.rows() and gateway.rows()[0], "a row in the log")
    assert row["status"] == "200"
    twice = gateway.call(b"die")
    assert twice.status == 502, "once more, and not for ever"


def test_a_full_queue_and_a_passed_deadline_are_said(gateway: Gateway) -> None:
    gateway.configure(timeout_ms=200)
    gateway.take_role(role="host")
    late = gateway.call(b"x")
    assert (late.failed, late.status) == (True, 504)
    gateway.configure(queue_limit=1)
    gateway.take_role(role="host")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(gateway.call, b"x")
        until(lambda: gateway.numbers().queue_depth == 1, "the request waits")
        full = gateway.call(b"y")
        assert (full.failed, full.status) == (True, 503)
        assert gateway.curl("-o", "/dev/null", "-w", "%{http_code}") == "503"
        gateway.serve()
        assert waiting.result().status == 200
    rows = until(lambda: len(gateway.rows()) == 4 and gateway.rows(), "four rows in the log")
    assert [(row["status"], row["started_ns"] == "0") for row in rows] == [
        ("504", True),
        ("503", True),
        ("503", True),
        ("200", False),
    ]


def test_a_configuration_change_reaches_workers_between_requests(gateway: Gateway) -> None:
    gateway.configure(greeting="hello", concurrency=2)
    function = gateway.serve(workers=2)
    assert json.loads(gateway.call(b"configuration").result()) == {"greeting": "hello"}
    assert gateway.numbers().concurrency == 2
    gateway.configure(greeting="bonjour", concurrency=1)
    until(lambda: gateway.numbers().concurrency == 1, "the new concurrency")
    for _ in range(4):
        assert json.loads(gateway.call(b"configuration").result()) == {"greeting": "bonjour"}
    gateway.configure(greeting="bonjour", concurrency=3)
    gateway.hear_until(lambda warm: warm == {1: 3})
    until(lambda: gateway.numbers().concurrency == 3, "workers are added while it serves")
    assert function.poll() is None


def test_a_jump_of_the_queue_wakes_the_emitter(gateway: Gateway) -> None:
    gateway.serve()
    assert gateway.notifications.recv(100) == b"echo", "a worker has come"
    while select.select([gateway.notifications], [], [], 0)[0]:
        gateway.notifications.recv(100)
    with Page(gateway.folder / "page") as page, ThreadPoolExecutor() as pool:
        with gateway.holding():
            calls = [pool.submit(gateway.call, b"held") for _ in range(5)]
            assert gateway.notifications.recv(100) == b"echo"
            assert page.read().queue_depth >= 4
        assert all(call.result().status == 200 for call in calls)


@pytest.mark.parametrize("state", [{"role": "standby"}, {"draining": True}])
def test_open_connections_end_with_their_next_answer_when_the_service_moves(
    gateway: Gateway, state: dict[str, Any]
) -> None:
    gateway.serve()
    with ExitStack() as stack:
        connection = stack.enter_context(closing(HTTPConnection("127.0.0.1", gateway.port, PATIENCE)))
        connection.request("GET", "/")
        with connection.getresponse() as answer:
            assert (answer.status, answer.getheader("Connection")) == (200, None)
            answer.read()
        assert connection.sock is not None
        same = stack.enter_context(connection.sock.dup())
        gateway.take_role(**state)
        connection.request("GET", "/")
        with connection.getresponse() as answer:
            assert (answer.status, answer.getheader("Connection")) == (200, "close")
            answer.read()
        assert same.recv(1) == b"", "closed by the gateway, and no other connection was used"
    gateway.take_role(role="host")
    assert "connection: close" not in gateway.curl("-i").lower()


def test_it_finishes_what_it_has_and_says_so(gateway: Gateway) -> None:
    worker = gateway.serve()
    with ThreadPoolExecutor() as pool:
        with gateway.holding():
            call = pool.submit(gateway.call, b"held")
            until(lambda: gateway.numbers().in_flight == 1, "the request is executed")
            gateway.send(command="finish")
            until(lambda: not gateway.listens(), "no new connection is taken")
            assert gateway.numbers().in_flight == 1
            assert select.select([gateway.process.stdout], [], [], 0.1)[0] == [], "not finished while it is executed"
        assert gateway.hear()["finished"] is True
        assert call.result().status == 200
    assert until(gateway.rows, "its row in the log")[-1]["status"] == "200"
    with pytest.raises(CallError):
        gateway.call(b"late", deadline=0.3)
    assert (worker.poll(), gateway.process.poll()) == (None, None), "the agent ends them, in its own order"


def test_an_answer_too_long_for_datagrams_is_said(gateway: Gateway) -> None:
    gateway.serve()
    answer = gateway.call(b"long")
    assert answer.status == 500 and b"longer than the 4194304 bytes" in answer.payload
    row = until(lambda: gateway.rows() and gateway.rows()[0], "a row in the log")
    assert row["status"] == "500"


def test_a_body_and_an_answer_pass_through_while_they_come(gateway: Gateway) -> None:
    gateway.configure(streamed=True)
    gateway.serve()
    with closing(HTTPConnection("127.0.0.1", gateway.port, PATIENCE)) as connection:
        connection.putrequest("POST", "/echo")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(b"3\r\none\r\n")
        assert connection.sock is not None
        with connection.sock.dup() as same, connection.getresponse() as answer:
            assert answer.read(3) == b"one", "before the rest is sent"
            large = bytes(range(256)) * 40_000
            with ThreadPoolExecutor() as pool:
                sending = pool.submit(same.sendall, b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large))
                assert answer.read() == large
                sending.result()
    row = until(lambda: gateway.rows() and gateway.rows()[0], "a row in the log")
    assert row["status"] == "200"


def test_a_suspended_component_refuses_at_once_and_says_why(gateway: Gateway) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(gateway.call, b"abc")
        until(lambda: gateway.numbers().queue_depth == 1, "the request waits")
        gateway.send(command="suspend", reason="component c is BROKEN")
        answer = waiting.result()
        assert (answer.status, answer.payload) == (503, b"component c is BROKEN")
    assert gateway.call(b"abc").status == 503
    gateway.serve()
    assert gateway.numbers().ready is False
    gateway.send(command="suspend", reason=None)
    assert until(lambda: gateway.numbers().ready, "it takes requests again")
    assert gateway.call(b"abc").result() == b"cba"


def test_an_idle_gateway_sleeps(gateway: Gateway) -> None:
    gateway.serve()
    gateway.call(b"abc")

    def switches() -> int:
        status = Path(f"/proc/{gateway.process.pid}/status").read_text()
        return sum(map(int, re.findall(r"ctxt_switches:\s*(\d+)", status)))

    def woken() -> bool:
        before = switches()
        time.sleep(0.3)
        return switches() - before > 2

    until(lambda: not woken(), "nothing wakes it but its heartbeat, twice a second")


def test_a_request_that_a_leaving_worker_does_not_take_is_lost_to_nobody(gateway: Gateway) -> None:
    with socket.socket(socket.AF_UNIX) as leaving:
        leaving.connect(str(gateway.folder / "workers.sock"))
        leaving.sendall(encode(Hello(os.getpid(), "function.lambda_handler", 1)) + encode(Ready()))
        gateway.hear_until(lambda warm: warm == {1: 1})
        gateway.send(command="serve", launch=1)
        leaving.shutdown(socket.SHUT_RD)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(gateway.call, b"ab")
            until(lambda: gateway.numbers().queue_depth == 1, "the request waits")
            gateway.start_function(1)
            assert answer.result().result() == b"ba"


def test_rubbish_does_no_harm(gateway: Gateway) -> None:
    gateway.serve()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for rubbish in (b"", b"\0" * 41, b"HI" * 30, bytes(fragments(Message(InvocationType.ACK, 7, 1, 1, b""))[0])):
            sock.sendto(rubbish, ("127.0.0.1", gateway.port))
    with socket.socket(socket.AF_UNIX) as worker:
        worker.connect(str(gateway.folder / "workers.sock"))
        worker.sendall(b"GET / HTTP/1.1\r\n\r\n")
        worker.settimeout(PATIENCE)
        assert worker.recv(10) == b""
    assert gateway.call(b"ab").result() == b"ba"


def test_its_end_is_the_end_of_its_input(gateway: Gateway) -> None:
    assert gateway.process.stdin is not None
    gateway.process.stdin.close()
    assert gateway.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("request_", [b"", b"POST / HTTP/1.1\r\nHost: echo\r\nContent-Length: 5\r\n\r\nab"])
def test_a_sigterm_ends_it_in_order(gateway: Gateway, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as client:
        client.sendall(request_)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(PATIENCE) == 0
    assert "Traceback" not in gateway.said()


def test_a_sigterm_before_its_first_command_ends_it_in_order() -> None:
    with running_gateway(FUNCTION, configured=False) as gateway:
        # Python imports for a while, and a SIGTERM ends it as any process then.
        until(lambda: sigterm_is_handled(gateway.process.pid), "it handles SIGTERM")
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(PATIENCE) == 0
        assert "Traceback" not in gateway.said()


def sigterm_is_handled(pid: int) -> bool:
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(caught, 16) >> signal.SIGTERM - 1 & 1)


def test_a_command_that_it_cannot_read_is_told_without_what_was_in_it(gateway: Gateway) -> None:
    gateway.send(command="configure", configuration=["swordfish"], concurrency="open sesame", queue_limit=1)
    assert gateway.process.wait(PATIENCE) == 1
    said = gateway.said()
    assert "command refused: " in said and "configuration: expected" in said
    assert "swordfish" not in said and "open sesame" not in said
    assert "Traceback" not in said
