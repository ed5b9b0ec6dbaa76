"""The filter in the kernel: requests come through whole, nothing else does."""

import socket

from greengrass_agent.gateway import request_filter
from hitless.wire.invocation import Message, fragments
from hitless.words import InvocationType
from tests.patience import PATIENCE


def test_only_requests_come_through_and_those_unharmed() -> None:
    request = Message(InvocationType.REQUEST, 7, 5, 1, bytes(range(250)) * 20)
    wanted = [
        bytes(datagram) for datagram in fragments(request) + fragments(request._replace(service_id=8, payload=b""))
    ]
    good = wanted[-1]
    unwanted = [b"", good[:-1], bytes(1400), b"x" + good[1:], good[:2] + b"\x02" + good[3:]]
    unwanted += [bytes(fragments(request._replace(type=kind, payload=b""))[0]) for kind in list(InvocationType)[1:]]
    assert len(unwanted) == 8
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
    ):
        near.bind(("127.0.0.1", 0))
        near.settimeout(PATIENCE)
        request_filter.attach(near)
        for datagram in wanted[:2] + unwanted + wanted[2:]:
            far.sendto(datagram, near.getsockname())
        assert [near.recv(2000) for _ in wanted] == wanted
