"""Damping: each return within ten dwells doubles the dwell of a `single` service, up to 64 times."""

import time
from itertools import pairwise

from tests.packet.bench import Bench
from tests.packet.layout import node_port
from tests.packet.service import Service
from tests.packet.waiting import until

SLACK = 250_000
"""What a busy machine may add to a move's time (µs)."""


def single(bench: Bench, dwell: int, host: int = 0) -> Service:
    """A service under `single` with members 0 and 1, one of them its host, both as good; `dwell` in µs."""
    service = bench.service(policy=("single", {"margin": 400, "dwell": dwell}))
    service.report(host)
    service.report(1 - host)
    assert service.host() == host
    return service


def test_a_member_that_never_was_the_host_does_not_return(bench: Bench) -> None:
    # Within ten dwells of the switch's own start: zero in a register is "never", not "at the start".
    with Bench(bench.target) as young:
        within_ten_dwells_of_its_start(young)


def within_ten_dwells_of_its_start(bench: Bench) -> None:
    """Once a member has been the host, its return doubles the dwell; before, it was none."""
    service = single(bench, 60_000_000)
    now = service.probe(0)["now"]
    dwell = max(300_000, now // 8)
    time.sleep(dwell / 1e6)
    assert service.probe(0)["now"] < 10 * dwell
    service.set_policy("single", margin=400, dwell=dwell)
    service.report(0, cpu=1000)
    assert service.host() == 1
    service.set_policy("single", margin=400, dwell=500_000)

    def moved() -> bool:
        service.report(0)
        service.report(1, cpu=1000)
        return service.host() == 0

    until(moved, "the host to move back")
    _, there, back = (told["switch_time"] for told in service.digests(3))
    assert 500_000 <= back - there < 950_000


def swing(service: Service, moves: int) -> list[int]:
    """Make the other instance the better one until the host has moved so often; the moves' times (µs)."""
    told = service.bench.client.digests_of
    deadline = time.monotonic() + 30
    while len(told(service.index, 0, 0)) <= moves:
        assert time.monotonic() < deadline, "the host does not move"
        host = told(service.index, 0, 0)[-1]["to_member"]
        for member in (0, 1):
            payload = service.payload(member, cpu=1000 if member == host else 0)
            service.bench.send(node_port(member), service.report_frame(member, payload))
        time.sleep(0.001)
    return [digest["switch_time"] for digest in told(service.index, 0, 0)]


def test_each_return_within_ten_dwells_doubles_the_dwell_up_to_64_times(bench: Bench) -> None:
    dwell = 5_000
    service = single(bench, dwell=dwell)
    times = swing(service, 10)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # The first move is no return; what follows is.
    for gap, factor in zip(gaps, [1, 1, 2, 4, 8, 16, 32, 64, 64, 64], strict=True):
        assert factor * dwell <= gap < 2 * factor * dwell + SLACK, gaps
    assert gaps[9] < 100 * dwell, gaps


def moves_after(service: Service, dwell: int) -> bool:
    """Whether the host moves to a better one half a dwell (µs) after the end of that dwell."""
    host = service.host()
    assert host is not None
    time.sleep(1.5 * dwell / 1e6)
    service.report(1 - host)
    service.report(host, cpu=1000)
    return service.host() == 1 - host


def test_the_first_host_displaces_nobody(bench: Bench) -> None:
    dwell = 60_000
    service = single(bench, dwell, host=1)
    assert [moves_after(service, dwell) for _ in range(2)] == [True, True]


def test_a_move_that_cannot_wait_says_nothing_about_restlessness(bench: Bench) -> None:
    dwell = 60_000
    service = single(bench, dwell)
    for _ in range(2):
        for member in (0, 1):
            service.report(member, draining=True)
            assert service.host() == 1 - member
            service.report(member)
    assert moves_after(service, dwell)


def test_a_late_return_restores_the_dwell(bench: Bench) -> None:
    dwell = 10_000
    service = single(bench, dwell)
    swing(service, 4)
    time.sleep(10 * 8 * dwell / 1e6 + 0.1)
    times = swing(service, 5)
    assert times[5] - times[4] > 10 * 8 * dwell
    assert moves_after(service, dwell)


def test_pinning_restores_the_dwell(bench: Bench) -> None:
    dwell = 60_000
    service = single(bench, dwell)
    swing(service, 4)
    host = service.host()
    assert host is not None
    service.set_policy("pinned", member=1 - host)
    assert service.ask() == 1 - host
    service.set_policy("single", margin=400, dwell=dwell)
    assert moves_after(service, dwell)
