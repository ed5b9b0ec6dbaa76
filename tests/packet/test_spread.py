"""`spread`: every piece of new work goes where it can start first."""

from collections import Counter

import pytest

from tests.packet.bench import Bench
from tests.packet.service import Service

SECOND = 1_000_000
BEST = 2**48 - 1
pytestmark = pytest.mark.frozen


def spread(bench: Bench, *, load_penalty: int = 31, **options: object) -> Service:
    """A service under `spread`."""
    return bench.service(policy=("spread", {"load_penalty": load_penalty}), **options)


def start(service: Service, member: int) -> int:
    """How long after its last report a member could start new work (µs): K less the report's arrival."""
    told = service.probe(member)
    return BEST - told["rank"] - (told["now"] - told["age"])


def test_the_earliest_start_wins_and_each_dispatch_books_an_interval(bench: Bench) -> None:
    service = spread(bench)
    service.report(0, backlog=10 * SECOND, service_interval=1 * SECOND)
    bench.pass_time(0.25)
    service.report(1, backlog=12 * SECOND + SECOND // 2, service_interval=1 * SECOND)
    assert (start(service, 0), start(service, 1)) == (10 * SECOND, 12 * SECOND + SECOND // 2)
    assert [service.ask(sport) for sport in range(8)] == [0, 0, 0, 1, 0, 1, 0, 1]
    assert (start(service, 0), start(service, 1)) == (15 * SECOND, 15 * SECOND + SECOND // 2)
    assert (service.probe(0)["sent"], service.probe(1)["sent"]) == (5, 3)
    assert service.host() is None


def test_a_faster_instance_gets_more(bench: Bench) -> None:
    service = spread(bench)
    service.report(0, backlog=SECOND, service_interval=1 * SECOND)
    service.report(1, backlog=SECOND, service_interval=3 * SECOND)
    assert Counter(service.ask() for _ in range(40)) == {0: 30, 1: 10}


def test_an_idle_instance_starts_now_not_in_the_past(bench: Bench) -> None:
    service = spread(bench)
    service.report(0, service_interval=SECOND)
    reported = service.probe(0)["now"]
    bench.pass_time(5)
    told = service.probe(0)
    assert BEST - told["rank"] == reported
    assert service.ask() == 0
    assert BEST - service.probe(0)["rank"] == told["now"] + SECOND == reported + 6 * SECOND


def test_work_on_its_way_is_not_forgotten(bench: Bench) -> None:
    service = spread(bench)
    service.report(0, backlog=SECOND, service_interval=SECOND)
    for _ in range(5):
        assert service.ask() == 0
    bench.pass_time(0.25)
    service.report(0, backlog=SECOND, service_interval=SECOND, received=2)
    assert start(service, 0) == 4 * SECOND
    service.report(0, backlog=SECOND, service_interval=SECOND, received=5)
    assert start(service, 0) == 1 * SECOND


def test_lost_work_is_forgotten_after_a_while(bench: Bench) -> None:
    service = spread(bench)
    service.report(0, service_interval=SECOND)
    for _ in range(2):
        assert service.ask() == 0
    steps = []
    for _ in range(130):
        service.report(0, service_interval=SECOND, received=1)
        steps.append(start(service, 0) // SECOND)
    assert steps[0] == 1
    assert steps[-1] == 0
    assert steps.index(0) <= 66


def test_a_restarted_node_starts_from_nothing(bench: Bench) -> None:
    service = spread(bench)
    service.report(0, service_interval=SECOND, received=1000)
    for _ in range(5):
        assert service.ask() == 0
    service.report(0, epoch=2, service_interval=SECOND, received=0)
    assert start(service, 0) == 0
    assert service.ask() == 0
    service.report(0, epoch=2, service_interval=SECOND, received=0)
    assert start(service, 0) == SECOND


FAR = 4_000
"""Of a path (µs)."""


def test_the_way_there_and_what_is_there_pass_at_the_same_time(bench: Bench) -> None:
    service = spread(bench, path_costs={0: FAR})
    for backlog, expected in ((0, FAR), (FAR - 1, FAR), (FAR + 1, FAR + 1)):
        service.report(0, backlog=backlog)
        assert start(service, 0) == expected


@pytest.mark.parametrize("age", [0.0, 0.003, 0.004, 0.0041, 1.0, 30.0])
def test_an_idle_remote_instance_gets_nothing_while_a_local_one_is_free(bench: Bench, age: float) -> None:
    service = spread(bench, path_costs={0: FAR, 2: FAR - 1})
    service.report(0, service_interval=100)
    service.report(2, service_interval=100)
    bench.pass_time(age)
    service.report(1, service_interval=100)
    for _ in range(12):
        assert service.ask() == 1
        bench.pass_time(0.001)


def test_a_remote_instance_gets_work_that_a_local_one_would_start_later(bench: Bench) -> None:
    service = spread(bench, path_costs={0: FAR, 2: FAR - 1})
    for member, interval in ((0, 5000), (2, 5000), (1, 3000)):
        service.report(member, service_interval=interval)
    bench.pass_time(1)
    # Starts in µs from now: 1 at 0, 3000, 6000; 2 at 3999, 8999; 0 at 4000, 9000.
    assert [service.ask() for _ in range(6)] == [1, 1, 2, 0, 1, 2]


def test_the_only_instance_serves_from_afar(bench: Bench) -> None:
    service = spread(bench, path_costs={0: FAR})
    service.report(0, service_interval=100)
    for _ in range(3):
        bench.pass_time(1)
        assert service.ask() == 0
        told = service.probe(0)
        assert BEST - told["rank"] == told["now"] + FAR + 100


def test_flows_and_draining_instances_are_not_put_off(bench: Bench) -> None:
    service = spread(bench, path_costs={0: FAR}, protocol="tcp")
    service.report(0, service_interval=100)
    assert service.member_of(service.segment("S")) == 0
    service.report(1, service_interval=100)
    bench.pass_time(1)
    before = service.probe(0)["rank"]
    assert service.member_of(service.segment("A")) == 0
    assert service.probe(0)["rank"] == before
    service.report(1, ready=False)
    service.report(0, draining=True)
    assert service.member_of(service.segment("S", sport=5001)) == 0
    assert service.probe(0)["rank"] == 1


@pytest.mark.parametrize(("load_penalty", "expected"), [(31, 7), (0, 7 + 300), (10, 7 + (300 << 10))])
def test_a_load_is_a_penalty_beside_the_way_there(bench: Bench, load_penalty: int, expected: int) -> None:
    service = spread(bench, load_penalty=load_penalty, path_costs={0: 7})
    service.report(0, cpu=500, cpu_own=200)
    assert start(service, 0) == expected


def test_no_delay_is_so_long_that_it_wraps(bench: Bench) -> None:
    service = spread(bench, load_penalty=16, score={"w_cpu": 16, "w_memory": 16, "w_queue": 16, "busy_after": 0})
    service.report(0, backlog=2**32 - 1, cpu=65535, memory=65535, queue_depth=65535, service_interval=2**32 - 1)
    assert service.probe(0)["eligible"] == 1
    assert start(service, 0) == 2**46
    assert service.ask() == 0


def test_a_draining_instance_is_the_last_resort_and_takes_turns(bench: Bench) -> None:
    service = spread(bench)
    service.report(0, backlog=SECOND)
    service.report(1, draining=True)
    service.report(2, draining=True)
    assert {service.ask() for _ in range(6)} == {0}
    service.report(0, draining=True)
    assert Counter(service.ask() for _ in range(6)) == {0: 2, 1: 2, 2: 2} or Counter(
        service.ask() for _ in range(6)
    ).keys() == {0, 1, 2}
    assert service.probe(1)["rank"] == 1


def test_an_instance_that_is_not_ready_gets_nothing(bench: Bench) -> None:
    service = spread(bench)
    service.report(0, ready=False)
    service.report(1, backlog=100 * SECOND)
    assert {service.ask() for _ in range(4)} == {1}
