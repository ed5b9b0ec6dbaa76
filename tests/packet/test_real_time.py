"""A switch's clock goes on by itself, in microseconds: what is silent goes stale though nobody sets the clock."""

import time

from tests.packet.bench import FALLBACK_MAC, Bench
from tests.packet.test_staleness import FALLBACK


def test_the_age_of_a_report_is_the_time_since_it_came(bench: Bench) -> None:
    service = bench.service()
    before = time.monotonic()
    service.report(0)
    reported = time.monotonic()
    time.sleep(0.1)
    after = time.monotonic()
    told = service.probe(0)
    assert (after - reported) * 1e6 <= told["age"] * 1.01 <= (time.monotonic() - before) * 1.02e6


def test_a_silent_instance_goes_stale(bench: Bench) -> None:
    service = bench.service(on_no_live=FALLBACK)
    service.report(0)
    assert service.ask() == 0
    time.sleep(0.25)
    service.configure(stale_after=0.2)
    answer = bench.exchange(1, service.datagram())
    assert answer is not None and answer[1].dst == FALLBACK_MAC


def test_an_idle_flow_is_forgotten(bench: Bench) -> None:
    service = bench.service(affinity=1, idle_after=0.2)
    service.report(0)
    service.report(1)
    assert service.ask() == 0
    service.report(0, cpu=1000)
    time.sleep(0.25)
    assert service.ask() == 1
