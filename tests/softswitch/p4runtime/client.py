"""A P4Runtime client without manners: sends whatever a test wants and shows what came back."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from finsy.proto import p4i, p4r, p4r_grpc, rpc_status
from google.protobuf import text_format

PROGRAMS = Path(__file__).parent.parent / "programs"
OPTIONS = (("grpc.max_receive_message_length", 4 << 20), ("grpc.max_metadata_size", 1 << 20))
TIMEOUT = 60.0
"""Seconds until what must happen is taken not to happen, however busy the machine."""


@dataclass(frozen=True)
class Names:
    """Ids of a program by alias, and its config."""

    p4info: p4i.P4Info
    device_config: bytes

    @classmethod
    def of(cls, program: str) -> Names:
        """One of the programs of this folder's neighbour."""
        text = (PROGRAMS / f"{program}.p4info.txtpb").read_text()
        return cls(text_format.Parse(text, p4i.P4Info()), (PROGRAMS / f"{program}.json").read_bytes())

    def __getitem__(self, alias: str) -> int:
        groups = ("tables", "actions", "counters", "direct_counters", "meters", "direct_meters", "registers", "digests")
        groups += ("action_profiles", "value_sets")
        for group in groups:
            for element in getattr(self.p4info, group):
                if element.preamble.alias == alias:
                    return int(element.preamble.id)
        raise KeyError(alias)

    def config(self, cookie: int | None = None) -> p4r.ForwardingPipelineConfig:
        """What to push."""
        config = p4r.ForwardingPipelineConfig(p4info=self.p4info, p4_device_config=self.device_config)
        if cookie is not None:
            config.cookie.cookie = cookie
        return config


