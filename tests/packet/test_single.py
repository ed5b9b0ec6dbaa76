"""`single`: one host at a time, moved by reports: by margin and dwell, at once from a host that is leaving."""

import pytest

from hitless.steering.rank import Score
from tests.packet.bench import Bench
from tests.packet.layout import node_address, node_mac, node_port
from tests.packet.service import Service

FIRST, BETTER, DRAINING, STALE, GONE, EVICT_STALE, EVICT_GONE = 1, 2, 3, 5, 6, 8, 9
NOT_READY, LATE_START = 4, 25
LONG = 60_000_000
pytestmark = pytest.mark.frozen


def single(bench: Bench, *, margin: int = 400, dwell: int = 0, **options: float) -> Service:
    """A service under `single` with member 0 as its host and member 1 as good."""
    service = bench.service(policy=("single", {"margin": margin, "dwell": dwell}), **options)
    service.report(0)
    service.report(1)
    assert service.host() == 0
    return service


def reasons(service: Service, count: int) -> list[int]:
    """The reasons of a service's digests so far; there must be `count`."""
    told = [digest["reason"] for digest in service.digests(count)]
    assert len(told) == count, told
    return told


def test_the_first_report_makes_the_host(bench: Bench) -> None:
    service = bench.service()
    assert service.host() is None
    with bench.drops_one("NO_LIVE"):
        bench.send(1, service.datagram())
    service.report(2, cpu=900)
    assert service.host() == 2
    assert service.ask() == 2


def test_the_first_packet_makes_the_host_where_reports_came_before(bench: Bench) -> None:
    service = bench.service(policy=("spread", {"load_penalty": 31}))
    service.report(0, backlog=LONG)
    service.report(2)
    assert service.host() is None
    service.set_policy("single", margin=400, dwell=0)
    assert service.ask() == 2
    assert service.host() == 2
    (told,) = service.digests(1)
    assert told["from_rank"] == 0
    assert (told["reason"], told["from_member"], told["to_member"], told["node_id"]) == (FIRST, 255, 2, 0)


def test_every_packet_goes_to_the_host_with_layer_4_untouched(bench: Bench) -> None:
    service = single(bench)
    sent = service.datagram(b"hello")
    answer = bench.exchange(1, sent)
    assert answer is not None
    frame = answer[1]
    assert (frame.src, frame["IP"].dst, frame["IP"].ttl) == ("02:00:00:00:ff:fe", service.address, 63)
    assert bytes(frame["IP"].payload) == bytes(sent["IP"].payload)
    assert [service.ask(sport) for sport in range(5000, 5020)] == [0] * 20


def test_a_nodes_own_call_is_steered_like_any_other(bench: Bench) -> None:
    service = single(bench)
    for caller in (0, 3, 1):
        sent = service.datagram(source=node_address(caller))
        sent.src = node_mac(caller)
        answer = bench.exchange(node_port(caller), sent)
        assert answer is not None
        assert (answer[0], answer[1].dst) == (node_port(0), node_mac(0)), "also out of the port that it came by"


def test_a_packet_with_no_life_left_is_not_steered(bench: Bench) -> None:
    service = single(bench)
    packet = service.datagram()
    packet["IP"].ttl = 1
    bench.told(1, packet, "TTL")
    assert service.probe(0)["sent"] == 0


def test_it_moves_when_another_is_better_by_more_than_the_margin(bench: Bench) -> None:
    service = single(bench)
    service.report(0, cpu=400)
    assert service.host() == 0
    service.report(0, cpu=401)
    assert service.host() == 1
    assert service.ask() == 1
    assert reasons(service, 2) == [FIRST, BETTER]


def test_what_the_service_itself_uses_does_not_count_against_its_host(bench: Bench) -> None:
    service = single(bench)
    service.report(0, cpu=1000, cpu_own=700)
    assert service.host() == 0
    service.report(0, cpu=1000, cpu_own=500)
    assert service.host() == 1


def test_by_default_work_that_waits_moves_it_and_use_does_not(bench: Bench) -> None:
    shipped = dict(Score().params)
    interval, contention = shipped.pop("w_interval"), shipped.pop("w_contention")
    service = bench.service(score=shipped, w_interval=interval, w_contention=contention)
    for _ in range(20):
        service.report(0, cpu=1000, memory=1000, concurrency=3, queue_depth=3, contention=200, service_interval=10**6)
        service.report(1)
    assert service.host() == 0
    for _ in range(20):
        service.report(0, cpu=100, contention=300)
        service.report(1)
    assert service.host() == 1


def test_requests_never_move_the_host(bench: Bench) -> None:
    service = single(bench, dwell=LONG)
    service.report(0, cpu=1000)
    assert service.host() == 0
    service.set_policy("single", margin=400, dwell=0)
    assert service.ask() == 0
    assert service.host() == 0
    service.report(1)
    assert service.host() == 1


