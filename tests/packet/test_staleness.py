"""An instance that went silent is taken out by the first packet that would have gone there, however many there are."""

import pytest

from tests.packet.bench import Bench
from tests.packet.layout import FALLBACK_MAC, node_port
from tests.packet.service import Service
from tests.patience import until

LAST, FALLBACK, DROP = 0, 1, 2
EVICT_STALE = 8
SECOND = 1_000_000
pytestmark = pytest.mark.frozen


def report_all(service: Service, members: range) -> None:
    """Every member reports, as fast as they can."""
    for member in members:
        payload = service.payload(member, cpu=member)
        service.bench.send(node_port(member), service.report_frame(member, payload))
    until(lambda: all(service.probe(member)["sequence"] for member in members), "all reports to be accepted")


def evictions(service: Service) -> list[dict[str, int]]:
    """The digests of those that were taken out for staleness."""
    return [told for told in service.digests(0, wait=0) if told["reason"] == EVICT_STALE]


@pytest.mark.parametrize("policy", [("single", {"margin": 0, "dwell": 0}), ("spread", {"load_penalty": 0})])
def test_one_packet_finds_the_only_live_one_of_64(bench: Bench, policy: tuple[str, dict[str, int]]) -> None:
    service = bench.service(members=64, policy=policy)
    report_all(service, range(64))
    bench.pass_time(0.4)
    service.report(37, cpu=1000)
    service.configure(stale_after=0.3)
    with bench.counts("events", "EVICT_STALE", 63):
        assert service.ask() == 37
    assert service.ask() == 37
    until(lambda: len(evictions(service)) == 63, "63 evictions to be told")
    evicted = evictions(service)
    assert sorted(told["from_member"] for told in evicted) == [member for member in range(64) if member != 37]
    assert (service.probe(5)["status"], service.probe(5)["rank"]) == (0, 0)


def silent(bench: Bench, on_no_live: int, policy: str = "single") -> Service:
    """A service whose two instances were served from, the last time from member 1, and have gone silent."""
    arguments = {"margin": 400, "dwell": 0} if policy == "single" else {"load_penalty": 31}
    service = bench.service(on_no_live=on_no_live, policy=(policy, arguments))
    service.report(0, service_interval=10 * SECOND)
    assert service.ask() == 0
    service.report(1)
    service.report(0, cpu=1000, service_interval=10 * SECOND)
    assert service.ask() == 1
    bench.pass_time(0.35)
    service.configure(stale_after=0.3)
    return service


@pytest.mark.parametrize("policy", ["single", "spread"])
def test_reports_may_be_all_that_is_lost(bench: Bench, policy: str) -> None:
    service = silent(bench, LAST, policy)
    with bench.counts("events", "NO_LIVE", 3):
        assert [service.ask(sport) for sport in range(3)] == [1, 1, 1]


def test_a_fallback_address_takes_over(bench: Bench) -> None:
    service = silent(bench, FALLBACK)
    with bench.counts("events", "NO_LIVE"), bench.counts("events", "FALLBACK"):
        answer = bench.exchange(1, service.datagram())
    assert answer is not None
    assert (answer[0], answer[1].dst, answer[1]["IP"].dst) == (4, FALLBACK_MAC, service.address)


def test_or_the_packet_is_dropped(bench: Bench) -> None:
    service = silent(bench, DROP)
    with bench.counts("events", "NO_LIVE"), bench.drops_one("NO_LIVE"):
        bench.send(1, service.datagram())


def test_the_last_one_must_still_exist(bench: Bench) -> None:
    service = silent(bench, LAST)
    bench.client.delete(service.instance(1))
    with bench.drops_one("NO_LIVE"):
        bench.send(1, service.datagram())


@pytest.mark.parametrize("on_no_live", [LAST, FALLBACK, DROP])
def test_the_first_new_report_restores(bench: Bench, on_no_live: int) -> None:
    service = silent(bench, on_no_live)
    bench.send(1, service.datagram())
    until(lambda: service.probe(1)["status"] == 0, "the silent host to be taken out")
    service.report(0, cpu=900)
    assert service.ask() == 0


def test_an_instance_that_nobody_asks_for_is_not_taken_out(bench: Bench) -> None:
    service = bench.service(stale_after=0.2)
    service.report(0)
    bench.pass_time(0.3)
    told = service.probe(0)
    assert (told["status"], told["eligible"], told["best"]) == (1, 1, 0)
    assert told["age"] == 300_000


@pytest.mark.parametrize("reported", [False, True])
def test_a_service_that_nobody_ever_served_drops(bench: Bench, reported: bool) -> None:
    service = bench.service(on_no_live=LAST)
    if reported:
        service.report(0, ready=False)
    with bench.drops_one("NO_LIVE"):
        bench.send(1, service.datagram())


def test_the_last_one_is_the_host_though_no_request_has_reached_it(bench: Bench) -> None:
    service = bench.service(on_no_live=LAST)
    service.report(0)
    assert service.ask() == 0
    service.report(1)
    service.report(0, draining=True)
    assert service.host() == 1
    bench.pass_time(0.35)
    service.configure(stale_after=0.3)
    assert service.ask() == 1


FLOWS = range(4)


def flows_in_silence(bench: Bench, on_no_live: int) -> Service:
    """A service with four flows, each on an instance of its own, and all four dead by now."""
    turns = ("round_robin", {})
    options = {"policy": turns, "on_no_live": on_no_live, "stale_after": 0.2, "dead_after": 0.3}
    service = bench.service(protocol="tcp", affinity=1, **options)
    for member in FLOWS:
        service.report(member)
    for flags in ("S", "A"):
        assert [service.member_of(service.segment(flags, sport=sport)) for sport in FLOWS] == [0, 1, 2, 3]
    bench.pass_time(0.35)
    return service


def test_flows_stay_where_they_are_since_reports_may_be_all_that_is_lost(bench: Bench) -> None:
    service = flows_in_silence(bench, LAST)
    with bench.counts("events", "NO_LIVE", 9), bench.counts("events", "EVICT_STALE", 4):
        for _ in range(2):
            assert [service.member_of(service.segment("A", sport=sport)) for sport in FLOWS] == [0, 1, 2, 3]
        assert service.member_of(service.segment("S", sport=9)) == 3
    assert [service.probe(member)["sent"] for member in FLOWS] == [1, 1, 1, 2], "only the last one was new work"
    service.report(2)
    assert [service.member_of(service.segment("A", sport=sport)) for sport in FLOWS] == [2, 2, 2, 2]


def test_a_flow_whose_instance_has_gone_is_left_to_the_last_one(bench: Bench) -> None:
    service = flows_in_silence(bench, LAST)
    with bench.counts("events", "EVICT_STALE", 4):
        assert service.member_of(service.segment("A", sport=0)) == 0
    bench.client.delete(service.instance(1))
    with bench.counts("events", "NO_LIVE"), bench.counts("events", "EVICT_GONE"):
        assert service.member_of(service.segment("A", sport=1)) == 3


def test_flows_go_to_the_fallback_or_are_dropped_if_the_operator_says_so(bench: Bench) -> None:
    service = flows_in_silence(bench, FALLBACK)
    answer = bench.exchange(1, service.segment("A", sport=2))
    assert answer is not None
    assert answer[1].dst == FALLBACK_MAC
    service.configure(on_no_live=DROP)
    with bench.drops_one("NO_LIVE"):
        bench.send(1, service.segment("A", sport=2))
