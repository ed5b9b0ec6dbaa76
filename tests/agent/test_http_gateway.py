"""Bodies and answers in parts through a whole gateway with a worker: from the client to the handler and back."""

import socket
import threading
from contextlib import closing
from http.client import HTTPConnection

from tests.agent.gateway import running_gateway
from tests.patience import PATIENCE, until

MIRROR = """
def lambda_handler(event, context):
    def parts():
        for part in context.body:
            yield bytes(part)
    return {"statusCode": 200, "headers": {"content-type": "application/octet-stream"}, "body": parts()}
"""
TICKS = """
import os, time
HELD = os.path.join(os.path.dirname(__file__), "held")

def lambda_handler(event, context):
    def ticks():
        yield "data: first\\n\\n"
        while os.path.exists(HELD):
            time.sleep(0.005)
        yield "data: last\\n\\n"
    return {"statusCode": 200, "headers": {"content-type": "text/event-stream"}, "body": ticks()}
"""
WRONG = """
def lambda_handler(event, context):
    return {"statusCode": 101, "headers": {"x": "y"}, "body": "no"}
"""
MIB = 1 << 20


def test_a_streamed_body_beyond_any_wall_comes_back_while_it_is_sent() -> None:
    with running_gateway(MIRROR) as gateway:
        gateway.configure(streamed=True)
        gateway.take_role(role="host")
        gateway.serve()
        with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: echo\r\nContent-Length: %d\r\n\r\n" % (24 * MIB))
            client.sendall(b"\xff" * MIB)
            received = 0
            while received < MIB:  # answered before the rest is sent
                received += client.recv(MIB).count(b"\xff")

            def send() -> None:
                for _ in range(23):
                    client.sendall(b"\xff" * MIB)

            sender = threading.Thread(target=send)
            sender.start()
            last = b""
            while data := client.recv(MIB):
                received += data.count(b"\xff")
                last = (last + data)[-16:]
            sender.join()
            assert received == 24 * MIB
            assert last.endswith(b"\r\n0\r\n\r\n")


def test_server_sent_events_go_on_while_the_gateway_finishes() -> None:
    with running_gateway(TICKS) as gateway:
        gateway.serve()
        with closing(HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)) as client:
            with gateway.holding():
                client.request("GET", "/")
                answer = client.getresponse()
                assert answer.readline() == b"data: first\n"
                gateway.send(command="finish")
                until(lambda: not gateway.listens(), "no new connection is taken")
            assert answer.read() == b"\ndata: last\n\n"
        until(lambda: gateway.hear()["finished"], "it has finished")


def test_the_execution_log_says_what_the_client_got() -> None:
    with running_gateway(WRONG) as gateway:
        gateway.serve()
        assert gateway.curl("-o", "/dev/null", "-w", "%{http_code}") == "502"
        row = until(lambda: gateway.rows() and gateway.rows()[0], "a row in the log")
        assert row["status"] == "502"
