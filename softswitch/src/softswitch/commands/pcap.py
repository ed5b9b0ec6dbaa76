"""Capture files: pcap and pcapng are read, pcap with nanoseconds is written.

Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

ETHERNET = 1
"""Link type of Ethernet frames."""

_SECOND_NS = 10**9
_MICRO, _NANO = 0xA1B2C3D4, 0xA1B23C4D
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_BYTE_ORDER = 0x1A2B3C4D
_TIME_RESOLUTION, _TIME_OFFSET = 9, 14
_MAX_BLOCK = 1 << 26
_SNAP_LENGTH = 1 << 18
_FILE_HEADER = struct.Struct("<IHHiIII")
_PACKET_HEADER = struct.Struct("<IIII")


class PcapError(ValueError):
    """A file that is no capture, or a broken one: says where."""


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    """A packet of a capture. `time_ns` is since 1970; `cut` counts the bytes that the capture left out at its end."""

    time_ns: int
    data: bytes
    cut: int = 0


@dataclass(frozen=True, slots=True)
class _Interface:
    """How the packets of one pcapng interface are to be read: time = offset + stamp * numerator / denominator ns."""

    link_type: int
    numerator: int
    denominator: int
    offset_ns: int

    def time_ns(self, stamp: int) -> int:
        return self.offset_ns + stamp * self.numerator // self.denominator


class PcapReader:
    """Iterates over the packets of a file, once, in the file's order. Raises PcapError, OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.link_type = ETHERNET
        self._file: BinaryIO = path.open("rb")
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._packets = self._open()

    def __iter__(self) -> Iterator[CapturedPacket]:
        return self._packets

    def __enter__(self) -> PcapReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._file.close()

    def _open(self) -> Iterator[CapturedPacket]:
        try:
            magic = self._file.read(4)
            if len(magic) == 4 and struct.unpack("<I", magic)[0] == _SECTION:
                packets = self._pcapng()
                first = next(packets, None)
                return iter(()) if first is None else _chain(first, packets)
            for order in "<>":
                for number, unit in ((_MICRO, 1000), (_NANO, 1)):
                    if magic == struct.pack(f"{order}I", number):
                        self._order = order
                        _, _, _, _, _, self.link_type = struct.unpack(f"{order}HHiIII", self._exactly(20))
                        self.link_type &= 0xFFFF
                        return self._pcap(unit)
        except BaseException:
            self._file.close()
            raise
        self._file.close()
        raise PcapError(f"{self.path} is neither a pcap nor a pcapng file")

    def _pcap(self, unit: int) -> Iterator[CapturedPacket]:
        while header := self._file.read(16):
            if len(header) < 16:
                raise self._broken("ends inside a packet's header")
            seconds, fraction, length, whole = struct.unpack(f"{self._order}IIII", header)
            if length > _MAX_BLOCK:
                raise self._broken(f"has a packet of {length} bytes")
            data = self._exactly(length)
            yield CapturedPacket(seconds * _SECOND_NS + fraction * unit, data, max(whole - length, 0))

    def _pcapng(self) -> Iterator[CapturedPacket]:
        self._section()
        last_ns = 0
        while header := self._file.read(8):
            if len(header) < 8:
                raise self._broken("ends inside a block's header")
            if struct.unpack_from("<I", header)[0] == _SECTION:
                self._file.seek(-4, 1)
                self._section()
                continue
            kind, length = struct.unpack(f"{self._order}II", header)
            if length < 12 or length % 4 or length > _MAX_BLOCK:
                raise self._broken(f"has a block of {length} bytes")
            body = self._exactly(length - 8)[:-4]
            try:
                if kind == _INTERFACE:
                    self._interfaces.append(self._interface(body))
                elif kind == _ENHANCED:
                    packet = self._enhanced(body)
                    last_ns = packet.time_ns
                    yield packet
                elif kind == _SIMPLE:
                    whole = struct.unpack_from(f"{self._order}I", body)[0]
                    self._on(0)
                    yield CapturedPacket(last_ns, body[4 : 4 + whole], max(whole - len(body) + 4, 0))
            except struct.error as error:
                raise self._broken(f"has a block of type {kind} that is too short") from error

    def _section(self) -> None:
        """A section header behind its type: it says the byte order of all that follows."""
        length = self._exactly(4)
        magic = self._exactly(4)
        for order in "<>":
            if magic == struct.pack(f"{order}I", _BYTE_ORDER):
                self._order = order
        size = struct.unpack(f"{self._order}I", length)[0]
        if magic != struct.pack(f"{self._order}I", _BYTE_ORDER) or not 28 <= size <= _MAX_BLOCK:
            raise self._broken("has a broken section header")
        self._exactly(size - 12)
        self._interfaces = []

    def _interface(self, body: bytes) -> _Interface:
        link_type = struct.unpack_from(f"{self._order}H", body)[0]
        numerator, denominator, offset = 1000, 1, 0
        at = 8
        while at + 4 <= len(body):
            code, length = struct.unpack_from(f"{self._order}HH", body, at)
            value = body[at + 4 : at + 4 + length]
            if code == _TIME_RESOLUTION and value:
                base, exponent = (2, value[0] & 0x7F) if value[0] & 0x80 else (10, value[0])
                numerator, denominator = _SECOND_NS, base**exponent
            elif code == _TIME_OFFSET:
                offset = struct.unpack(f"{self._order}q", value)[0]
            at += 4 + (length + 3) // 4 * 4
        return _Interface(link_type, numerator, denominator, offset * _SECOND_NS)

    def _enhanced(self, body: bytes) -> CapturedPacket:
        number, high, low, length, whole = struct.unpack_from(f"{self._order}IIIII", body)
        if length > len(body) - 20:
            raise self._broken(f"has a packet of {length} bytes in a block of {len(body) + 12}")
        interface = self._on(number)
        time_ns = interface.time_ns(high << 32 | low)
        return CapturedPacket(time_ns, body[20 : 20 + length], max(whole - length, 0))

    def _on(self, number: int) -> _Interface:
        if number >= len(self._interfaces):
            raise self._broken(f"has a packet of interface {number} and no description of it")
        interface = self._interfaces[number]
        if any(other.link_type != interface.link_type for other in self._interfaces):
            raise self._broken("holds packets of several link types")
        self.link_type = interface.link_type
        return interface

    def _exactly(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length:
            raise self._broken("ends too early")
        return data

    def _broken(self, what: str) -> PcapError:
        return PcapError(f"{self.path} {what}, at byte {self._file.tell()}")


def _chain(first: CapturedPacket, rest: Iterator[CapturedPacket]) -> Iterator[CapturedPacket]:
    yield first
    yield from rest


class PcapWriter:
    """Writes one file, replacing what was there. Raises OSError."""

    def __init__(self, path: Path, link_type: int = ETHERNET) -> None:
        self._file = path.open("wb")
        self._file.write(_FILE_HEADER.pack(_NANO, 2, 4, 0, 0, _SNAP_LENGTH, link_type))

    def write(self, time_ns: int, data: bytes) -> None:
        """Append a packet."""
        seconds, fraction = divmod(time_ns, _SECOND_NS)
        self._file.write(_PACKET_HEADER.pack(seconds & 0xFFFFFFFF, fraction, len(data), len(data)) + data)

    def close(self) -> None:
        """Write out what is left."""
        self._file.close()
