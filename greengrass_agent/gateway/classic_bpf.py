"""Small programs for the kernel to run on each datagram of a socket (classic BPF).

Source of the numbers: linux/filter.h, linux/bpf_common.h, asm-generic/socket.h.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from enum import IntEnum

Instruction = tuple[int, int, int, int]
"""struct sock_filter: code, how many to skip if true, if false, operand."""
NETWORK_HEADER = 0x1_0000_0000 - 0x100000
"""SKF_NET_OFF: added to an offset, it counts from the IP header."""

LOAD_LENGTH, LOAD_32, LOAD_16, LOAD_8 = 0x80, 0x20, 0x28, 0x30
"""BPF_LD with BPF_W | BPF_LEN; BPF_W, BPF_H, BPF_B with BPF_ABS."""
MULTIPLY, SHIFT_RIGHT = 0x24, 0x74
"""BPF_ALU with BPF_MUL, BPF_RSH, by the operand."""
REMEMBER, XOR_REMEMBERED = 0x07, 0xAC
"""BPF_MISC with BPF_TAX, BPF_ALU with BPF_XOR and BPF_X."""
JUMP_IF_EQUAL, JUMP_IF_AT_LEAST = 0x15, 0x35
RETURN, RETURN_RESULT = 0x06, 0x16
_INSTRUCTION = struct.Struct("=HBBI")


class Purpose(IntEnum):
    """What a program is for; the socket option that attaches it."""

    FILTER = 26
    """SO_ATTACH_FILTER: how many bytes of a datagram to keep; 0 drops it."""
    CHOOSE = 51
    """SO_ATTACH_REUSEPORT_CBPF: which of the sockets bound to one address gets it, by the order of binding."""


def attach(sock: socket.socket, purpose: Purpose, program: Sequence[Instruction]) -> None:
    """Have the kernel run a program from now on. Raises OSError where it does not do that."""
    code = ctypes.create_string_buffer(encoded(program))
    # struct sock_fprog: the number of instructions, and where they are.
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, purpose, described)


def encoded(program: Sequence[Instruction]) -> bytes:
    """The program as the kernel reads it."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
