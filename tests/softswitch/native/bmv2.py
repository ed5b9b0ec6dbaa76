"""BMv2 as the reference: the same program and packets through simple_switch_grpc, over gRPC, without root."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from finsy.proto import p4i, p4r, p4r_grpc
from google.protobuf import text_format

from tests.softswitch.native.writes import Entry, Replicas, Writes, replication

BINARY = shutil.which("simple_switch_grpc")
PROGRAMS = Path(__file__).parent.parent / "programs"
CPU_PORT = 510
_LAUNCHED = itertools.count(1)
"""For a device id of its own each: several may run at once."""
_PATIENCE_S = 15.0
"""Until what is expected is taken not to happen, however busy the machine."""
_WINDOW = 16
"""Packets under way at once: its egress queues hold 64 of those that come out, and lose what is more."""
_QUIET_S = 0.5
"""Without an answer after which no more are expected."""

Outputs = list[tuple[int, bytes]]
Packets = Sequence[tuple[int, bytes]]


@dataclass(frozen=True)
class Packet:
    """p4.bm.PacketStreamRequest and PacketStreamResponse, which have the same fields."""

    id: int
    device: int
    port: int
    data: bytes

    def encode(self) -> bytes:
        """Protobuf wire format."""
        fields = ((1, self.id), (2, self.device), (3, self.port))
        body = b"".join(_varint(number << 3) + _varint(value) for number, value in fields)
        return body + _varint(4 << 3 | 2) + _varint(len(self.data)) + self.data

    @classmethod
    def decode(cls, wire: bytes) -> Packet:
        """The reverse."""
        values: dict[int, int] = {}
        data, at = b"", 0
        while at < len(wire):
            tag, at = _read_varint(wire, at)
            value, at = _read_varint(wire, at)
            if tag & 7 == 2:
                data, at = wire[at : at + value], at + value
            else:
                values[tag >> 3] = value
        return cls(values.get(1, 0), values.get(2, 0), values.get(3, 0), data)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _read_varint(wire: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = wire[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def run(
    program: str,
    packets: Packets,
    groups: Replicas = {},  # noqa: B006
    sessions: Replicas = {},  # noqa: B006
    entries: Sequence[Entry] = (),
    folder_of_programs: Path = PROGRAMS,
    expected: Sequence[Outputs] | None = None,
) -> list[Outputs]:
    """What each packet made leave, as (port, bytes), sorted. `groups` and `sessions` are multicast groups and clone
    sessions, `entries` what is in the tables. As many answers as are `expected` are waited for, and a little longer
    for more.

    Raises RuntimeError when it dies meanwhile.
    """
    with running() as (process, control, plane, device), _primary(control, device) as session:
        info = session.push(folder_of_programs / program)
        session.replicate(groups, sessions)
        session.insert(info, entries)
        outputs = _exchange(plane, device, packets, expected)
        if process.poll() is not None:
            raise RuntimeError(f"BMv2 died with {process.returncode}")
        return outputs


@contextmanager
def running() -> Iterator[tuple[subprocess.Popen[bytes], str, str, int]]:
    """A BMv2 without a program: its process, the addresses of its P4Runtime and of its data plane, its device id."""
    assert BINARY is not None
    with tempfile.TemporaryDirectory(prefix="bmv2-") as folder:
        control, plane = f"unix:{folder}/control", f"unix:{folder}/plane"
        device = os.getpid() % 1_000_000 + 1_000_000 * next(_LAUNCHED)
        command = [BINARY, "--no-p4", "--device-id", str(device), "-L", "off", "--", "--grpc-server-addr", control]
        process = subprocess.Popen(
            [*command, "--dp-grpc-server-addr", plane, "--cpu-port", str(CPU_PORT)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        try:
            yield process, control, plane, device
        finally:
            process.terminate()
            process.wait(60)


class PacketStream:
    """BMv2's DataplaneInterface: packets in and out without interfaces. It wants a program first, and says "not ready"
    until that runs, which may be some time after it was pushed. `take` gets what comes out."""

    def __init__(self, channel: grpc.Channel, take: Callable[[Packet], None]) -> None:
        self._open = channel.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream",
            request_serializer=Packet.encode,
            response_deserializer=Packet.decode,
        )
        self._take = take
        self._sent: list[Packet] = []
        self._requests: queue.SimpleQueue[Packet | None] = queue.SimpleQueue()
        self._changing = threading.Lock()
        self._call: Any = self._open(iter(self._requests.get, None))
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, packet: Packet) -> None:
        """Put a packet in."""
        with self._changing:
            self._sent.append(packet)
            self._requests.put(packet)

    def close(self) -> None:
        """End the stream."""
        self._closed.set()
        with self._changing:
            self._requests.put(None)
            self._call.cancel()
        self._reader.join()

    def _read(self) -> None:
        ready = False
        while not ready:
            try:
                for packet in self._call:
                    self._take(packet)
                ready = True
            except grpc.RpcError as error:
                ready = error.code() is not grpc.StatusCode.UNAVAILABLE
            if not ready and not self._closed.wait(0.01):
                self._begin_anew()

    def _begin_anew(self) -> None:
        """BMv2 took nothing of what was sent."""
        with self._changing:
            self._requests.put(None)
            self._requests = queue.SimpleQueue()
            for packet in self._sent:
                self._requests.put(packet)
            self._call = self._open(iter(self._requests.get, None))


def _exchange(address: str, device: int, packets: Packets, expected: Sequence[Outputs] | None) -> list[Outputs]:
    outputs: list[Outputs] = [[] for _ in packets]
    came = threading.Condition()

    def take(packet: Packet) -> None:
        with came:
            outputs[packet.id - 1].append((packet.port, packet.data))
            came.notify()

    def all_came(window: range) -> bool:
        return expected is not None and all(len(outputs[at]) >= len(expected[at]) for at in window)

    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=60)
        stream = PacketStream(channel, take)
        with came:
            for first in range(0, len(packets), _WINDOW):
                window = range(first, min(first + _WINDOW, len(packets)))
                for at in window:
                    stream.send(Packet(at + 1, device, *packets[at]))
                if expected is not None and not came.wait_for(partial(all_came, window), _PATIENCE_S):
                    break
                while (expected is None or window.stop == len(packets)) and came.wait(_QUIET_S):
                    pass
        stream.close()
    return [sorted(o) for o in outputs]


class _Session:
    def __init__(self, stub: Any, device: int) -> None:
        self._stub = stub
        self._device = device
        self._election = p4r.Uint128(low=1)

    def push(self, program: Path) -> Any:
        """Install `program`.json and `program`.p4info.txtpb; the latter's content."""
        info = text_format.Parse(Path(f"{program}.p4info.txtpb").read_text(), p4i.P4Info())
        config = p4r.ForwardingPipelineConfig(p4info=info, p4_device_config=Path(f"{program}.json").read_bytes())
        self._stub.SetForwardingPipelineConfig(
            p4r.SetForwardingPipelineConfigRequest(
                device_id=self._device,
                election_id=self._election,
                action=p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT,
                config=config,
            )
        )
        return info

    def insert(self, info: p4i.P4Info, entries: Sequence[Entry]) -> None:
        """Insert entries and set default ones; an entry that is there already is left out."""
        for entity in Writes(info).entities(entries):
            default = entity.table_entry.is_default_action
            with contextlib.suppress(grpc.RpcError):
                self._write(p4r.Update(type=p4r.Update.MODIFY if default else p4r.Update.INSERT, entity=entity))

    def replicate(self, groups: Replicas, sessions: Replicas) -> None:
        """Create multicast groups and clone sessions."""
        for entity in replication(groups, sessions):
            self._write(p4r.Update(type=p4r.Update.INSERT, entity=entity))

    def _write(self, update: p4r.Update) -> None:
        self._stub.Write(p4r.WriteRequest(device_id=self._device, election_id=self._election, updates=[update]))


@contextmanager
def _primary(address: str, device: int) -> Iterator[_Session]:
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=60)
        stub = p4r_grpc.P4RuntimeStub(channel)
        requests: queue.SimpleQueue[p4r.StreamMessageRequest | None] = queue.SimpleQueue()
        update = p4r.MasterArbitrationUpdate(device_id=device, election_id=p4r.Uint128(low=1))
        requests.put(p4r.StreamMessageRequest(arbitration=update))
        stream = stub.StreamChannel(iter(requests.get, None))
        next(iter(stream))
        try:
            yield _Session(stub, device)
        finally:
            requests.put(None)
            stream.cancel()
