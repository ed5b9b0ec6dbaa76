"""Table entries a second over P4Runtime. What is sent is made beforehand, so that the switch sets the pace."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import finsy as fy
import grpc
from finsy.proto import U128, p4i, p4r
from google.protobuf import text_format

from controller.switches.p4runtime import ELECTION_ID, Program
from experiments.native.lab import DEVICE_ID, NODES, SERVICE_IDS, Lab
from topologies.processes import Process

A_BATCH = 1000
WRITE = "/p4.v1.P4Runtime/Write"
LARGE = 1 << 17
TABLES = ("bindings", "routes")
"""Those that the entries go to, half of them each: four exact keys, and a prefix."""
_UNUSED_KEYS = {"key_id": 0, "key": 0, "next_key_id": 0, "next_key": 0, "authenticate": 0, "doubted": 0}


@dataclass(frozen=True)
class Requests:
    """Serialised Writes: what inserts entries in batches and singly, and what takes them out again."""

    batches: Sequence[bytes]
    emptying: Sequence[bytes]
    single: Sequence[bytes]
    emptying_single: Sequence[bytes]
    entries: int


@dataclass(frozen=True)
class Rate:
    """How fast a switch took table entries."""

    a_second: float
    cpu_us: float
    """CPU time of the switch's process for each."""


def with_large_tables(program: Program, folder: Path) -> Program:
    """A copy of the steering program whose `TABLES` hold 131072 entries each, since its own do not hold 10^5."""
    pipeline = json.loads(program.json.read_text())
    for table in (table for control in pipeline["pipelines"] for table in control["tables"]):
        if table["name"].rpartition(".")[2] in TABLES:
            table["max_size"] = LARGE
    p4info = text_format.Parse(program.p4info.read_text(), p4i.P4Info())
    for description in p4info.tables:
        if description.preamble.alias in TABLES:
            description.size = LARGE
    large = replace(program, json=folder / "large.json", p4info=folder / "large.p4info.txtpb")
    large.json.write_text(json.dumps(pipeline))
    large.p4info.write_text(text_format.MessageToString(p4info))
    return large


def prepare(schema: fy.P4Schema, entries: int, singles: int) -> Requests:
    """Make the requests for that many entries in batches, and for that many written singly."""
    updates = [p4r.Update(entity=entry.encode(schema)) for entry in _entries(entries)]
    inserts, deletes = (
        [p4r.Update(type=kind, entity=update.entity) for update in updates]
        for kind in (p4r.Update.INSERT, p4r.Update.DELETE)
    )
    return Requests(
        batches=_writes(inserts, A_BATCH),
        emptying=_writes(deletes, A_BATCH),
        single=_writes(inserts[:singles], 1),
        emptying_single=_writes(deletes[:singles], A_BATCH),
        entries=entries,
    )


def _entries(count: int) -> Iterator[fy.P4TableEntry]:
    for index in range(count):
        address = NODES + index
        if index % 2:
            bound = fy.Action("bind", service=1, member=1, generation=1, path_cost=0, copy_group=0, **_UNUSED_KEYS)
            match = fy.Match(port=1 + index % 500, source=address, service_id=SERVICE_IDS, node_id=1 + index % 1000)
            yield fy.P4TableEntry("bindings", match=match, action=bound)
        else:
            forward = fy.Action("forward", port=1, source=2, destination=index)
            match = fy.Match(address=(address, 32 if index % 4 else 31))
            yield fy.P4TableEntry("routes", match=match, action=forward)


def _writes(updates: Sequence[p4r.Update], size: int) -> list[bytes]:
    election = U128.encode(ELECTION_ID)
    return [
        p4r.WriteRequest(
            device_id=DEVICE_ID, election_id=election, updates=updates[start : start + size]
        ).SerializeToString()
        for start in range(0, len(updates), size)
    ]


class Writer:
    """A client of a lab's switch that sends what is serialised already, one call after the other; a context manager."""

    def __init__(self, lab: Lab) -> None:
        self._process = lab.process
        self._channel = grpc.insecure_channel(lab.address)
        self._call = self._channel.unary_unary(WRITE, _as_it_is, _as_it_is)

    def __enter__(self) -> Self:
        grpc.channel_ready_future(self._channel).result(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def in_batches(self, requests: Requests) -> Rate:
        """Insert all entries in batches; afterwards they are gone again."""
        rate = self._timed(requests.batches, requests.entries)
        self.send(requests.emptying)
        return rate

    def singly(self, requests: Requests) -> Rate:
        """Insert entries with a Write each; afterwards they are gone again."""
        rate = self._timed(requests.single, len(requests.single))
        self.send(requests.emptying_single)
        return rate

    def _timed(self, requests: Sequence[bytes], entries: int) -> Rate:
        cpu, start = _cpu_ns(self._process), time.perf_counter()
        self.send(requests)
        took = time.perf_counter() - start
        return Rate(entries / took, (_cpu_ns(self._process) - cpu) / entries / 1000)

    def send(self, requests: Sequence[bytes]) -> None:
        """Send Writes; raises grpc.RpcError when one is refused."""
        for request in requests:
            self._call(request)


def _as_it_is(message: bytes) -> bytes:
    return message


def _cpu_ns(process: Process) -> int:
    """CPU time of a process, of its ended threads too."""
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(process.handle.pid, ctypes.byref(clock)):
        raise RuntimeError(f"{process.name} has ended")
    return time.clock_gettime_ns(clock.value)
