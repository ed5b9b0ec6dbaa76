"""A filter in the kernel that keeps from a service's socket what is no request, at hardly any cost.

It judges what needs no memory of other datagrams: length, magic, version and type. Data begins with the UDP header.
"""

from __future__ import annotations

import socket

from greengrass_agent.gateway import classic_bpf
from greengrass_agent.gateway.classic_bpf import Instruction, Purpose
from hitless.wire.layout import offset
from hitless.words import INVOCATION_BYTES, INVOCATION_LAYOUT, INVOCATION_MAGIC, INVOCATION_VERSION, InvocationType

_UDP_HEADER = 8
_WHOLE = 0xFFFFFFFF


def program() -> list[Instruction]:
    """The filter."""
    checks = [
        (classic_bpf.LOAD_LENGTH, 0, classic_bpf.JUMP_IF_AT_LEAST, _UDP_HEADER + INVOCATION_BYTES),
        (classic_bpf.LOAD_16, _at("magic"), classic_bpf.JUMP_IF_EQUAL, INVOCATION_MAGIC),
        (classic_bpf.LOAD_8, _at("version"), classic_bpf.JUMP_IF_EQUAL, INVOCATION_VERSION),
        (classic_bpf.LOAD_8, _at("type"), classic_bpf.JUMP_IF_EQUAL, InvocationType.REQUEST),
    ]
    instructions = []
    for number, (load, place, jump, expected) in enumerate(checks):
        to_the_end = 2 * (len(checks) - number) - 1
        instructions += [(load, 0, 0, place), (jump, 0, to_the_end, expected)]
    return [*instructions, (classic_bpf.RETURN, 0, 0, _WHOLE), (classic_bpf.RETURN, 0, 0, 0)]


def attach(sock: socket.socket) -> None:
    """Let only requests into a UDP socket from now on. Raises OSError where the kernel has no such filters."""
    classic_bpf.attach(sock, Purpose.FILTER, program())


def _at(field: str) -> int:
    return _UDP_HEADER + offset(INVOCATION_LAYOUT, field)
