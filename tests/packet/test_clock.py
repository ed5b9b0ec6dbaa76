"""The switch's clock is set back or forward: forwarding goes on, and the next reports put everything right."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.packet.bench import Bench
from tests.packet.service import Service

SECOND = 1_000_000
BACK, FORWARD = "back", "forward"
SECONDS = {BACK: -30.0, FORWARD: 30.0}
LAST = 0
pytestmark = pytest.mark.frozen


def set_clock(service: Service, step: str) -> None:
    """Set the clock; the switch's own word must follow."""
    before = service.probe(0)["now"]
    service.bench.pass_time(SECONDS[step])
    assert service.probe(0)["now"] - before == SECONDS[step] * SECOND, "the switch does not keep this clock"


@pytest.mark.parametrize("step", [BACK, FORWARD])
def test_a_single_host_goes_on(bench: Bench, step: str) -> None:
    service = bench.service(stale_after=0.5, dead_after=1.0, on_no_live=LAST)
    service.report(0)
    service.report(1, cpu=500)
    assert service.ask() == 0
    set_clock(service, step)
    assert [service.ask(sport) for sport in range(20)] == [0] * 20
    service.report(1, cpu=500)
    service.report(0)
    assert service.ask() == 0


def test_set_back_the_host_moves_as_before(bench: Bench) -> None:
    service = bench.service(stale_after=0.4, dead_after=1.0, policy=("single", {"margin": 400, "dwell": SECOND // 10}))
    service.report(0)
    service.report(1, cpu=900)
    assert service.ask() == 0
    set_clock(service, BACK)
    for _ in range(2):
        bench.pass_time(0.1)
        service.report(1)
        service.report(0, cpu=900)
    assert service.host() == 1, "though its last move lies half a minute ahead"
    assert service.ask() == 1
    service.report(0)
    bench.pass_time(0.5)
    service.report(0)
    assert service.ask() == 0, "the host that is silent is stale by the new clock"


def test_set_back_spread_goes_by_the_new_starts(bench: Bench) -> None:
    service = bench.service(policy=("spread", {"load_penalty": 31}))
    for member in range(3):
        service.report(member, service_interval=SECOND)
    set_clock(service, BACK)
    assert Counter(service.ask() for _ in range(9)) == {0: 3, 1: 3, 2: 3}
    for member in range(3):
        service.report(member, service_interval=SECOND, received=3)
    assert Counter(service.ask() for _ in range(9)) == {0: 3, 1: 3, 2: 3}


@pytest.mark.parametrize("step", [BACK, FORWARD])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_flows_stay(bench: Bench, protocol: str, step: str) -> None:
    service = bench.service(protocol=protocol, affinity=1, stale_after=0.5, dead_after=1.0, on_no_live=LAST)
    service.report(0)
    service.report(1)
    first = service.segment("S") if protocol == "tcp" else service.datagram()
    later = service.segment("A") if protocol == "tcp" else first
    assert service.member_of(first) == 0
    assert service.member_of(later) == 0
    service.report(1)
    service.report(0, cpu=1000)
    assert service.host() == 1
    set_clock(service, step)
    if step == FORWARD:
        service.report(1)
        service.report(0, cpu=1000)
    assert service.member_of(later) == 0


def test_a_slot_that_was_never_used_is_free_after_years(bench: Bench) -> None:
    years = 2**47 / SECOND
    bench.pass_time(years)
    try:
        service = bench.service(protocol="tcp", stale_after=0.5, dead_after=1.0)
        service.report(0)
        with bench.counts("events", "NO_SLOT", 0):
            for sport in range(1, 5):
                assert service.member_of(service.segment("S", sport=sport)) == 0
    finally:
        bench.pass_time(-years)
        bench.renew()  # nothing is left that would lie years ahead
