"""Damping: each return within ten dwells doubles the dwell of a `single` service, up to 64 times."""

from itertools import pairwise
from pathlib import Path

import pytest

from tests.packet.bench import Bench
from tests.packet.clock import Clock
from tests.packet.service import Service

FACTORS = [1, 1, 2, 4, 8, 16, 32, 64, 64, 64]
"""How long the host stays before each move, in dwells, where it swings as fast as it can. The first move is no return;
what follows is."""
pytestmark = pytest.mark.frozen


def single(bench: Bench, dwell: int, host: int = 0) -> Service:
    """A service under `single` with members 0 and 1, one of them its host, both as good; `dwell` in µs."""
    service = bench.service(policy=("single", {"margin": 400, "dwell": dwell}))
    service.report(host)
    service.report(1 - host)
    assert service.host() == host
    return service


def worsen(service: Service, host: int) -> bool:
    """Make the other member the better one; whether the host moves."""
    assert service.host() == host
    service.report(1 - host)
    service.report(host, cpu=1000)
    return service.host() == 1 - host


def test_a_member_that_never_was_the_host_does_not_return(bench: Bench, tmp_path: Path) -> None:
    # Within ten dwells of the switch's own start: zero in a register is "never", not "at the start".
    with Bench(bench.target, Clock(bench.target, tmp_path)) as young:
        young.pass_time(0.1)
        within_ten_dwells_of_its_start(young)


def within_ten_dwells_of_its_start(bench: Bench) -> None:
    """Once a member has been the host, its return doubles the dwell; before, it was none."""
    dwell = 300_000
    service = single(bench, dwell)
    for host in (0, 1):
        bench.pass_time((dwell - 1) / 1e6)
        assert not worsen(service, host)
        bench.pass_time(1e-6)
        assert worsen(service, host)
    assert service.probe(0)["now"] < 10 * dwell


def swing(service: Service, dwell: int, moves: int) -> list[int]:
    """Make the other member the better one until the host has moved so often, each time as soon as it does; the moves'
    times (µs). It must not have moved for a dwell."""
    bench = service.bench
    for factor in FACTORS[:moves]:
        host = service.host()
        assert host is not None
        bench.pass_time((factor * dwell - 1) / 1e6)
        assert not worsen(service, host), f"it moved within {factor} dwells"
        bench.pass_time(1e-6)
        assert worsen(service, host), f"it did not move after {factor} dwells"
    return [digest["switch_time"] for digest in service.digests(moves + 1)]


def test_each_return_within_ten_dwells_doubles_the_dwell_up_to_64_times(bench: Bench) -> None:
    dwell = 5_000
    times = swing(single(bench, dwell), dwell, len(FACTORS))
    assert [later - earlier for earlier, later in pairwise(times)] == [factor * dwell for factor in FACTORS]


def moves_after(service: Service, dwell: int) -> bool:
    """Whether the host moves to a better one half a dwell (µs) after the end of that dwell."""
    host = service.host()
    assert host is not None
    service.bench.pass_time(1.5 * dwell / 1e6)
    return worsen(service, host)


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
    swing(service, dwell, 4)
    host = service.host()
    assert host is not None
    bench.pass_time(10 * 8 * dwell / 1e6)
    assert worsen(service, host)
    assert moves_after(service, dwell)


def test_pinning_restores_the_dwell(bench: Bench) -> None:
    dwell = 60_000
    service = single(bench, dwell)
    swing(service, dwell, 4)
    host = service.host()
    assert host is not None
    service.set_policy("pinned", member=1 - host)
    assert service.ask() == 1 - host
    service.set_policy("single", margin=400, dwell=dwell)
    assert moves_after(service, dwell)
