"""A flood of new connections, ten times what the whole flow store holds, from spoofed sources: live flows feel nothing.

The attacker has a wire of its own. To softswitch it sends all that the wire takes; to BMv2, which when overloaded loses
packets without asking whose they are, as many at a time as it can hold. The switch's clock stands still meanwhile, so
that no entry of the flood expires: a faster attacker would do no more. `make fuzz` sends BMv2 as many as softswitch.
"""

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from p4src.build import ROOT
from tests.fuzz.native import Flood, Live, Native
from tests.packet.bench import Bench
from tests.packet.clock import Clock
from tests.packet.layout import CLIENT_PORT
from tests.packet.service import Service
from tests.packet.test_flood import FIRST, SECOND, member, open_service, segment
from topologies import targets

WAYS = 2
STORE = WAYS * int(re.findall(r"FLOWS_PER_WAY\s*=\s*(\d+);", (ROOT / "p4src" / "types.p4").read_text())[0])
"""Entries of the flow store."""
FLOOD = {"softswitch": 10 * STORE, "bmv2": int(os.environ.get("FLOOD", "20000"))}
CHUNK = {"softswitch": 100_000, "bmv2": 5_000}
"""Packets of the flood between two looks at how many the switch has had."""
LIVE = 200
LIVE_RATE = {"softswitch": 5_000, "bmv2": 500}
"""Packets a second of all live flows together."""
NODE_PORTS = (2, 3, 4)
ATTACKER_PORT = 4
NEWCOMERS = 40
GOODPUT = 0.98
"""Of before, at least."""
HANDSHAKE = 3 * SECOND
START = 10 * SECOND
pytestmark = pytest.mark.timeout(900)


@dataclass
class Flooded:
    """A service after the flood, and what its live flows got before and while it went on."""

    service: Service
    homes: dict[int, int]
    before: Live
    during: Live
    flood: int
    """Packets of it that were steered, at least."""
    no_slot: int
    """... of which found no slot."""


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A target whose clock stands still."""
    target = str(request.param)
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    reason = targets.missing(target)
    if reason is not None:
        pytest.skip(reason)
    with Bench(target, Clock(target, tmp_path_factory.mktemp("flood"))) as running:
        assert running.clock is not None
        running.clock.set(START)
        assert running.probe(0, 0)["now"] == START, "the switch does not keep the test's clock"
        yield running


@pytest.fixture(scope="module")
def flooded(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Flooded:
    """A service with live flows that was flooded."""
    native = Native(tmp_path_factory.mktemp("native"))
    service = open_service(bench, ("spread", {"load_penalty": 31}))
    homes = {}
    for source in range(FIRST, FIRST + LIVE):
        home = member(service, source, "S")
        assert home is not None and member(service, source, "A") == home
        homes[source] = home
    before = observe(native, service, homes, lambda _: time.sleep(0.5))
    no_slot, had = bench.events("NO_SLOT"), steered(service)
    flood = Flood((ATTACKER_PORT, segment(service, FIRST)), start=7)

    def attack(live: Live) -> None:
        while steered(service) - had - live.sent < FLOOD[bench.target]:
            if bench.target == "bmv2":
                native.feed(bench, flood, CHUNK[bench.target])
            else:
                native.pour(bench.wires.descriptors[ATTACKER_PORT], flood, CHUNK[bench.target])

    during = observe(native, service, homes, attack)
    bench.wires.flush()
    count = steered(service) - had - during.sent
    return Flooded(service, homes, before, during, count, bench.events("NO_SLOT") - no_slot)


def observe(native: Native, service: Service, homes: dict[int, int], act: Callable[[Live], None]) -> Live:
    """The traffic of the live flows while something happens."""
    wires = service.bench.wires
    with ExitStack() as stack:
        receivers = [stack.enter_context(wires.tap(port)) for port in NODE_PORTS]
        live = Live(
            wires.descriptors[CLIENT_PORT],
            [receiver.fileno() for receiver in receivers],
            LIVE_RATE[service.bench.target],
            FIRST,
            list(homes.values()),
            segment(service, FIRST, "PA"),
        )
        sending = threading.Thread(target=native.keep_alive, args=(live,))
        sending.start()
        try:
            act(live)
        finally:
            live.stop = 1
            sending.join()
    assert live.sent
    return live


def steered(service: Service) -> int:
    """Packets that were steered to its instances so far."""
    return sum(service.bench.client.counter("steered", service.index << 6 | number) for number in range(8))


def goodput(live: Live) -> float:
    """The part that came to where it belongs."""
    return float(live.delivered / live.sent)


def test_live_flows_keep_their_goodput_and_their_instance(flooded: Flooded) -> None:
    assert flooded.flood >= FLOOD[flooded.service.bench.target]
    assert goodput(flooded.before) > 0.99
    assert goodput(flooded.during) >= GOODPUT * goodput(flooded.before)
    assert flooded.before.astray == flooded.during.astray == 0
    for source, home in flooded.homes.items():
        assert member(flooded.service, source, "PA") == home


def test_what_finds_no_slot_is_no_new_work(flooded: Flooded) -> None:
    taken = flooded.flood - flooded.no_slot
    assert taken <= STORE - LIVE
    sent = sum(flooded.service.probe(number)["sent"] for number in range(8))
    lost = flooded.during.sent - flooded.during.delivered
    assert taken <= sent - LIVE <= taken + lost


def test_a_full_store_steers_new_connections_and_takes_them_in_once_the_flood_has_expired(flooded: Flooded) -> None:
    bench, service = flooded.service.bench, flooded.service
    if flooded.flood < 10 * STORE:
        pytest.skip(f"{bench.target} takes minutes to fill the store: `make fuzz`")
    newcomers = [FIRST + (number << 16) for number in range(1, NEWCOMERS + 1)]
    homes = {}
    with bench.counts("events", "NO_SLOT", NEWCOMERS):
        for source in newcomers:
            homes[source] = member(service, source, "S")
    with bench.counts("events", "NO_ENTRY", 3 * NEWCOMERS):
        for source, home in homes.items():
            assert [member(service, source, flags) for flags in ("A", "PA", "FA")] == [home] * 3
    assert len(set(homes.values())) > 4, "spread over the instances"
    assert bench.clock is not None
    bench.clock.set(START + HANDSHAKE + 1)
    with bench.counts("events", "NO_SLOT", 0), bench.counts("events", "NO_ENTRY", 0):
        for source in newcomers:
            home = member(service, source, "S")
            assert home is not None
            assert [member(service, source, flags) for flags in ("A", "PA", "FA")] == [home] * 3
    for source, before in flooded.homes.items():
        assert member(service, source, "PA") == before
