"""Flow affinity: a TCP connection or UDP flow keeps its instance while that instance is alive."""

import pytest

from tests.packet.bench import Bench
from tests.packet.service import Service

SECOND = 1_000_000
FLOW = 1
pytestmark = pytest.mark.frozen


def moving(bench: Bench, protocol: str = "tcp", **options: object) -> Service:
    """A flow-affine service whose new work goes to member 0 now."""
    service = bench.service(protocol=protocol, affinity=FLOW, policy=("single", {"margin": 400, "dwell": 0}), **options)
    service.report(0)
    service.report(1)
    return service


def move(service: Service, to: int) -> None:
    """Make a member the host by load."""
    service.report(to)
    service.report(1 - to, cpu=1000)
    assert service.host() == to


def test_a_connection_stays_when_the_host_moves_and_a_new_one_does_not(bench: Bench) -> None:
    service = moving(bench)
    assert service.member_of(service.segment("S", sport=1)) == 0
    move(service, 1)
    assert service.member_of(service.segment("S", sport=1)) == 0, "a SYN sent again is no new flow"
    for flags in ("A", "PA", "FA", "A"):
        assert service.member_of(service.segment(flags, sport=1)) == 0
    assert service.member_of(service.segment("S", sport=2)) == 1
    assert service.member_of(service.segment("S", sport=1, source="10.0.0.2")) == 1
    assert service.probe(0)["sent"] == 1


def test_it_stays_while_its_instance_drains_or_is_not_ready(bench: Bench) -> None:
    service = moving(bench)
    assert service.member_of(service.segment("S", sport=1)) == 0
    service.report(0, draining=True)
    assert service.member_of(service.segment("A", sport=1)) == 0
    service.report(0, ready=False)
    assert service.member_of(service.segment("A", sport=1)) == 0
    assert service.member_of(service.segment("S", sport=2)) == 1


def test_it_stays_when_its_neighbours_come_and_go(bench: Bench) -> None:
    service = bench.service(protocol="tcp", affinity=FLOW, policy=("spread", {"load_penalty": 31}), members=8)
    for member in range(4):
        service.report(member, service_interval=SECOND)
    flows = {sport: service.member_of(service.segment("S", sport=sport)) for sport in range(8)}
    assert set(flows.values()) == {0, 1, 2, 3}
    for member in range(4, 8):
        service.report(member, service_interval=SECOND)
    bench.client.delete(service.instance(3), service.binding(3))
    service.report(2, ready=False)
    for sport, member in flows.items():
        to = service.member_of(service.segment("A", sport=sport))
        assert to == member if member != 3 else to in (0, 1, 4, 5, 6, 7)
    service.report(2, service_interval=SECOND)
    bench.client.delete(service.instance(6))
    assert {service.member_of(service.segment("S", sport=sport)) for sport in range(100, 112)} == {0, 1, 2, 4, 5, 7}
    for sport, member in flows.items():
        assert member == 3 or service.member_of(service.segment("A", sport=sport)) == member


def test_tcp_has_affinity_whatever_the_service_says(bench: Bench) -> None:
    service = bench.service(protocol="tcp", affinity=0, policy=("spread", {"load_penalty": 31}))
    service.report(0, service_interval=SECOND)
    service.report(1, service_interval=SECOND)
    first = service.member_of(service.segment("S", sport=1))
    second = service.member_of(service.segment("S", sport=2))
    assert {first, second} == {0, 1}
    for _ in range(3):
        assert service.member_of(service.segment("A", sport=1)) == first
        assert service.member_of(service.segment("A", sport=2)) == second


def test_a_stale_instance_keeps_its_flows_until_it_is_dead(bench: Bench) -> None:
    service = moving(bench, stale_after=0.3, dead_after=0.9)
    assert service.member_of(service.segment("S", sport=1)) == 0
    bench.pass_time(0.4)
    service.report(1)
    assert service.member_of(service.segment("S", sport=2)) == 1
    assert service.member_of(service.segment("A", sport=1)) == 0
    bench.pass_time(0.6)
    service.report(1)
    assert service.member_of(service.segment("A", sport=1)) == 1
    service.report(0)
    assert service.member_of(service.segment("A", sport=1)) == 1, "it has a new instance now"


