"""Digests, packet-in, packet-out and stream errors."""

from __future__ import annotations

import queue

import pytest
from finsy.proto import p4d, p4r, rpc_code

from tests.softswitch.p4runtime.client import BatchError, Client, Names, Stream
from tests.softswitch.p4runtime.entities import delete, digest_config, insert, modify, number
from tests.softswitch.p4runtime.switches import RunningSwitch, message

SECOND = 10**9


def seen(tag: int, value: int) -> p4d.P4Data:
    members = [p4d.P4Data(bitstring=number(tag)), p4d.P4Data(bitstring=number(value))]
    return p4d.P4Data(struct=p4d.P4StructLike(members=members))


def silent(stream: Stream) -> bool:
    """Whether nothing comes within half a second."""
    try:
        stream.receive(timeout=0.5)
    except queue.Empty:
        return True
    return False


def test_digests_reach_the_primary(client: Client, primary: Stream, names: Names, switch: RunningSwitch) -> None:
    backup = client.stream()
    backup.arbitrate(9)
    backup.arbitration()
    switch.engine.process(1, message(1, tag=1))
    client.write(insert(digest_config(names)))
    switch.engine.process(1, message(1, tag=0xABCD, value=0))
    digest = primary.receive().digest
    assert (digest.digest_id, list(digest.data)) == (names["seen_t"], [seen(0xABCD, 0)])
    assert digest.timestamp > 1_600_000_000 * SECOND
    switch.engine.process(1, message(1, tag=2))
    assert primary.receive().digest.list_id != digest.list_id
    assert silent(backup)


def test_digest_lists_fill_and_time_out(client: Client, primary: Stream, names: Names, switch: RunningSwitch) -> None:
    client.write(insert(digest_config(names, timeout_ns=600 * SECOND, size=2)))
    for tag in (1, 1, 2):
        switch.engine.process(1, message(1, tag=tag))
    assert list(primary.receive().digest.data) == [seen(1, 0), seen(2, 0)]
    client.write(modify(digest_config(names, timeout_ns=SECOND // 5, size=2)))
    switch.engine.process(1, message(1, tag=3))
    assert list(primary.receive().digest.data) == [seen(3, 0)]


def test_unacknowledged_digests_are_not_repeated(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch
) -> None:
    client.write(insert(digest_config(names, ack_ns=1000 * SECOND)))
    switch.engine.process(1, message(1, tag=1))
    first = primary.receive().digest
    switch.engine.process(1, message(1, tag=1))
    assert silent(primary)
    primary.send(digest_ack=p4r.DigestListAck(digest_id=first.digest_id, list_id=first.list_id))
    primary.arbitrate(10)
    primary.arbitration()
    switch.engine.process(1, message(1, tag=1))
    assert list(primary.receive().digest.data) == [seen(1, 0)]


def test_digest_configuration(client: Client, primary: Stream, names: Names, switch: RunningSwitch) -> None:
    config = digest_config(names, timeout_ns=5, size=6, ack_ns=7)
    with pytest.raises(BatchError) as missing:
        client.write(modify(config), delete(config))
    assert missing.value.codes == [rpc_code.NOT_FOUND] * 2
    client.write(insert(config))
    with pytest.raises(BatchError) as twice:
        client.write(insert(config))
    assert twice.value.codes == [rpc_code.ALREADY_EXISTS]
    assert client.read(p4r.Entity(digest_entry=p4r.DigestEntry())) == [config]
    assert client.read(p4r.Entity(digest_entry=p4r.DigestEntry(digest_id=names["seen_t"]))) == [config]
    client.write(delete(config))
    assert client.read(p4r.Entity(digest_entry=p4r.DigestEntry())) == []
    switch.engine.process(1, message(1, tag=1))
    assert silent(primary)


def packet_out(*metadata: tuple[int, bytes], payload: bytes = b"out") -> p4r.PacketOut:
    out = p4r.PacketOut(payload=payload)
    for identifier, value in metadata:
        out.metadata.add(metadata_id=identifier, value=value)
    return out


def test_packet_out_comes_back_as_packet_in(primary: Stream) -> None:
    # Injected, a packet of kind 2 goes to the controller, which sees where it came from: the CPU port, 510.
    packet = message(2, tag=7) + b"payload"
    primary.send(packet=packet_out((2, b"\x01"), (1, b"\x00"), payload=packet))
    received = primary.receive().packet
    assert received.payload == packet
    # ingress_port and reason, in the shortest form.
    assert [(m.metadata_id, m.value) for m in received.metadata] == [(1, b"\x01\xfe"), (2, b"\x05")]


@pytest.mark.parametrize(
    "metadata", [[(1, b"\x01")], [(1, b"\x01"), (2, b"\0"), (9, b"\0")], [(1, b"\x02\x00"), (2, b"\0")]]
)
def test_malformed_packet_out_is_told(primary: Stream, metadata: list[tuple[int, bytes]]) -> None:
    bad = packet_out(*metadata)
    primary.send(packet=bad)
    error = primary.receive().error
    assert error.canonical_code == rpc_code.INVALID_ARGUMENT
    assert error.packet_out.packet_out == bad
    primary.arbitrate(10)
    assert primary.arbitration() == (rpc_code.OK, 10)


def test_packet_out_beyond_64_kib_is_told(primary: Stream) -> None:
    long = packet_out((1, b"\x01"), (2, b"\0"), payload=bytes(1 << 16))
    primary.send(packet=long)
    error = primary.receive().error
    assert (error.canonical_code, error.packet_out.packet_out) == (rpc_code.INVALID_ARGUMENT, long)
    primary.arbitrate(10)
    assert primary.arbitration() == (rpc_code.OK, 10)


def test_backup_may_not_send_packets(client: Client, primary: Stream, names: Names) -> None:
    backup = client.stream()
    backup.send(packet=packet_out((1, b"\x01"), (2, b"\0")))
    error = backup.receive().error
    assert (error.canonical_code, error.WhichOneof("details")) == (rpc_code.PERMISSION_DENIED, "packet_out")


def test_packet_out_without_pipeline_is_told(client: Client) -> None:
    stream = client.primary()
    stream.send(packet=packet_out())
    assert stream.receive().error.canonical_code == rpc_code.FAILED_PRECONDITION


def test_acknowledging_an_unknown_digest_is_told(primary: Stream) -> None:
    ack = p4r.DigestListAck(digest_id=7, list_id=1)
    primary.send(digest_ack=ack)
    error = primary.receive().error
    assert error.canonical_code == rpc_code.INVALID_ARGUMENT
    assert error.digest_list_ack.digest_list_ack == ack


def test_other_stream_messages_are_told(primary: Stream) -> None:
    request = p4r.StreamMessageRequest()
    request.other.Pack(p4r.Role(name="what"))
    primary.send(other=request.other)
    error = primary.receive().error
    assert (error.canonical_code, error.other.other) == (rpc_code.UNIMPLEMENTED, request.other)
