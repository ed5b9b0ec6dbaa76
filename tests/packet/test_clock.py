"""The switch's clock is set back or forward: forwarding goes on, and the next reports put everything right."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packet.bench import Bench
from tests.packet.clock import Clock
from tests.packet.service import Service
from tests.packet.waiting import until
from topologies import targets

SECOND = 1_000_000
BACK, FORWARD = "back", "forward"
SECONDS = {BACK: -30.0, FORWARD: 30.0}
AHEAD = 1000.0
"""Switch time begins at zero: first that far on, so that it can be set back further than the switch has run."""
LAST = 0


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A target whose clock can be set."""
    target = str(request.param)
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    reason = targets.missing(target)
    if reason is not None:
        pytest.skip(reason)
    folder: Path = tmp_path_factory.mktemp("clock")
    with Bench(target, Clock(target, folder)) as running:
        assert running.clock is not None
        running.clock.step(AHEAD)
        until(lambda: running.probe(0, 0)["now"] > 2 * SECOND, "the switch's clock to show two seconds")
        yield running


def set_clock(service: Service, step: str) -> None:
    """Set the clock; the switch's own word must follow."""
    assert service.bench.clock is not None
    seconds = SECONDS[step]
    before = service.probe(0)["now"]
    service.bench.clock.step(seconds)
    moved = service.probe(0)["now"] - before
    assert abs(moved - seconds * SECOND) < SECOND // 2, "the switch does not keep this clock"


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

    def moved() -> bool:
        service.report(1)
        service.report(0, cpu=900)
        return service.host() == 1

    until(moved, "the host to move, though its last move lies half a minute ahead", wait=1)
    assert service.ask() == 1
    service.report(0)
    time.sleep(0.5)
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
