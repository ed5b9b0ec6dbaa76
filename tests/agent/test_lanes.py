"""The lanes of a served address: who shares one, and what one may bring for nothing."""

import os
import signal
import socket
import time
from collections import Counter

import pytest

from greengrass_agent.gateway.lanes import (
    COMMON_BURST,
    COMMON_RATE,
    LANES,
    OWN_BURST,
    OWN_RATE,
    Lane,
    common_allowance,
    open_lanes,
)
from hitless.wire.invocation import Message, decode_header, fragments
from hitless.words import InvocationType
from tests.agent.gateway import SERVICE_ID, running_gateway
from tests.patience import PATIENCE

REQUEST = Message(InvocationType.REQUEST, SERVICE_ID, 5, 1, b"x")


def client(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.settimeout(PATIENCE)
    return sock


def test_a_client_keeps_its_lane_and_clients_are_spread() -> None:
    lanes = open_lanes("127.0.0.1", 0, common_allowance())
    to = lanes[0].sock.getsockname()
    clients = [f"127.0.1.{number}" for number in range(1, 201)]
    try:
        for _ in range(2):  # from another port the second time
            for address in clients:
                with client(address) as sock:
                    sock.sendto(fragments(REQUEST)[0], to)
        came = []
        for lane in lanes:
            sources: Counter[str] = Counter()
            try:
                while True:
                    sources[lane.sock.recvfrom(100)[1][0]] += 1
            except BlockingIOError:
                came.append(sources)
    finally:
        for lane in lanes:
            lane.sock.close()
    assert sum(came, Counter()) == Counter(clients * 2)
    assert sum(map(len, came)) == len(clients), "no client in two lanes"
    assert max(map(len, came)) < 6 * len(clients) / LANES


def test_somebody_elses_address_is_refused() -> None:
    lanes = open_lanes("127.0.0.1", 0, common_allowance())
    try:
        with pytest.raises(OSError, match="in use"):
            open_lanes("127.0.0.1", lanes[0].sock.getsockname()[1], common_allowance())
    finally:
        for lane in lanes:
            lane.sock.close()


def test_what_lanes_may_bring_for_nothing() -> None:
    common = common_allowance()
    with client("127.0.0.1") as sock:
        one, other = Lane(sock, common), Lane(sock, common)
        assert not one.pause(OWN_BURST, 0.0)
        assert not one.pause(COMMON_BURST, 0.0)
        assert one.pause(1, 0.0), "it has used up its own and what all have"
        assert not other.pause(OWN_BURST, 0.0), "which does not touch another's own"
        assert other.pause(1, 0.0)
        came, brought, now = 0, 32, 0.0
        while now < 10.0:
            for lane in (one, other):
                came += brought
                while pause := lane.pause(brought, now):
                    brought, now = 0, now + pause
                brought = 32
        assert 0.9 * COMMON_RATE < came / now < 1.1 * COMMON_RATE + 2 * OWN_RATE


def test_a_full_lane_takes_nothing_from_the_others() -> None:
    """While the gateway stands still, more comes from one address than any buffer holds, and a request from each of
    eight others; the kernel keeps those."""
    hostile = fragments(REQUEST._replace(service_id=SERVICE_ID + 1, payload=bytes(1000)))[0]
    with running_gateway("def lambda_handler(event, context):\n    return 'here'\n") as gateway:
        gateway.serve()
        to = ("127.0.0.1", gateway.port)
        others = [client(f"127.0.2.{number}") for number in range(1, 9)]
        with client("127.0.0.66") as flood:
            os.kill(gateway.process.pid, signal.SIGSTOP)
            try:
                for _ in range(50_000):
                    flood.sendto(hostile, to)
                for other in others:
                    other.sendto(fragments(REQUEST)[0], to)
            finally:
                os.kill(gateway.process.pid, signal.SIGCONT)
        answered, give_up = 0, time.monotonic() + PATIENCE
        for other in others:
            other.settimeout(max(0.001, give_up - time.monotonic()) if answered < 6 else 0.5)
            try:
                answered += decode_header(other.recv(2000)).type == InvocationType.RESPONSE
            except TimeoutError:
                continue  # by chance it shares the lane of the flood
            finally:
                other.close()
        assert answered >= 6