def test_a_flow_leaves_an_instance_that_is_gone(bench: Bench) -> None:
    service = moving(bench)
    assert service.member_of(service.segment("S", sport=1)) == 0
    bench.client.delete(service.instance(0))
    assert service.member_of(service.segment("A", sport=1)) == 1


def test_a_flow_does_not_follow_a_reused_slot(bench: Bench) -> None:
    service = moving(bench)
    assert service.member_of(service.segment("S", sport=1)) == 0
    move(service, 1)
    bench.client.modify(service.instance(0, generation=2), service.binding(0, generation=2))
    service.report(0, cpu=1000)
    assert service.member_of(service.segment("A", sport=1)) == 1


def test_a_syn_on_the_ports_of_an_ended_connection_is_a_new_flow(bench: Bench) -> None:
    for ending in ("FA", "R"):
        service = moving(bench)
        assert service.member_of(service.segment("S", sport=1)) == 0
        assert service.member_of(service.segment(ending, sport=1)) == 0
        move(service, 1)
        assert service.member_of(service.segment("A", sport=1)) == 0, "half-closed downloads go on"
        assert service.member_of(service.segment("S", sport=1)) == 1
        assert service.member_of(service.segment("A", sport=1)) == 1


def test_a_syn_nobody_followed_up_is_forgotten_after_three_seconds_and_a_connection_is_not(bench: Bench) -> None:
    service = moving(bench)
    for sport in (1, 2, 3):
        assert service.member_of(service.segment("S", sport=sport)) == 0
    assert service.member_of(service.segment("A", sport=3)) == 0
    move(service, 1)
    assert service.member_of(service.segment("S", sport=3)) == 0
    bench.pass_time(3.2)
    assert service.member_of(service.segment("S", sport=1)) == 1
    assert service.member_of(service.segment("A", sport=2)) == 0, "a segment revives an entry that nobody took"
    assert service.member_of(service.segment("S", sport=3)) == 0, "the entry was not shortened to a handshake's"


def test_a_segment_in_mid_flow_without_an_entry_goes_to_the_host_and_is_counted(bench: Bench) -> None:
    service = moving(bench)
    with bench.counts("events", "NO_ENTRY", 2):
        assert service.member_of(service.segment("A", sport=1)) == 0
        assert service.member_of(service.segment("SA", sport=1)) == 0
    assert service.probe(0)["sent"] == 0


def test_under_spread_it_is_drawn_by_hash_always_alike(bench: Bench) -> None:
    service = bench.service(protocol="tcp", affinity=FLOW, policy=("spread", {"load_penalty": 31}), members=8)
    for member in range(8):
        if member != 5:
            service.report(member, service_interval=SECOND)
    service.report(3, draining=True)
    drawn = {}
    for sport in range(60):
        drawn[sport] = service.member_of(service.segment("A", sport=sport))
        assert service.member_of(service.segment("PA", sport=sport)) == drawn[sport]
    assert set(drawn.values()) == {0, 1, 2, 4, 6, 7}, "eligible members, all of them, and nobody else"
    service.report(0, backlog=9 * SECOND)
    assert all(service.member_of(service.segment("A", sport=sport)) == member for sport, member in drawn.items())


def test_udp_flows_stay_until_they_are_idle(bench: Bench) -> None:
    service = moving(bench, protocol="udp", idle_after=0.5)
    assert service.ask(sport=1) == 0
    assert service.ask(sport=2) == 0
    move(service, 1)
    assert service.ask(sport=1) == 0
    assert service.ask(sport=3) == 1
    for _ in range(3):
        bench.pass_time(0.3)
        assert service.ask(sport=1) == 0
    assert service.ask(sport=2) == 1


def test_services_do_not_share_flows(bench: Bench) -> None:
    services = [moving(bench), moving(bench)]
    move(services[1], 1)
    for index, service in enumerate(services):
        assert service.member_of(service.segment("S", sport=9)) == index
    for index, service in enumerate(services):
        assert service.member_of(service.segment("A", sport=9)) == index
