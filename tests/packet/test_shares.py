"""A service's share of the flow store is its own, and what finds it full is moved by no migration."""

import itertools
import socket
import struct
from collections import Counter
from collections.abc import Iterable

import pytest

from hitless.words import FlowPlace
from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_PORT
from tests.packet.service import Service
from tests.packet.test_affinity_store import alike

FLOW = 1
SINGLE = ("single", {"margin": 400, "dwell": 0})
FIRST = int.from_bytes(socket.inet_aton(CLIENT), "big") << 16 | 5000
STRANGERS = int.from_bytes(socket.inet_aton("172.16.0.0"), "big") << 16
AT_A_TIME = 40
_firsts = itertools.count(1000)
pytestmark = pytest.mark.frozen


def ends(source: int) -> dict[str, object]:
    """An address and port, from the number that stands for both."""
    return {"source": socket.inet_ntoa(struct.pack("!I", source >> 16)), "sport": source & 0xFFFF}


def strangers(count: int) -> Iterable[int]:
    """Spoofed sources, each at an address and port of its own."""
    return range(STRANGERS, STRANGERS + count * 0x10003, 0x10003)


def narrow() -> tuple[int, int]:
    """A share of two slots that no other service of this module has."""
    return next(_firsts), 1


def flood(service: Service, sources: Iterable[int]) -> None:
    """A new flow from each source; all are steered to somebody."""
    bench, frames = service.bench, []
    for source in sources:
        packet = service.segment("S", **ends(source)) if service.protocol == "tcp" else service.datagram(**ends(source))
        frames.append(bytes(packet))
    bench.wires.flush()
    for at in range(0, len(frames), AT_A_TIME):
        some = frames[at : at + AT_A_TIME]
        for frame in some:
            bench.send(CLIENT_PORT, frame)
        assert all(bench.receive() for _ in some)


def single(bench: Bench, protocol: str = "tcp", **options: object) -> Service:
    """A service whose new work goes to member 0."""
    service = bench.service(protocol=protocol, affinity=FLOW, policy=SINGLE, **options)
    service.report(0)
    service.report(1)
    assert service.host() == 0
    return service


def migrate(service: Service, to: int) -> None:
    """Make a member the host by load."""
    service.report(to)
    service.report(1 - to, cpu=1000)
    assert service.host() == to


def say(service: Service, source: int, flags: str) -> int | None:
    """The member that a segment goes to."""
    return service.member_of(service.segment(flags, **ends(source)))


def connect(service: Service, sources: Iterable[int]) -> dict[int, int | None]:
    """Open a connection from each source; where each went."""
    homes = {source: say(service, source, "S") for source in sources}
    assert {source: say(service, source, "A") for source in homes} == homes
    return homes


def found(service: Service) -> Counter[FlowPlace]:
    """What places flows that began have found, by the switch's counter."""
    cells = service.bench.client.counters("newcomers")
    return Counter({place: cells.get(service.index << 2 | place, 0) for place in FlowPlace})


def test_a_flood_of_one_service_takes_no_slot_of_another(bench: Bench) -> None:
    loud = single(bench, "udp", share=(0, 64))
    quiet = single(bench, share=(64, 512))
    full = bench.events("NO_SLOT")
    flood(loud, strangers(1000))
    assert bench.events("NO_SLOT") - full >= 1000 - 2 * 64
    with bench.counts("events", "NO_SLOT", 0):
        homes = connect(quiet, range(FIRST, FIRST + 6))
    migrate(quiet, 1)
    with bench.counts("events", "NO_ENTRY", 0):
        for flags in ("PA", "A", "FA"):
            assert {source: say(quiet, source, flags) for source in homes} == homes
    assert found(quiet) == Counter({FlowPlace.FIRST: 6})


def test_a_migration_moves_no_connection_of_a_full_share(bench: Bench) -> None:
    service = single(bench, share=narrow())
    homes = connect(service, range(FIRST, FIRST + 30))
    flood(service, strangers(200))
    migrate(service, 1)
    flood(service, strangers(400))
    for flags in ("PA", "A", "FA", "A"):
        assert {source: say(service, source, flags) for source in homes} == homes
    assert set(homes.values()) == {0}
    # What begins now is not moved either, wherever it goes.
    newcomers = connect(service, range(FIRST + 30, FIRST + 60))
    assert set(newcomers.values()) == {0, 1}
    migrate(service, 0)
    for sources in (homes, newcomers):
        assert {source: say(service, source, "PA") for source in sources} == sources
    assert found(service)[FlowPlace.BUCKET] >= 600


@pytest.mark.parametrize(
    "policy", [("spread", {"load_penalty": 31}), ("round_robin", {}), SINGLE], ids=lambda one: one[0]
)
def test_what_has_no_slot_stays_when_members_come_and_go(bench: Bench, policy: tuple[str, dict[str, int]]) -> None:
    service = bench.service(protocol="tcp", affinity=FLOW, policy=policy, members=8, share=narrow())
    for member in range(0, 8, 2):
        service.report(member)
    homes = connect(service, range(FIRST, FIRST + 24))
    for member in range(1, 8, 2):
        service.report(member)
    for member in range(0, 8, 2):
        service.report(member, draining=True)
    assert {source: say(service, source, "PA") for source in homes} == homes
    assert set(homes.values()) <= {0, 2, 4, 6}


def filled(service: Service) -> int:
    """Fill a share of two slots with connections of others; a source that finds neither."""
    taking = [FIRST, *range(FIRST + 100, FIRST + 104)]
    connect(service, taking)
    assert found(service)[FlowPlace.FIRST] + found(service)[FlowPlace.SECOND] == 2
    return FIRST + 300


