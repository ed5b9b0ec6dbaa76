"""Request affinity: all fragments of one request meet at one instance; requests are steered one by one."""

import pytest
from scapy.packet import Packet, Raw

from tests.packet.bench import Bench
from tests.packet.layout import CLIENT_PORT
from tests.packet.service import Service

SECOND = 1_000_000
REQUEST_AFFINITY = 2
ACK = 4
ONCE = 1
pytestmark = pytest.mark.frozen


def spread(bench: Bench, **options: object) -> Service:
    """A request-affine service that alternates between members 0 and 1."""
    service = bench.service(affinity=REQUEST_AFFINITY, policy=("spread", {"load_penalty": 31}), **options)
    service.report(0, backlog=SECOND, service_interval=SECOND)
    service.report(1, backlog=SECOND + SECOND // 2, service_interval=SECOND)
    return service


def test_fragments_meet_and_requests_spread(bench: Bench) -> None:
    service = spread(bench)
    first = [service.member_of(service.fragment(request)) for request in range(10)]
    assert first == [0, 1] * 5
    for index in (2, 1, 0):
        assert [service.member_of(service.fragment(request, index)) for request in range(10)] == first
    assert (service.probe(0)["sent"], service.probe(1)["sent"]) == (5, 5)


def test_any_fragment_can_be_the_first(bench: Bench) -> None:
    service = spread(bench)
    member = service.member_of(service.fragment(1, 2))
    assert [service.member_of(service.fragment(1, index)) for index in (0, 1)] == [member] * 2


def test_requests_of_different_clients_are_different(bench: Bench) -> None:
    service = spread(bench)
    assert service.member_of(service.fragment(1, client_id=1)) == 0
    assert service.member_of(service.fragment(1, client_id=2)) == 1
    assert service.member_of(service.fragment(1, client_id=1)) == 0
    assert service.member_of(service.fragment(2**63 + 1, client_id=1)) == 0
    assert service.member_of(service.fragment(1, client_id=2)) == 1


def test_a_request_stays_when_the_host_moves(bench: Bench) -> None:
    service = bench.service(affinity=REQUEST_AFFINITY, policy=("single", {"margin": 400, "dwell": 0}))
    service.report(0)
    service.report(1)
    assert service.member_of(service.fragment(1, 0)) == 0
    service.report(0, draining=True)
    assert service.host() == 1
    assert service.member_of(service.fragment(1, 1)) == 0
    assert service.member_of(service.fragment(2, 0)) == 1


def test_an_ack_follows_its_request_and_is_no_new_work(bench: Bench) -> None:
    service = spread(bench)
    members = [service.member_of(service.fragment(request)) for request in range(2)]
    assert [service.member_of(service.fragment(request, kind=ACK)) for request in range(2)] == members
    with bench.counts("events", "NO_ENTRY"):
        stray = service.member_of(service.fragment(99, kind=ACK))
    assert stray in (0, 1)
    assert service.member_of(service.fragment(99, 1, kind=ACK)) == stray
    assert service.probe(0)["sent"] + service.probe(1)["sent"] == 2


def broken(packet: Packet, offset: int, value: int) -> Packet:
    """A packet with one byte of its payload changed."""
    payload = bytearray(packet[Raw].load)
    payload[offset] = value
    packet[Raw].load = bytes(payload)
    return packet


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_what_is_no_invocation_is_dropped(bench: Bench, offset: int) -> None:
    service = spread(bench)
    with bench.drops_one("INVOCATION"):
        bench.send(1, broken(service.fragment(1), offset, 0x7F))


def test_what_is_no_invocation_is_nobodys_turn_and_nobodys_lack(bench: Bench) -> None:
    service = bench.service(affinity=REQUEST_AFFINITY, policy=("round_robin", {}))
    with bench.drops_one("INVOCATION"), bench.counts("events", "NO_LIVE", 0):
        bench.send(1, broken(service.fragment(1), 2, 0x7F))
    service.report(0)
    service.report(1)
    with bench.drops_one("INVOCATION"):
        bench.send(1, broken(service.fragment(1), 2, 0x7F))
    assert service.member_of(service.fragment(2)) == 0


@pytest.mark.parametrize("length", [0, 1, 2, 41])
def test_a_header_that_is_too_short_is_dropped(bench: Bench, length: int) -> None:
    service = spread(bench)
    with bench.drops_one("INVOCATION"):
        bench.send(1, service.datagram(bytes(service.fragment(1)[Raw].load[:length])))
    assert service.member_of(service.datagram(bytes(service.fragment(1)[Raw].load[:42]))) == 0


def test_without_affinity_every_packet_is_steered_by_itself(bench: Bench) -> None:
    service = bench.service(affinity=0, policy=("spread", {"load_penalty": 31}))
    service.report(0, backlog=SECOND, service_interval=SECOND)
    service.report(1, backlog=SECOND + SECOND // 2, service_interval=SECOND)
    assert [service.ask(sport=1) for _ in range(6)] == [0, 1, 0, 1, 0, 1]


def places(service: Service) -> int:
    """How many requests have asked for a place in the flow store."""
    cells = service.bench.client.counters("newcomers")
    return sum(cells.get(service.index << 2 | place, 0) for place in range(4))


def test_a_datagram_that_is_never_repeated_takes_no_slot(bench: Bench) -> None:
    service = spread(bench)
    asked = [service.fragment(request, count=1, flags=ONCE) for request in range(6)]
    assert [service.member_of(packet) for packet in asked] == [0, 1] * 3
    with bench.counts("events", "NO_ENTRY"):
        assert service.member_of(service.fragment(99, kind=ACK, count=1, flags=ONCE)) in (0, 1)
    assert places(service) == 0
    assert (service.probe(0)["sent"], service.probe(1)["sent"]) == (3, 3)
    # Several datagrams meet all the same, and what may be repeated stays.
    for options in ({"count": 3, "flags": ONCE}, {"count": 1}, {"count": 1, "flags": 0xFF & ~ONCE}):
        member = service.member_of(service.fragment(7, **options))
        assert [service.member_of(service.fragment(7, **options)) for _ in range(3)] == [member] * 3
        bench.pass_time(1e-6)
    assert places(service) == 1


def test_a_request_keeps_its_slot_until_its_deadline(bench: Bench) -> None:
    service = bench.service(affinity=REQUEST_AFFINITY, policy=("single", {"margin": 400, "dwell": 0}), idle_after=30)
    service.report(0)
    service.report(1)
    for request, deadline_ms in enumerate((2000, 0, 90_000)):
        assert service.member_of(service.fragment(request, count=1, deadline_ms=deadline_ms)) == 0
    service.report(0, draining=True)
    bench.pass_time(1.999)
    assert service.member_of(service.fragment(0, count=1, deadline_ms=2000)) == 0
    bench.pass_time(2.001)
    assert service.member_of(service.fragment(0, count=1, deadline_ms=2000)) == 1
    # Who does not say how long, or says too long, is known for as long as any flow.
    for request, deadline_ms in ((1, 0), (2, 90_000)):
        assert service.member_of(service.fragment(request, count=1, deadline_ms=deadline_ms)) == 0
    bench.pass_time(30.1)
    for request, deadline_ms in ((1, 0), (2, 90_000)):
        assert service.member_of(service.fragment(request, count=1, deadline_ms=deadline_ms)) == 1


def test_an_answer_to_nothing_takes_no_bucket(bench: Bench) -> None:
    service = bench.service(affinity=REQUEST_AFFINITY, policy=("single", {"margin": 400, "dwell": 0}))
    service.report(0)
    service.report(1)
    assert service.member_of(service.fragment(5, kind=ACK)) == 0
    service.report(0, draining=True)
    assert service.host() == 1
    assert service.member_of(service.fragment(5, kind=ACK)) == 1
    assert service.member_of(service.fragment(5)) == 1


def test_a_deadline_is_of_requests_and_of_no_other_flow(bench: Bench) -> None:
    service = bench.service(affinity=1, policy=("single", {"margin": 400, "dwell": 0}), idle_after=30)
    service.report(0)
    service.report(1)
    assert service.member_of(service.fragment(1, count=1, deadline_ms=1000)) == 0
    service.report(0, draining=True)
    assert service.host() == 1
    bench.pass_time(1.1)
    assert service.member_of(service.fragment(2, count=1, deadline_ms=1000)) == 0


def test_what_is_no_request_looks_for_no_slot(bench: Bench) -> None:
    service = bench.service(affinity=REQUEST_AFFINITY, share=(2000, 1))
    service.report(0)
    for request in range(2):
        assert service.member_of(service.fragment(request)) == 0
    with bench.counts("events", "NO_SLOT"):
        assert service.member_of(service.fragment(2)) == 0
    with bench.counts("events", "NO_SLOT", 0), bench.drops_one("INVOCATION"):
        bench.send(CLIENT_PORT, service.datagram(b"no request"))
