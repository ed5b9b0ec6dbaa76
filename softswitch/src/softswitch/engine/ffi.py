"""The runtime library by ctypes: the declarations of what Python calls in runtime/, and nothing else."""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    c_bool,
    c_char,
    c_char_p,
    c_double,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import ClassVar

from softswitch.engine import abi


class ReplicaStruct(ctypes.Structure):
    """`struct ss_replica`."""

    _fields_: ClassVar = [("port", c_uint32), ("instance", c_uint32)]


class TraceStruct(ctypes.Structure):
    """`struct ss_trace`."""

    _fields_: ClassVar = [("words", POINTER(c_uint8)), ("length", c_size_t), ("cut", c_bool)]


class PortState(ctypes.Structure):
    """`struct ss_port_state`."""

    _fields_: ClassVar = [
        ("number", c_uint32),
        ("up", c_uint32),
        ("cut", c_uint64),
        ("unsent", c_uint64),
        ("interface", c_char * abi.INTERFACE_BYTES),
    ]


class LinkStruct(ctypes.Structure):
    """`struct ss_link_settings`."""

    _fields_: ClassVar = [
        ("delay_ns", c_uint64),
        ("jitter_ns", c_uint64),
        ("bits_per_second", c_uint64),
        ("loss", c_double),
        ("reorder", c_double),
    ]


class LineState(ctypes.Structure):
    """`struct ss_line_state`."""

    _fields_: ClassVar = [
        ("port", c_uint32),
        ("queued", c_uint32),
        ("depth", c_uint32 * abi.PRIORITIES),
        ("size", c_uint32 * abi.PRIORITIES),
        ("gap_ns", c_uint64 * abi.PRIORITIES),
        ("dropped", c_uint64 * abi.PRIORITIES),
        ("link", LinkStruct * abi.DIRECTIONS),
        ("flying", c_uint64 * abi.DIRECTIONS),
        ("lost", c_uint64 * abi.DIRECTIONS),
        ("reordered", c_uint64 * abi.DIRECTIONS),
        ("link_dropped", c_uint64 * abi.DIRECTIONS),
    ]


_FUNCTIONS = {
    "ss_create": (c_void_p, [c_uint32, c_uint32]),
    "ss_configure": (c_int, [c_void_p, c_char_p, c_int]),
    "ss_start": (c_int, [c_void_p]),
    "ss_destroy": (None, [c_void_p]),
    "ss_event_fd": (c_int, [c_void_p]),
    "ss_dropped_events": (c_uint64, [c_void_p, c_uint32]),
    "ss_read_events": (c_size_t, [c_void_p, c_char_p, c_size_t]),
    "ss_clock_us": (c_uint64, [c_void_p]),
    "ss_freeze_clock": (None, [c_void_p, c_int64]),
    "ss_seed": (None, [c_void_p, c_uint64]),
    "ss_open": (c_void_p, [c_void_p, c_char_p, c_char_p, c_size_t]),
    "ss_discard": (None, [c_void_p]),
    "ss_swap": (None, [c_void_p, c_void_p]),
    "ss_use_clock": (None, [c_void_p, c_void_p]),
    "ss_adopt": (None, [c_void_p, c_void_p, c_char_p, c_uint32, c_char_p]),
    "ss_apply": (None, [c_void_p, c_void_p, c_char_p, c_uint32, POINTER(c_int32), c_char_p, c_size_t]),
    "ss_decode": (
        c_int64,
        [POINTER(c_uint32), c_char_p, c_size_t, c_uint32, c_char_p, c_size_t, c_char_p, c_uint32],
    ),
    "ss_keep_default": (None, [c_void_p, c_uint32]),
    "ss_array": (None, [c_void_p, c_int, c_int, c_uint32, c_uint32, c_uint32, c_uint32, c_uint32, c_char_p]),
    "ss_replicate": (c_int, [c_void_p, c_int, c_uint32, POINTER(ReplicaStruct), c_uint32, c_uint32]),
    "ss_port": (c_int, [c_void_p, c_uint32, c_char_p]),
    "ss_record_ports": (c_int, [c_void_p, c_char_p]),
    "ss_ports": (c_uint32, [c_void_p, POINTER(PortState), c_uint32]),
    "ss_inject": (c_size_t, [c_void_p, c_uint32, c_char_p, c_uint32, POINTER(POINTER(c_uint8))]),
    "ss_inject_traced": (
        c_size_t,
        [c_void_p, c_uint32, c_char_p, c_uint32, POINTER(POINTER(c_uint8)), POINTER(TraceStruct)],
    ),
    "ss_set_queue": (c_int, [c_void_p, c_uint32, c_int, c_int64, c_int64]),
    "ss_set_link": (c_int, [c_void_p, c_uint32, c_int, POINTER(LinkStruct), POINTER(c_uint64)]),
    "ss_lines": (c_uint32, [c_void_p, POINTER(LineState), c_uint32]),
    "ss_set_priorities": (None, [c_void_p, c_uint32]),
    "ss_waiting": (c_uint64, [c_void_p]),
    "ss_settle": (c_uint64, [c_void_p, c_uint64, POINTER(POINTER(c_uint8)), POINTER(c_size_t)]),
    "ss_release": (None, [POINTER(c_uint8)]),
    "ss_attach_traced": (c_int, [c_void_p, c_void_p, c_char_p, c_char_p, c_size_t]),
    "ss_trace_packets": (None, [c_void_p, c_int]),
}


def open_runtime(path: Path) -> ctypes.CDLL:
    """The library with every function's types set."""
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