def test_requests_change_nothing_where_all_drain(bench: Bench) -> None:
    service = bench.service()
    service.report(0)
    service.report(0, draining=True)
    service.report(1, draining=True)
    before = service.probe(0)
    assert [service.ask() for _ in range(3)] == [0, 0, 0]
    after = service.probe(0)
    assert [after[name] for name in ("host", "best", "rank")] == [before[name] for name in ("host", "best", "rank")]


def test_it_dwells_before_it_moves_again(bench: Bench) -> None:
    service = single(bench, dwell=300_000)
    start = service.digests(1)[0]["switch_time"]
    for passed in (0, 0.299_999):
        bench.pass_time(passed)
        service.report(0, cpu=1000)
        assert service.host() == 0, "it moved before the dwell was over"
    bench.pass_time(0.000_001)
    service.report(0, cpu=1000)
    assert service.host() == 1
    move = service.digests(2)[1]
    assert (move["reason"], move["switch_time"] - start) == (BETTER, 300_000)


def lasting(bench: Bench, evidence: int = 3, dwell: int = 0) -> Service:
    """A service that takes so many reports to move, with member 0 as its host and member 1 as good."""
    service = single(bench)
    service.set_policy("single", margin=500, dwell=dwell, evidence=evidence)
    return service


def test_one_report_is_no_evidence(bench: Bench) -> None:
    service = lasting(bench)
    for cpu in (1000, 0, 1000, 0, 501, 499, 1000, 1000, 0):
        service.report(0, cpu=cpu)
        assert service.host() == 0
    for cpu, host in ((1000, 0), (1000, 1)):
        service.report(0, cpu=cpu)
        assert service.host() == host
    assert reasons(service, 2) == [FIRST, BETTER]


def test_what_is_less_clear_takes_longer(bench: Bench) -> None:
    service = lasting(bench)
    hosts = []
    for _ in range(6):
        service.report(0, cpu=750)
        hosts.append(service.host())
    assert hosts == [0, 0, 0, 0, 0, 1], "half as clear, twice as long"


def test_what_is_clearer_takes_half_as_long_and_no_less(bench: Bench) -> None:
    service = lasting(bench, evidence=6)
    hosts = []
    for _ in range(3):
        service.report(0, cpu=60_000)
        hosts.append(service.host())
    assert hosts == [0, 0, 1], "a report counts for two at most, however clear"


def test_reports_of_others_are_no_evidence_about_the_host(bench: Bench) -> None:
    service = lasting(bench)
    service.report(0, cpu=1010)
    for member in (1, 2, 1, 2, 1):
        service.report(member, cpu=member)
    assert service.host() == 0
    service.report(0, cpu=1010)
    service.report(0, cpu=1010)
    assert service.host() == 1


def test_evidence_is_kept_through_the_dwell_and_no_longer_than_it_lasts(bench: Bench) -> None:
    service = lasting(bench, dwell=300_000)
    for _ in range(50):
        service.report(0, cpu=1000)
    for _ in range(3):
        service.report(0)
    bench.pass_time(0.3)
    service.report(0, cpu=1000)
    assert service.host() == 0, "three quiet reports take away what any number have brought"
    for _ in range(2):
        service.report(0, cpu=1000)
    assert service.host() == 1


def test_evidence_against_a_host_says_nothing_about_the_next(bench: Bench) -> None:
    service = lasting(bench)
    for _ in range(3):
        service.report(0, cpu=1000)
    assert service.host() == 1
    assert service.probe(0)["evidence"] == 0
    service.report(0)
    for host in (1, 1, 0):
        service.report(1, cpu=1000)
        assert service.host() == host


def test_a_probe_tells_what_speaks_for_another_host_and_since_when(bench: Bench) -> None:
    service = lasting(bench)
    service.report(0)
    quiet = service.probe(0)["now"]
    bench.pass_time(0.02)
    service.report(0, cpu=1000)
    bench.pass_time(0.02)
    service.report(0, cpu=600)
    told = service.probe(1)
    assert (told["evidence"], told["since"], told["now"] - told["since"]) == (600, quiet, 40_000)


def test_it_moves_at_once_where_work_would_start_too_late(bench: Bench) -> None:
    service = single(bench)
    service.set_policy("single", margin=400, dwell=LONG, evidence=255, start_within=200_000)
    service.report(0, backlog=200_000)
    assert service.host() == 0
    service.report(0, backlog=200_001)
    assert service.host() == 1
    move = service.digests(2)[1]
    assert (move["reason"], move["from_rank"], move["to_rank"]) == (LATE_START, 2, 65535)


