"""A binding may demand that its reports are signed; then nothing that was forged, altered or replayed counts."""

import random

import pytest

from tests.packet.bench import Bench
from tests.packet.layout import node_port
from tests.packet.service import Keys, Service
from tests.packet.siphash import siphash
from tests.patience import until

OLD = bytes(range(16))
NEW = bytes.fromhex("9f3c1122334455667788aabbccddeeff")


def test_the_reference_is_the_papers() -> None:
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


def keys(key_id: int, key: bytes, next_key_id: int = 0, next_key: bytes = bytes(16)) -> Keys:
    """Of a binding that demands a tag."""
    return Keys(key_id, int.from_bytes(key), next_key_id, int.from_bytes(next_key))


def signed(service: Service, key_id: int, key: bytes, member: int = 0, **fields: int) -> bytes:
    """A report with the tag it should have."""
    payload = service.payload(member, key_id=key_id, **fields)[:44]
    return payload + siphash(key, payload).to_bytes(8)


def demanding(bench: Bench, demanded: Keys) -> Service:
    """A service whose member 0 must sign its reports."""
    service = bench.service()
    bench.client.modify(service.binding(0, keys=demanded))
    return service


def take(service: Service, payload: bytes) -> bool:
    """Whether the switch accepts a report; else it must be counted as forged."""
    bench = service.bench
    accepted, forged = bench.events("REPORT"), bench.drops("REPORT_FORGED")
    bench.send(node_port(0), service.report_frame(0, payload))
    until(
        lambda: bench.events("REPORT") + bench.drops("REPORT_FORGED") == accepted + forged + 1,
        "the report to be counted as accepted or forged",
    )
    return bench.events("REPORT") == accepted + 1


def test_what_is_signed_counts_whatever_is_in_it(bench: Bench) -> None:
    service = demanding(bench, keys(1, OLD))
    choose = random.Random(4)
    for sequence in range(1, 30):
        fields = {name: choose.getrandbits(16) for name in ("cpu", "cpu_own", "memory", "queue_depth", "in_flight")}
        fields |= {name: choose.getrandbits(32) for name in ("backlog", "service_interval", "received")}
        assert take(service, signed(service, 1, OLD, sequence=sequence, **fields))
    assert service.probe(0)["sequence"] == 29


@pytest.mark.parametrize(
    ("key_id", "key"), [(0, bytes(16)), (0, OLD), (1, NEW), (2, OLD), (255, OLD)], ids=["none", "0", "new", "2", "255"]
)
def test_another_key_or_another_name_for_it_is_forgery(bench: Bench, key_id: int, key: bytes) -> None:
    service = demanding(bench, keys(1, OLD))
    assert not take(service, signed(service, key_id, key))
    assert service.probe(0)["status"] == 0
    assert take(service, signed(service, 1, OLD))


def test_an_unsigned_report_counts_only_where_no_tag_is_demanded(bench: Bench) -> None:
    service = demanding(bench, keys(1, OLD))
    assert not take(service, service.payload(0))
    assert not take(service, service.payload(0, key_id=1))
    bench.client.modify(service.binding(0))
    assert take(service, service.payload(0))
    assert take(service, service.payload(0, key_id=77, tag=2**64 - 1)), "its tag is nobody's business"


def test_a_key_is_replaced_without_a_gap(bench: Bench) -> None:
    service = demanding(bench, keys(1, OLD))
    assert take(service, signed(service, 1, OLD))
    assert not take(service, signed(service, 2, NEW))
    bench.client.modify(service.binding(0, keys=keys(1, OLD, 2, NEW)))
    assert take(service, signed(service, 1, OLD))
    assert take(service, signed(service, 2, NEW))
    assert take(service, signed(service, 1, OLD)), "what was on its way still counts"
    assert not take(service, signed(service, 1, NEW))
    assert not take(service, signed(service, 2, OLD))
    bench.client.modify(service.binding(0, keys=keys(2, NEW)))
    assert take(service, signed(service, 2, NEW))
    assert not take(service, signed(service, 1, OLD))


def test_a_signed_report_moves_the_host(bench: Bench) -> None:
    service = demanding(bench, keys(1, OLD))
    service.report(1, cpu=900)
    assert service.host() == 1
    assert take(service, signed(service, 1, OLD))
    assert service.host() == 0
