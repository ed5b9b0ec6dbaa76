"""A P4Runtime client for tests: blocking, one primary, everything by the names of the P4Info."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import finsy as fy
import grpc
from finsy.proto import p4r, p4r_grpc

from controller.switches.diff import creation_order, diff
from controller.switches.entries import Act, Place
from controller.switches.p4runtime import Program, references
from tests.patience import PATIENCE

DIGEST = "steering_event_t"


class Client:
    """The primary controller of one switch."""

    def __init__(self, address: str, device_id: int, p4info: Path, pipeline: Path) -> None:
        """Connect, become primary and push the program."""
        self.schema = fy.P4Schema(p4info, pipeline)
        self.digests: list[dict[str, int]] = []
        """What the switch told, in order."""
        self._pipeline = pipeline
        self._device = device_id
        self._election = p4r.Uint128(low=1)
        self._requests: queue.Queue[Any] = queue.Queue()
        self._packets: queue.Queue[fy.P4PacketIn] = queue.Queue()
        self._primary = threading.Event()
        self._told = threading.Condition()
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 64 << 20)])
        self._stub = p4r_grpc.P4RuntimeStub(self._channel)
        grpc.channel_ready_future(self._channel).result(timeout=PATIENCE)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._requests.put(
            p4r.StreamMessageRequest(
                arbitration=p4r.MasterArbitrationUpdate(device_id=device_id, election_id=self._election)
            )
        )
        assert self._primary.wait(PATIENCE), f"{address}: not made primary within {PATIENCE} s"
        self.push()

    def push(self) -> None:
        """Put the program on the switch, which forgets all that it knew, and ask for its digests."""
        self._stub.SetForwardingPipelineConfig(
            p4r.SetForwardingPipelineConfigRequest(
                device_id=self._device,
                election_id=self._election,
                action=p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT,
                config=p4r.ForwardingPipelineConfig(
                    p4info=self.schema.p4info,
                    p4_device_config=self._pipeline.read_bytes(),
                    cookie=p4r.ForwardingPipelineConfig.Cookie(cookie=1),
                ),
            )
        )
        self.digests.clear()
        self.insert(fy.P4DigestEntry(DIGEST, max_list_size=1, max_timeout_ns=0, ack_timeout_ns=0))

    def close(self) -> None:
        """End the session."""
        self._requests.put(None)
        self._channel.close()
        self._listener.join()

    def insert(self, *entities: Any) -> None:
        """Write new entries."""
        self._write(p4r.Update.INSERT, entities)

    def modify(self, *entities: Any) -> None:
        """Change entries."""
        self._write(p4r.Update.MODIFY, entities)

    def delete(self, *entities: Any) -> None:
        """Remove entries."""
        self._write(p4r.Update.DELETE, entities)

    def write_register(self, name: str, value: int) -> None:
        """Write the first cell of a register."""
        self.modify(fy.P4RegisterEntry(name, index=0, data=value))

    def counter(self, name: str, index: int) -> int:
        """The packets that one cell of a counter has counted."""
        request = p4r.ReadRequest(
            device_id=self._device, entities=[fy.P4CounterEntry(name, index=index).encode(self.schema)]
        )
        (entity,) = [entity for response in self._stub.Read(request) for entity in response.entities]
        return int(entity.counter_entry.data.packet_count)

    def counters(self, name: str) -> dict[int, int]:
        """The packets that the cells of a counter have counted; only those that are not zero."""
        request = p4r.ReadRequest(device_id=self._device, entities=[fy.P4CounterEntry(name).encode(self.schema)])
        entities = [entity.counter_entry for response in self._stub.Read(request) for entity in response.entities]
        return {cell.index.index: cell.data.packet_count for cell in entities if cell.data.packet_count}

    def packet_out(self, payload: bytes = b"", **metadata: int) -> None:
        """Send a packet out of the CPU port."""
        self._requests.put(fy.P4PacketOut(payload, **metadata).encode_update(self.schema))

    def packet_in(self, wait: float = PATIENCE) -> fy.P4PacketIn | None:
        """The next packet that came in through the CPU port, within `wait` seconds."""
        try:
            return self._packets.get(timeout=wait)
        except queue.Empty:
            return None

    def digests_of(self, service: int, count: int, wait: float = PATIENCE) -> list[dict[str, int]]:
        """A service's digests, once there are `count` of them or `wait` seconds have passed."""
        deadline = time.monotonic() + wait
        with self._told:
            while True:
                told = [digest for digest in self.digests if digest["service"] == service]
                left = deadline - time.monotonic()
                if len(told) >= count or left <= 0:
                    return told
                self._told.wait(left)

    def take_digests(self, is_last: Callable[[dict[str, int]], bool], wait: float) -> list[dict[str, int]]:
        """Wait for a digest; it and all that were told before it, which are then forgotten. Raises TimeoutError."""
        deadline = time.monotonic() + wait
        looked_at = 0
        with self._told:
            while True:
                for at in range(looked_at, len(self.digests)):
                    if is_last(self.digests[at]):
                        taken, self.digests = self.digests[: at + 1], self.digests[at + 1 :]
                        return taken
                looked_at = len(self.digests)
                if not self._told.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"waited {wait} s for a digest; there are {self.digests}")

    def write(self, *updates: tuple[Any, Any]) -> None:
        """Write any kinds of updates (the type, the entity), in order."""
        messages = [p4r.Update(type=kind, entity=entity.encode(self.schema)) for kind, entity in updates]
        self._stub.Write(p4r.WriteRequest(device_id=self._device, election_id=self._election, updates=messages))

    def _write(self, kind: Any, entities: tuple[Any, ...]) -> None:
        self.write(*((kind, entity) for entity in entities))

    def _listen(self) -> None:
        try:
            for message in self._stub.StreamChannel(iter(self._requests.get, None)):
                if message.HasField("arbitration"):
                    self._primary.set()
                elif message.HasField("packet"):
                    self._packets.put(fy.P4PacketIn.decode(message, self.schema))
                elif message.HasField("digest"):
                    self._take(message)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED:
                raise

    def _take(self, message: Any) -> None:
        told = list(_digests(fy.P4DigestList.decode(message, self.schema)))
        with self._told:
            self.digests.extend(told)
            self._told.notify_all()
        ack = p4r.DigestListAck(digest_id=message.digest.digest_id, list_id=message.digest.list_id)
        self._requests.put(p4r.StreamMessageRequest(digest_ack=ack))


def _digests(batch: fy.P4DigestList) -> Iterator[dict[str, int]]:
    for item in batch.data:
        assert isinstance(item, dict)
        yield {name: int(value) for name, value in item.items()}


def written(entries: Mapping[Place, Act]) -> Iterator[fy.P4TableEntry]:
    """The controller's entries, in the order in which it makes them."""
    for update in diff({}, entries, creation_order(references(Program.compiled().schema()))).updates:
        match = {
            name: value if isinstance(value, int) else f"{value[0]:#x}/{value[1]}" for name, value in update.place.key
        }
        yield entry(update.place.table, update.act.name, match=match, **dict(update.act.params))


def entry(table: str, action: str | None = None, /, *, match: dict[str, Any], **arguments: Any) -> fy.P4TableEntry:
    """A table entry."""
    return fy.P4TableEntry(
        table,
        match=fy.P4TableMatch(match),
        action=None if action is None else fy.P4TableAction(action, **arguments),
    )