@pytest.mark.parametrize(("interval", "concurrency", "limit"), [(1000, 1, 300_000), (10_000, 2, 320_000)])
def test_what_is_too_late_follows_from_the_service(bench: Bench, interval: int, concurrency: int, limit: int) -> None:
    service = single(bench, stale_after=0.3)
    service.set_policy("single", margin=400, dwell=LONG, evidence=255, start_within=0)
    for backlog, host in ((limit, 0), (limit + 1, 1)):
        service.report(0, backlog=backlog, service_interval=interval, concurrency=concurrency)
        assert service.host() == host, "a stale_after, and 16 service times"


def test_it_stays_where_work_would_start_no_sooner_elsewhere(bench: Bench) -> None:
    service = single(bench)
    service.set_policy("single", margin=0, dwell=0, evidence=0, start_within=200_000)
    service.report(1, backlog=300_000)
    service.report(0, backlog=900_000)
    service.report(2, draining=True)
    assert service.host() == 0
    service.report(2, cpu=65535)
    assert service.host() == 2, "the busiest starts it in time"


def test_it_leaves_a_draining_host_at_once(bench: Bench) -> None:
    service = single(bench, dwell=LONG)
    service.report(0, draining=True)
    assert service.host() == 1
    assert reasons(service, 2) == [FIRST, DRAINING]


def test_the_only_instance_goes_on_serving_while_it_drains(bench: Bench) -> None:
    service = bench.service(policy=("single", {"margin": 400, "dwell": LONG}))
    service.report(0)
    service.report(0, draining=True)
    assert service.ask() == 0
    service.report(1, draining=True)
    service.report(0, draining=True)
    assert service.probe(0)["best"] == 1
    assert service.host() == 0, "a draining host has no reason to make room for a draining one"
    service.report(1)
    assert service.ask() == 1


def test_it_leaves_a_host_that_is_not_ready_at_once(bench: Bench) -> None:
    service = single(bench, dwell=LONG)
    service.report(0, ready=False)
    assert service.host() == 1
    assert reasons(service, 2) == [FIRST, NOT_READY]


def test_a_host_that_is_not_ready_makes_room_for_the_next_one_that_is(bench: Bench) -> None:
    service = bench.service(policy=("single", {"margin": 400, "dwell": LONG}))
    service.report(0)
    service.report(0, ready=False)
    assert service.host() == 0
    with bench.drops_one("NO_LIVE"):
        bench.send(1, service.datagram())
    service.report(1, cpu=1000)
    assert service.host() == 1
    assert reasons(service, 2) == [FIRST, NOT_READY]


def test_the_first_packet_leaves_a_stale_host(bench: Bench) -> None:
    service = single(bench, dwell=LONG)
    bench.pass_time(0.4)
    service.report(1, sequence=100)
    service.configure(stale_after=0.3)
    assert service.ask() == 1
    assert reasons(service, 3) == [FIRST, EVICT_STALE, STALE]
    assert service.probe(0)["status"] == 0
    assert service.host() == 1


def test_a_report_leaves_a_stale_host_where_no_packet_comes(bench: Bench) -> None:
    service = single(bench, dwell=LONG, stale_after=0.3)
    bench.pass_time(0.4)
    service.report(1)
    assert service.host() == 1
    assert reasons(service, 3) == [FIRST, EVICT_STALE, STALE]


def test_a_report_does_not_make_a_dead_winner_the_host(bench: Bench) -> None:
    service = bench.service(policy=("single", {"margin": 100, "dwell": 0}), stale_after=60)
    service.report(0, cpu=500)
    service.report(2, cpu=900)
    service.configure(stale_after=0.3)
    service.set_policy("single", margin=5000, dwell=0)
    service.report(1, cpu=0)
    bench.pass_time(0.4)
    service.report(2, cpu=200)
    service.set_policy("single", margin=100, dwell=0)
    # Members 0 (the host) and 1 (the tree's root) are stale by now: both go, and the only live one takes over.
    service.report(2, cpu=200)
    assert service.host() == 2
    assert {digest["from_member"] for digest in service.digests(3) if digest["reason"] == EVICT_STALE} == {0, 1}


def test_an_instance_of_another_generation_is_gone(bench: Bench) -> None:
    service = single(bench, dwell=LONG)
    bench.client.modify(service.instance(0, generation=2))
    assert service.ask() == 1
    assert reasons(service, 3) == [FIRST, EVICT_GONE, GONE]


def test_an_instance_without_an_entry_is_gone(bench: Bench) -> None:
    service = single(bench, dwell=LONG)
    bench.client.delete(service.instance(0))
    assert service.ask() == 1
    assert reasons(service, 3) == [FIRST, EVICT_GONE, GONE]