class Stream:
    """One StreamChannel."""

    def __init__(self, stub: Any) -> None:
        self._outgoing: queue.SimpleQueue[p4r.StreamMessageRequest | None] = queue.SimpleQueue()
        self._incoming: queue.SimpleQueue[p4r.StreamMessageResponse | grpc.RpcError] = queue.SimpleQueue()
        self._call = stub.StreamChannel(iter(self._outgoing.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for message in self._call:
                self._incoming.put(message)
        except grpc.RpcError as error:
            self._incoming.put(error)

    def send(self, **fields: Any) -> None:
        """Send a StreamMessageRequest."""
        self._outgoing.put(p4r.StreamMessageRequest(**fields))

    def arbitrate(self, election_id: int | None, device_id: int = 1, role: str = "") -> None:
        """Send a MasterArbitrationUpdate."""
        update = p4r.MasterArbitrationUpdate(device_id=device_id)
        if election_id is not None:
            update.election_id.CopyFrom(uint128(election_id))
        if role:
            update.role.name = role
        self.send(arbitration=update)

    def receive(self, timeout: float = TIMEOUT) -> p4r.StreamMessageResponse:
        """The next message. Raises grpc.RpcError when the server has ended the stream, queue.Empty on time-out."""
        item = self._incoming.get(timeout=timeout)
        if isinstance(item, grpc.RpcError):
            raise item
        return item

    def arbitration(self) -> tuple[int, int | None]:
        """The next message, which must be an arbitration: its status code and election id."""
        message = self.receive()
        assert message.WhichOneof("update") == "arbitration", message
        update = message.arbitration
        known = (update.election_id.high << 64 | update.election_id.low) if update.HasField("election_id") else None
        return update.status.code, known

    def end_code(self) -> grpc.StatusCode:
        """How the server ended the stream."""
        try:
            message = self.receive()
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        raise AssertionError(f"the stream goes on: {message}")

    def close(self) -> None:
        """End the stream as a controller does."""
        self._outgoing.put(None)
        self._reader.join(TIMEOUT)


class BatchError(Exception):
    """Some elements of a batch failed: their canonical codes, in order, and messages, and the status of the whole."""

    def __init__(self, errors: list[p4r.Error], status: str) -> None:
        super().__init__([error.message for error in errors])
        self.status = status
        self.codes = [error.canonical_code for error in errors]
        self.messages = [error.message for error in errors]


class Client:
    """Calls on one server, which is device `device_id`."""

    def __init__(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None = None,
        device_id: int = 1,
        options: Sequence[tuple[str, int]] = OPTIONS,
    ) -> None:
        self.device_id = device_id
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options=options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options=options)
        self.stub = p4r_grpc.P4RuntimeStub(self.channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.channel.close()

    def stream(self) -> Stream:
        """Open a stream."""
        return Stream(self.stub)

    def primary(self, election_id: int = 10, role: str = "") -> Stream:
        """Open a stream and be primary on it."""
        stream = self.stream()
        stream.arbitrate(election_id, device_id=self.device_id, role=role)
        assert stream.arbitration() == (0, election_id)
        return stream

    def write(
        self,
        *updates: p4r.Update,
        election_id: int | None = 10,
        device_id: int | None = None,
        role: str = "",
        atomicity: int = p4r.WriteRequest.CONTINUE_ON_ERROR,
    ) -> None:
        """Write a batch. Raises BatchError, or grpc.RpcError when the whole request was refused."""
        request = p4r.WriteRequest(
            device_id=device_id or self.device_id, updates=updates, atomicity=atomicity, role=role
        )
        if election_id is not None:
            request.election_id.CopyFrom(uint128(election_id))
        try:
            self.stub.Write(request, timeout=TIMEOUT)
        except grpc.RpcError as error:
            raise _batch_error(error) or error from None

    def read(self, *entities: p4r.Entity, device_id: int | None = None) -> list[p4r.Entity]:
        """All entities of a read."""
        return [entity for message in self.read_messages(*entities, device_id=device_id) for entity in message.entities]

    def read_messages(self, *entities: p4r.Entity, device_id: int | None = None) -> Iterator[p4r.ReadResponse]:
        """A read message by message. Raises as `write` does."""
        request = p4r.ReadRequest(device_id=device_id or self.device_id, entities=entities)
        try:
            yield from self.stub.Read(request, timeout=TIMEOUT)
        except grpc.RpcError as error:
            raise _batch_error(error) or error from None

    def push(
        self,
        config: p4r.ForwardingPipelineConfig | None,
        action: int = p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT,
        election_id: int = 10,
        device_id: int | None = None,
    ) -> None:
        """SetForwardingPipelineConfig."""
        request = p4r.SetForwardingPipelineConfigRequest(
            device_id=device_id or self.device_id, election_id=uint128(election_id), action=action, config=config
        )
        self.stub.SetForwardingPipelineConfig(request, timeout=120)

    def config(self, kind: int = p4r.GetForwardingPipelineConfigRequest.ALL) -> p4r.ForwardingPipelineConfig | None:
        """GetForwardingPipelineConfig; None when the device has none."""
        request = p4r.GetForwardingPipelineConfigRequest(device_id=self.device_id, response_type=kind)
        try:
            return self.stub.GetForwardingPipelineConfig(request, timeout=TIMEOUT).config
        except grpc.RpcError as error:
            if (error.code(), error.details()) == NO_CONFIG:
                return None
            raise


NO_CONFIG = (grpc.StatusCode.FAILED_PRECONDITION, "No forwarding pipeline config set for this device")
"""How simple_switch_grpc answers for a pipeline when it has none; clients look for the code, or for the text."""


def _batch_error(error: grpc.RpcError) -> BatchError | None:
    metadata: Any = error.trailing_metadata()
    for key, value in metadata or ():
        if key == "grpc-status-details-bin":
            status = rpc_status.Status.FromString(value)
            assert status.code == grpc.StatusCode.UNKNOWN.value[0] == error.code().value[0]
            assert status.message == error.details()
            errors = []
            for detail in status.details:
                errors.append(p4r.Error())
                assert detail.Unpack(errors[-1])
            return BatchError(errors, status.message)
    return None


def uint128(value: int) -> p4r.Uint128:
    """A 128-bit number as P4Runtime has it."""
    return p4r.Uint128(high=value >> 64, low=value & (1 << 64) - 1)
