"""Packet-in and packet-out metadata: the fields of P4Info's controller headers to and from the header on the wire.

Fields follow one another in P4Info's order; a header that is no whole number of bytes is padded at its end.
"""

from __future__ import annotations

from collections.abc import Sequence

from finsy.proto import p4r

from softswitch.p4runtime.schema import Field


def header_length(fields: Sequence[Field]) -> int:
    """Bytes on the wire."""
    return (sum(field.width for field in fields) + 7) // 8


def decode_packet_in(fields: Sequence[Field] | None, data: bytes) -> p4r.PacketIn:
    """The message for a packet that left through the CPU port. `fields` None: the program has no such header.

    Raises ValueError when the packet is shorter than the header.
    """
    if fields is None:
        return p4r.PacketIn(payload=data)
    length = header_length(fields)
    if len(data) < length:
        raise ValueError(f"packet-in of {len(data)} bytes is shorter than its header of {length}")
    message = p4r.PacketIn(payload=data[length:])
    header = int.from_bytes(data[:length], "big")
    left = length * 8
    for field in fields:
        left -= field.width
        value = header >> left & ((1 << field.width) - 1)
        message.metadata.add(metadata_id=field.id, value=field.encode(value))
    return message


def encode_packet_out(fields: Sequence[Field] | None, message: p4r.PacketOut) -> bytes:
    """The packet to put into the pipeline. Raises ValueError unless the message holds each field exactly once."""
    if fields is None:
        if message.metadata:
            raise ValueError("this program has no packet_out header, so a packet-out has no metadata")
        return bytes(message.payload)
    given: dict[int, bytes] = {}
    known = {field.id for field in fields}
    for metadata in message.metadata:
        if metadata.metadata_id not in known:
            raise ValueError(f"packet-out has no metadata with id {metadata.metadata_id}")
        if metadata.metadata_id in given:
            raise ValueError(f"packet-out metadata {metadata.metadata_id} is given twice")
        given[metadata.metadata_id] = metadata.value
    header = 0
    bits = 0
    for field in fields:
        if field.id not in given:
            raise ValueError(f"packet-out metadata {field.name!r} (id {field.id}) is missing")
        try:
            value = field.decode(given[field.id])
        except ValueError as error:
            raise ValueError(f"packet-out metadata {field.name!r}: {error}") from error
        header = header << field.width | value
        bits += field.width
    length = header_length(fields)
    return (header << (length * 8 - bits)).to_bytes(length, "big") + bytes(message.payload)
