"""StreamChannel's messages: arbitration, packet-out and digest acknowledgements in; notifications, packet-in,
digests and errors out. Sessions keep what is to be sent; who sends it is the server."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence

from finsy.proto import p4r, rpc_status
from grpc import StatusCode

from softswitch.engine.events import DigestEvent, Event, LostEvents, PacketInEvent, PortEvent
from softswitch.p4runtime.arbitration import Notification
from softswitch.p4runtime.data import encode
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.entities.digests import DigestBatch
from softswitch.p4runtime.errors import P4RuntimeError, invalid, number, stream_error
from softswitch.p4runtime.packets import decode_packet_in, encode_packet_out
from softswitch.p4runtime.pipeline import Pipeline
from softswitch.p4runtime.session import Loss, Room, Session
from softswitch.p4runtime.tally import Tally

LOGGER = logging.getLogger("softswitch.p4runtime")

MAX_IDLE_ENTRIES = 1000
"""Entries in one IdleTimeoutNotification."""


class Streams:
    """The open streams of one device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.room = Room()
        """For what waits to be sent on them."""
        self._unheard = {kind: Tally(f"%d {kind.value} had no primary to go to so far") for kind in Loss}
        self._short = Tally("%d packets to the CPU port were dropped so far: %s")

    def receive(self, session: Session, request: p4r.StreamMessageRequest) -> None:
        """Take a message of a controller. Raises P4RuntimeError to end its stream."""
        match request.WhichOneof("update"):
            case "arbitration":
                self._arbitrate(session, request.arbitration)
            case "packet":
                self._packet_out(session, request.packet)
            case "digest_ack":
                self._acknowledge(session, request.digest_ack)
            case kind:
                error = P4RuntimeError(StatusCode.UNIMPLEMENTED, f"stream message {kind or 'unset'} is not supported")
                other = p4r.StreamOtherError(other=request.other)
                _refuse(session, error, p4r.StreamError(other=other))

    def leave(self, session: Session) -> None:
        """Forget a stream that ended and tell the others."""
        session.end()
        self._notify(self._device.arbitration.leave(session))

    def deliver(self, events: Iterable[Event], now: int) -> None:
        """Pass on what the data plane reported; `now` in nanoseconds of a monotonic clock."""
        pipeline = self._device.running
        for event in events:
            match event:
                case PacketInEvent(data):
                    if pipeline is not None:
                        self._packet_in(pipeline, data)
                case DigestEvent(name, values):
                    if pipeline is not None:
                        self._digest(pipeline, name, values, now)
                case PortEvent():
                    pass  # P4Runtime has no message for it, and the engine has logged it

    def lost(self, lost: LostEvents) -> None:
        """Tell the controllers what was lost because events came faster than they were taken from the data plane."""
        if lost.log_lines:
            LOGGER.warning("%d lines of the program's log were lost: too many at once", lost.log_lines)
        for kind, count in ((Loss.PACKET_IN, lost.packet_ins), (Loss.DIGEST, lost.digests)):
            if count:
                LOGGER.warning("%d %s were lost: too many at once", count, kind.value)
                for session in self._primaries():
                    session.lose(kind, count)

    def deliver_due(self, now: int) -> None:
        """Send the digest lists and report the idle entries whose time has come."""
        if (pipeline := self._device.running) is not None:
            for batch in pipeline.digests.due(now):
                self._send_digests(pipeline, batch)
            self._report_idle(pipeline.idle_entries(now))

    def next_deadline(self) -> int | None:
        """When `deliver_due` has something to send, on the same clock; None while nothing waits."""
        pipeline = self._device.running
        if pipeline is None:
            return None
        return min((d for d in (pipeline.digests.deadline(), pipeline.idle.deadline()) if d is not None), default=None)

    def _arbitrate(self, session: Session, message: p4r.MasterArbitrationUpdate) -> None:
        if message.role.HasField("config"):
            raise invalid("role.config: no role configuration is agreed upon here; leave it unset")
        election_id = decode_election_id(message)
        before = self._device.arbitration.primaries()
        notifications = self._device.arbitration.update(
            session, message.device_id, role_name(message.role.name, message.role.id), election_id
        )
        session.role.CopyFrom(message.role)
        if before != self._device.arbitration.primaries() and self._device.running is not None:
            self._device.running.digests.forget_unacknowledged()
        self._notify(notifications)

    def _notify(self, notifications: Iterable[Notification]) -> None:
        for notification in notifications:
            session = notification.stream
            assert isinstance(session, Session)
            status = rpc_status.Status(code=number(notification.status), message=_ARBITRATION_TEXT[notification.status])
            update = p4r.MasterArbitrationUpdate(device_id=self._device.device_id, status=status)
            if notification.role:
                update.role.CopyFrom(session.role)
            if notification.election_id is not None:
                update.election_id.high = notification.election_id >> 64
                update.election_id.low = notification.election_id & (1 << 64) - 1
            session.send(p4r.StreamMessageResponse(arbitration=update))

    def _packet_out(self, session: Session, message: p4r.PacketOut) -> None:
        try:
            self._check_primary(session)
            pipeline = self._device.running
            if pipeline is None:
                raise P4RuntimeError(StatusCode.FAILED_PRECONDITION, "no forwarding pipeline config has been committed")
            if self._device.cpu_port is None:
                raise P4RuntimeError(StatusCode.FAILED_PRECONDITION, "this switch has no CPU port (see --cpu-port)")
            try:
                self._device.engine.packet_out(encode_packet_out(pipeline.schema.packet_out, message))
            except ValueError as error:
                raise invalid(str(error)) from error
        except P4RuntimeError as error:
            details = p4r.StreamError(packet_out=p4r.PacketOutError(packet_out=message))
            _refuse(session, error, details)

    def _acknowledge(self, session: Session, message: p4r.DigestListAck) -> None:
        try:
            self._check_primary(session)
            pipeline = self._device.running
            if pipeline is None or message.digest_id not in pipeline.schema.digests:
                raise invalid(f"no digest has id {message.digest_id}")
            pipeline.digests.acknowledge(message.digest_id, message.list_id)
        except P4RuntimeError as error:
            details = p4r.StreamError(digest_list_ack=p4r.DigestListAckError(digest_list_ack=message))
            _refuse(session, error, details)

    def _check_primary(self, session: Session) -> None:
        if not self._device.arbitration.is_primary(session):
            raise P4RuntimeError(StatusCode.PERMISSION_DENIED, "this controller is not primary")

    def _packet_in(self, pipeline: Pipeline, data: bytes) -> None:
        try:
            packet = decode_packet_in(pipeline.schema.packet_in, data)
        except ValueError as error:
            self._short.add(1, error)
            return
        self._to_primaries(p4r.StreamMessageResponse(packet=packet), Loss.PACKET_IN)

    def _digest(self, pipeline: Pipeline, name: str, values: tuple[int, ...], now: int) -> None:
        digest_id = pipeline.schema.digest_ids.get(name)
        if digest_id is None:
            return  # of a program that has just been replaced, or hidden from the control plane
        if (batch := pipeline.digests.add(digest_id, values, now)) is not None:
            self._send_digests(pipeline, batch)

    def _send_digests(self, pipeline: Pipeline, batch: DigestBatch) -> None:
        kind = pipeline.schema.digests[batch.digest_id].type
        digest = p4r.DigestList(
            digest_id=batch.digest_id,
            list_id=batch.list_id,
            data=[encode(kind, message) for message in batch.messages],
            timestamp=time.time_ns(),
        )
        if self._to_primaries(p4r.StreamMessageResponse(digest=digest), Loss.DIGEST_LIST) is False:
            # what nobody heard may be reported again
            pipeline.digests.acknowledge(batch.digest_id, batch.list_id)

    def _report_idle(self, entries: Sequence[p4r.TableEntry]) -> None:
        for first in range(0, len(entries), MAX_IDLE_ENTRIES):
            notification = p4r.IdleTimeoutNotification(
                table_entry=entries[first : first + MAX_IDLE_ENTRIES], timestamp=time.time_ns()
            )
            self._to_primaries(p4r.StreamMessageResponse(idle_timeout_notification=notification), Loss.IDLE)

    def _to_primaries(self, message: p4r.StreamMessageResponse, kind: Loss) -> bool | None:
        """Whether one of them at least gets it; None without a primary."""
        data = message.SerializeToString()
        taken = [session.offer(data, kind) for session in self._primaries()]
        if not taken:
            self._unheard[kind].add()
        return any(taken) if taken else None

    def _primaries(self) -> Iterator[Session]:
        for session in self._device.arbitration.primaries():
            assert isinstance(session, Session)
            yield session


def _refuse(session: Session, error: P4RuntimeError, details: p4r.StreamError) -> None:
    """Tell a controller that a message of its stream was refused; the stream goes on."""
    session.offer(stream_error(error, details).SerializeToString(), Loss.ERROR)


_ARBITRATION_TEXT = {
    StatusCode.OK: "you are primary",
    StatusCode.ALREADY_EXISTS: "another controller is primary",
    StatusCode.NOT_FOUND: "no controller is primary",
}


def role_name(name: str, deprecated_id: int) -> str:
    """A role by its name, or by the number that P4Runtime had before 1.4; the default role is empty."""
    return name or (str(deprecated_id) if deprecated_id else "")


def decode_election_id(
    message: p4r.MasterArbitrationUpdate | p4r.WriteRequest | p4r.SetForwardingPipelineConfigRequest,
) -> int | None:
    """The 128-bit election id of a message, None when unset."""
    if not message.HasField("election_id"):
        return None
    return int(message.election_id.high) << 64 | int(message.election_id.low)
