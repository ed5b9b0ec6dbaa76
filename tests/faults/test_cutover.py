"""A function that is replaced under load, over HTTP with keep-alive and over UDP: no request fails, none runs twice."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection

from hitless.client.blocking import BlockingClient
from hitless.wire.calls import Endpoint
from tests.agent.gateway import SERVICE_ID, Gateway, running_gateway
from tests.patience import PATIENCE, until

LAUNCHES = 12
FUNCTION = """
import os

def lambda_handler(event, context):
    return os.environ["HITLESS_LAUNCH"]
"""


def over_http(gateway: Gateway, over: threading.Event, client: int) -> list[int]:
    """Requests on one connection; the launches that answered them."""
    launches = []
    with closing(HTTPConnection("127.0.0.1", gateway.port, PATIENCE)) as connection:
        while not over.is_set():
            connection.request("GET", "/", headers={"X-Client-Id": str(client), "X-Request-Id": str(len(launches) + 1)})
            with connection.getresponse() as answer:
                body = answer.read()
                assert (answer.status, answer.getheader("Connection")) == (200, None), body
            launches.append(int(body))
    return launches


def over_udp(gateway: Gateway, over: threading.Event) -> list[int]:
    """The same with the client library."""
    launches = []
    endpoint = Endpoint(SERVICE_ID, "127.0.0.1", gateway.port)
    with BlockingClient() as client:
        while not over.is_set():
            launches.append(int(client.invoke(endpoint, b"x", PATIENCE).result()))
    return launches


@contextmanager
def load(gateway: Gateway) -> Iterator[list[Future[list[int]]]]:
    """Two clients of each kind through the block."""
    over = threading.Event()
    with ThreadPoolExecutor() as pool:
        clients = [pool.submit(over_http, gateway, over, 1_000_000 + number) for number in range(2)]
        clients += [pool.submit(over_udp, gateway, over) for _ in range(2)]
        try:
            yield clients
        finally:
            over.set()


def test_launches_take_over_from_one_another_under_load() -> None:
    with running_gateway(FUNCTION) as gateway:
        gateway.configure(concurrency=2, queue_limit=64)
        before = gateway.serve(1, workers=2)
        with load(gateway) as clients:
            for number in range(2, LAUNCHES + 2):
                function = gateway.launch(number, workers=2)
                gateway.send(command="serve", launch=number)
                assert before.wait(PATIENCE) == 0, "the old one leaves by itself"
                before = function
            assert not any(client.done() for client in clients), "none has failed"
        answered = [client.result() for client in clients]
        for launches in answered:
            assert launches == sorted(launches), "no old worker gets new work"
            assert len(set(launches)) > LAUNCHES // 2
        total = sum(map(len, answered))
        rows = until(lambda: len(gateway.rows()) >= total and gateway.rows(), "all are logged")
    executed = Counter((row["client_id"], row["request_id"]) for row in rows)
    assert len(executed) == total and set(executed.values()) == {1}
    assert {row["status"] for row in rows} == {"200"}
