"""Captures with comments, for Wireshark: pcapng with an interface for each port (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from pathlib import Path

from softswitch.commands.pcap import ETHERNET

_SECTION, _INTERFACE, _ENHANCED = 0x0A0D0D0A, 1, 6
_BYTE_ORDER, _VERSION, _UNKNOWN_LENGTH = 0x1A2B3C4D, (1, 0), -1
_COMMENT, _NAME, _FLAGS, _TIME_RESOLUTION = 1, 2, 2, 9
_NANOSECONDS = b"\x09"
_INBOUND, _OUTBOUND = 1, 2
_LONGEST_COMMENT = 60_000
"""Bytes; the length of an option has 16 bits."""


class PcapngWriter:
    """Writes one file, replacing what was there. Raises OSError."""

    def __init__(self, path: Path, link_type: int = ETHERNET) -> None:
        self._link_type = link_type
        self._interfaces: dict[int, int] = {}
        self._file = path.open("wb")
        self.count = 0
        """Packets so far; Wireshark numbers them from 1."""
        self._block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, *_VERSION, _UNKNOWN_LENGTH))

    def write(self, time_ns: int, data: bytes, *, port: int, comes_in: bool, comment: str) -> None:
        """Append a packet that comes in at a port or leaves through it. A very long comment is cut off."""
        number = self._interface(port)
        head = struct.pack("<IIIII", number, time_ns >> 32, time_ns & 0xFFFFFFFF, len(data), len(data))
        flags = struct.pack("<I", _INBOUND if comes_in else _OUTBOUND)
        text = comment.encode()
        if len(text) > _LONGEST_COMMENT:
            text = text[:_LONGEST_COMMENT].decode(errors="ignore").encode() + "\n…".encode()
        self._block(
            _ENHANCED, head + _padded(data) + _option(_COMMENT, text) + _option(_FLAGS, flags) + _option(0, b"")
        )
        self.count += 1

    def close(self) -> None:
        """Write out what is left."""
        self._file.close()

    def _interface(self, port: int) -> int:
        if port not in self._interfaces:
            self._interfaces[port] = len(self._interfaces)
            name = _option(_NAME, f"port {port}".encode()) + _option(_TIME_RESOLUTION, _NANOSECONDS)
            self._block(_INTERFACE, struct.pack("<HHI", self._link_type, 0, 0) + name + _option(0, b""))
        return self._interfaces[port]

    def _block(self, kind: int, body: bytes) -> None:
        length = len(body) + 12
        self._file.write(struct.pack("<II", kind, length) + body + struct.pack("<I", length))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)