def test_a_bucket_follows_the_host_once_it_is_idle(bench: Bench) -> None:
    service = single(bench, share=narrow(), idle_after=20, stale_after=90)
    source = filled(service)
    assert say(service, source, "S") == 0
    migrate(service, 1)
    # A handshake lasts three seconds, an answered one as long as any flow.
    bench.pass_time(2.9)
    assert say(service, source, "A") == 0
    bench.pass_time(19.9)
    assert say(service, FIRST, "A") == say(service, source, "FA") == 0
    bench.pass_time(10.0)
    assert say(service, source, "A") == 0
    bench.pass_time(20.1)
    assert say(service, source, "S") == 1


def test_a_syn_alone_keeps_a_bucket_for_three_seconds_and_cuts_nobody_short(bench: Bench) -> None:
    service = single(bench, share=narrow(), idle_after=20, stale_after=90)
    source = filled(service)
    assert say(service, source, "S") == 0
    assert say(service, source, "A") == 0
    assert say(service, source, "S") == say(service, source, "R") == 0
    migrate(service, 1)
    bench.pass_time(19)
    assert say(service, source, "A") == 0
    bench.pass_time(21)
    # The slots are free by now: they are taken before anybody needs a bucket.
    assert connect(service, [FIRST + 401, FIRST + 402, FIRST + 403])[FIRST + 401] == 1
    migrate(service, 0)
    other = FIRST + 500
    assert say(service, other, "S") == 0
    migrate(service, 1)
    bench.pass_time(3.1)
    assert say(service, FIRST + 401, "A") == 1
    assert say(service, other, "A") == 1


def test_a_bucket_leaves_a_member_that_is_dead_and_one_that_is_gone(bench: Bench) -> None:
    service = single(bench, share=narrow(), stale_after=1, dead_after=4)
    source = filled(service)
    assert say(service, source, "S") == 0
    bench.pass_time(3)
    service.report(1)
    assert say(service, source, "A") == 0, "silent, and not yet dead"
    bench.pass_time(2)
    service.report(1)
    assert say(service, source, "A") == 1
    service.report(0)
    service.report(1, draining=True)
    assert service.host() == 0
    assert say(service, source, "A") == 1
    bench.client.modify(service.instance(1, generation=2))
    assert say(service, source, "A") == 0


def test_a_connection_that_nobody_knows_stays_from_then_on(bench: Bench) -> None:
    service = single(bench)
    with bench.counts("events", "NO_ENTRY", 2):
        assert say(service, FIRST, "A") == 0
        migrate(service, 1)
        assert say(service, FIRST, "A") == 0
    assert say(service, FIRST + 1, "S") == 1


def test_a_datagram_of_a_flow_without_a_slot_stays_when_there_is_one(bench: Bench) -> None:
    service = single(bench, "udp", share=narrow(), idle_after=20, stale_after=90)
    flood(service, strangers(8))
    source = FIRST
    assert service.member_of(service.datagram(**ends(source))) == 0
    migrate(service, 1)
    bench.pass_time(15)
    assert service.member_of(service.datagram(**ends(source))) == 0
    bench.pass_time(6)
    place = found(service)
    assert service.member_of(service.datagram(**ends(source))) == 0
    assert found(service) - place == Counter({FlowPlace.FIRST: 1})
    bench.pass_time(15)
    assert service.member_of(service.datagram(**ends(source))) == 0


def test_flows_go_on_when_shares_change(bench: Bench) -> None:
    service = single(bench, share=(0, 1024))
    homes = connect(service, [*range(FIRST, FIRST + 8), *alike(service, FIRST, 1)])
    assert found(service)[FlowPlace.SECOND] >= 1
    service.configure(share=(5000, 512), old_share=(0, 1024))
    other = single(bench, share=(0, 1024))
    others = connect(other, range(FIRST, FIRST + 12))
    migrate(service, 1)
    with bench.counts("events", "NO_ENTRY", 0):
        for _ in range(2):
            assert {source: say(service, source, "PA") for source in homes} == homes
        # They have moved: the old share is needed no more.
        service.configure(old_share=(0, 0))
        assert {source: say(service, source, "PA") for source in homes} == homes
        assert {source: say(other, source, "PA") for source in others} == others
    assert say(service, FIRST + 50, "S") == 1


def test_what_another_flow_has_in_the_old_share_is_no_new_ones(bench: Bench) -> None:
    old = narrow()
    service = single(bench, share=old)
    connect(service, range(FIRST, FIRST + 4))
    service.configure(share=(6000, 512), old_share=old)
    migrate(service, 1)
    assert set(connect(service, range(FIRST + 20, FIRST + 26)).values()) == {1}


def test_a_flow_stays_in_the_old_share_while_the_new_one_is_full(bench: Bench) -> None:
    service = single(bench, share=(0, 1024))
    homes = connect(service, range(FIRST, FIRST + 12))
    service.configure(share=narrow(), old_share=(0, 1024))
    homes |= connect(service, [FIRST + 100, FIRST + 101])
    migrate(service, 1)
    with bench.counts("events", "NO_ENTRY", 0):
        for _ in range(2):
            assert {source: say(service, source, "PA") for source in homes} == homes
    service.configure(old_share=(0, 0))
    with bench.counts("events", "NO_ENTRY"):
        say(service, FIRST, "PA")


def test_a_bucket_that_was_never_used_is_idle_after_years(bench: Bench) -> None:
    years = 2**47 / 1_000_000
    bench.pass_time(years)
    try:
        service = single(bench, share=narrow(), stale_after=90)
        source = filled(service)
        assert say(service, source, "S") == 0
        migrate(service, 1)
        bench.pass_time(3.1)
        assert say(service, FIRST, "A") == 0
        assert say(service, source, "S") == 1
    finally:
        bench.pass_time(-years)
        bench.renew()  # nothing is left that would lie years ahead
