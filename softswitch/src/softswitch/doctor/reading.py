"""Reads the facts from the kernel: rtnetlink(7), ethtool's ioctl, /proc. Needs no privileges, but sees other users'
processes only as root."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import ipaddress
import os
import platform
import re
import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from softswitch.codegen.cc import default_cache_dir
from softswitch.doctor.machine import Interface, Listener, Machine

_GET_LINK, _NEW_LINK, _GET_ADDRESS, _NEW_ADDRESS = 18, 16, 22, 20
_DONE, _ERROR = 3, 2
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NAME, _MTU, _MASTER, _LINK_INFO, _XDP, _NAMES, _OTHER_NAME = 3, 4, 10, 18, 43, 52, 53
_KIND, _XDP_ATTACHED = 1, 2
_ADDRESS, _LOCAL = 1, 2
_UP, _RUNNING = 1 << 0, 1 << 6
_NESTED = 0x7FFF  # the type of an attribute without its flags

_SIOCETHTOOL = 0x8946
_STRING_SET_INFO, _STRINGS, _FEATURES, _OF_FEATURES, _STRING_BYTES = 0x37, 0x1B, 0x3A, 4, 32
_BLOCK = struct.Struct("=IIII")

_NET_ADMIN, _NET_RAW = 12, 13
_AF_XDP = 44

_Attributes = dict[int, bytes]


def read() -> Machine:
    """The machine as it is now. Raises OSError."""
    links = list(_dump(_GET_LINK, _NEW_LINK))
    names = {index: _text(attributes[_NAME]) for (_, _, index, _, _), attributes in links}
    addresses = _addresses()
    listeners = _listeners()
    interfaces = [
        _interface(header, attributes, names, addresses.get(header[2], ()), listeners.get(header[2], ()))
        for header, attributes in links
    ]
    capabilities = int(re.findall(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)[0], 16)
    compiler = os.environ.get("CC", "gcc")
    kernel = [int(number) for number in re.findall(r"\d+", platform.release())[:2]]
    return Machine(
        interfaces=tuple(interfaces),
        kernel=(kernel[0], kernel[1]),
        may_use_packet_sockets=bool(capabilities >> _NET_RAW & 1),
        may_enlarge_buffers=bool(capabilities >> _NET_ADMIN & 1),
        has_af_xdp=_has_af_xdp(),
        compiler=compiler,
        has_compiler=shutil.which(compiler) is not None,
        unwritable_cache=_unwritable(default_cache_dir()),
    )


def _interface(
    header: tuple[int, ...],
    attributes: _Attributes,
    names: dict[int, str],
    addresses: tuple[str, ...],
    listeners: tuple[Listener, ...],
) -> Interface:
    _, hardware, index, flags, _ = header
    name = names[index]
    master = _number(attributes.get(_MASTER, b""))
    inside = _attributes(attributes.get(_NAMES, b""))
    return Interface(
        index=index,
        name=name,
        hardware=hardware,
        mtu=_number(attributes[_MTU]),
        up=bool(flags & _UP),
        carrier=bool(flags & _RUNNING),
        kind=_text(dict(_attributes(attributes.get(_LINK_INFO, b""))).get(_KIND, b"")),
        master=names.get(master, f"interface {master}") if master else "",
        other_names=tuple(_text(value) for kind, value in inside if kind == _OTHER_NAME),
        addresses=addresses,
        features=_features(name),
        xdp=bool(_number(dict(_attributes(attributes.get(_XDP, b""))).get(_XDP_ATTACHED, b""))),
        listeners=listeners,
    )


def _dump(request: int, wanted: int) -> Iterator[tuple[tuple[int, ...], _Attributes]]:
    """Answers to a dump: the fixed part (of 16 bytes for links, of 8 for addresses), and the attributes."""
    fixed = struct.Struct("=BxHiII" if wanted == _NEW_LINK else "=BBBBI")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.send(struct.pack("=IHHII", 32, request, _DUMP, 1, 0) + bytes(16))
        while True:
            data = link.recv(1 << 20)
            at = 0
            while at < len(data):
                length, kind, _, _, _ = struct.unpack_from("=IHHII", data, at)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", data, at + 16)[0]
                    raise OSError(number, os.strerror(number))
                if kind == wanted:
                    body = data[at + 16 : at + length]
                    yield fixed.unpack_from(body), dict(_attributes(body[fixed.size :]))
                at += length + 3 & ~3


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found.append((kind & _NESTED, data[at + 4 : at + length]))
        at += max(length + 3 & ~3, 4)
    return found


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode(errors="replace")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little" if struct.pack("=H", 1)[0] else "big")


def _addresses() -> dict[int, tuple[str, ...]]:
    """IP addresses with their prefix length, by the interface's index."""
    found: dict[int, tuple[str, ...]] = {}
    for (_, prefix, _, _, index), attributes in _dump(_GET_ADDRESS, _NEW_ADDRESS):
        address = ipaddress.ip_address(attributes.get(_LOCAL) or attributes[_ADDRESS])
        found[index] = (*found.get(index, ()), f"{address}/{prefix}")
    return found


def _features(name: str) -> frozenset[str]:
    """The active features, as `ethtool -k` names them; none where the driver knows none."""
    try:
        info = _ethtool(name, struct.pack("=IIQI", _STRING_SET_INFO, 0, 1 << _OF_FEATURES, 0))
        count = struct.unpack_from("=I", info, 16)[0]
        strings = _ethtool(name, struct.pack("=III", _STRINGS, _OF_FEATURES, count) + bytes(count * _STRING_BYTES))
        blocks = (count + 31) // 32
        answer = _ethtool(name, struct.pack("=II", _FEATURES, blocks) + bytes(blocks * _BLOCK.size))
    except OSError:
        return frozenset()
    active = [_BLOCK.unpack_from(answer, 8 + number * _BLOCK.size)[2] for number in range(blocks)]
    names = [_text(strings[12 + n * _STRING_BYTES : 12 + (n + 1) * _STRING_BYTES]) for n in range(count)]
    return frozenset(one for n, one in enumerate(names) if active[n // 32] >> n % 32 & 1)


def _ethtool(name: str, request: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(request, len(request))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(buffer)))
    return buffer.raw


def _listeners() -> dict[int, tuple[Listener, ...]]:
    """Processes that receive by a packet socket, by the interface's index."""
    inodes: dict[str, int] = {}
    for line in Path("/proc/net/packet").read_text().splitlines()[1:]:
        _, _, _, protocol, index, running, *_, inode = line.split()
        if int(protocol, 16) and int(index) and running == "1":
            inodes[f"socket:[{inode}]"] = int(index)
    found: dict[int, tuple[Listener, ...]] = {}
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        # a process may end, or be another user's
        with contextlib.suppress(OSError):
            names = {str(file.readlink()) for file in (process / "fd").iterdir()}
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            for number in {inodes[name] for name in names & inodes.keys()}:
                found[number] = (*found.get(number, ()), Listener(int(process.name), _short(command)))
    return found


def _short(command: str) -> str:
    """The program and what it was told first."""
    return " ".join(command.split()[:3])


def _has_af_xdp() -> bool:
    try:
        socket.socket(_AF_XDP, socket.SOCK_RAW).close()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _unwritable(folder: Path) -> str:
    """The folder, or the first one above it that exists, if nothing may be written there."""
    while not folder.exists():
        folder = folder.parent
    return "" if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK) else str(folder)
