"""A filter in the kernel (classic BPF) that keeps from a service's socket what is no request, at hardly any cost.

It judges what needs no memory of other datagrams: length, magic, version and type. The instructions and their numbers
are those of linux/filter.h and linux/bpf_common.h; data begins with the UDP header.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from hitless.wire.layout import offset
from hitless.words import INVOCATION_BYTES, INVOCATION_LAYOUT, INVOCATION_MAGIC, INVOCATION_VERSION, InvocationType

_UDP_HEADER = 8
_LOAD_LENGTH, _LOAD_16, _LOAD_8 = 0x80, 0x28, 0x30
"""BPF_LD with BPF_W | BPF_LEN; BPF_H | BPF_ABS; BPF_B | BPF_ABS."""
_JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x15, 0x35, 0x06
_WHOLE = 0xFFFFFFFF
_INSTRUCTION = struct.Struct("=HBBI")
"""struct sock_filter: code, how many to skip if true, if false, operand."""
_SO_ATTACH_FILTER = 26


def program() -> bytes:
    """The filter: struct sock_filter after struct sock_filter."""
    checks = [
        (_LOAD_LENGTH, 0, _JUMP_IF_AT_LEAST, _UDP_HEADER + INVOCATION_BYTES),
        (_LOAD_16, _at("magic"), _JUMP_IF_EQUAL, INVOCATION_MAGIC),
        (_LOAD_8, _at("version"), _JUMP_IF_EQUAL, INVOCATION_VERSION),
        (_LOAD_8, _at("type"), _JUMP_IF_EQUAL, InvocationType.REQUEST),
    ]
    instructions = []
    for number, (load, place, jump, expected) in enumerate(checks):
        to_the_end = 2 * (len(checks) - number) - 1
        instructions += [(load, 0, 0, place), (jump, 0, to_the_end, expected)]
    instructions += [(_RETURN, 0, 0, _WHOLE), (_RETURN, 0, 0, 0)]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)


def attach(sock: socket.socket) -> None:
    """Let only requests into a UDP socket from now on. Raises OSError where the kernel has no such filters."""
    code = ctypes.create_string_buffer(program())
    # struct sock_fprog: the number of instructions, and where they are.
    described = struct.pack("@HP", len(code) // _INSTRUCTION.size, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def _at(field: str) -> int:
    return _UDP_HEADER + offset(INVOCATION_LAYOUT, field)
