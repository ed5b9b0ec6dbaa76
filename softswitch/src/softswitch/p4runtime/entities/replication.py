"""Multicast groups and clone sessions as clients wrote them (specification, "PacketReplicationEngineEntry")."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2.v1model import INSTANCE_WIDTH, MAX_CLONE_SESSION, MAX_MULTICAST_GROUP, PORT_WIDTH
from softswitch.p4runtime import bytestrings
from softswitch.p4runtime.entities.effect import Effect
from softswitch.p4runtime.errors import P4RuntimeError, check_presence, invalid

if TYPE_CHECKING:
    from softswitch.p4runtime.pipeline import Pipeline

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class WrittenReplica:
    """A replica and how its port was written: as a byte string, or as the number of P4Runtime before 1.4."""

    port: int
    instance: int
    numeric: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A multicast group."""

    replicas: tuple[WrittenReplica, ...]
    metadata: bytes = b""


@dataclass(frozen=True, slots=True)
class Session:
    """A clone session. `packet_length` in bytes truncates the clones, 0 does not."""

    replicas: tuple[WrittenReplica, ...]
    class_of_service: int = 0
    packet_length: int = 0


@dataclass(slots=True)
class ReplicationStore:
    """The packet replication engine's entries by id."""

    groups: dict[int, Group] = field(default_factory=dict)
    sessions: dict[int, Session] = field(default_factory=dict)


def stage(pipeline: Pipeline, kind: int, message: p4r.PacketReplicationEngineEntry) -> Effect:
    """Change a multicast group or clone session. Raises P4RuntimeError."""
    match message.WhichOneof("type"):
        case "multicast_group_entry":
            return _stage_group(pipeline, kind, message.multicast_group_entry)
        case "clone_session_entry":
            return _stage_session(pipeline, kind, message.clone_session_entry)
        case _:
            raise invalid("packet replication engine entry is not set")


def select(pipeline: Pipeline, request: p4r.PacketReplicationEngineEntry) -> Iterable[p4r.Entity]:
    """The groups or sessions that a read asks for. Raises P4RuntimeError."""
    match request.WhichOneof("type"):
        case "multicast_group_entry":
            return select_groups(pipeline.replication, request.multicast_group_entry.multicast_group_id)
        case "clone_session_entry":
            return select_sessions(pipeline.replication, request.clone_session_entry.session_id)
        case _:
            raise invalid("packet replication engine entry is not set")


def carry(old: Pipeline, new: Pipeline) -> None:
    """Have what the old program has. The engine keeps it from one program to the next."""
    new.replication = ReplicationStore(dict(old.replication.groups), dict(old.replication.sessions))


def _stage_group(pipeline: Pipeline, kind: int, message: p4r.MulticastGroupEntry) -> Effect:
    identifier, groups, engine = message.multicast_group_id, pipeline.replication.groups, pipeline.engine
    check_group_id(identifier)
    check_presence(kind, identifier in groups, f"multicast group {identifier}")

    def put(group: Group | None) -> None:
        if group is None:
            engine.delete_multicast_group(identifier)
        else:
            engine.set_multicast_group(identifier, native_replicas(group.replicas))

    after = None if kind == p4r.Update.DELETE else decode_group(message)
    return _exchange(groups, identifier, after, put)


def _stage_session(pipeline: Pipeline, kind: int, message: p4r.CloneSessionEntry) -> Effect:
    identifier, sessions, engine = message.session_id, pipeline.replication.sessions, pipeline.engine
    check_session_id(identifier)
    check_presence(kind, identifier in sessions, f"clone session {identifier}")

    def put(session: Session | None) -> None:
        if session is None:
            engine.delete_clone_session(identifier)
        else:
            engine.set_clone_session(identifier, native_replicas(session.replicas), session.packet_length)

    after = None if kind == p4r.Update.DELETE else decode_session(message)
    return _exchange(sessions, identifier, after, put)


def _exchange(
    model: dict[int, _Value], identifier: int, after: _Value | None, put: Callable[[_Value | None], None]
) -> Effect:
    """Stage `after` (None: nothing) for `identifier` in a model whose engine side `put` sets."""
    before = model.get(identifier)

    def store(value: _Value | None) -> None:
        if value is None:
            del model[identifier]
        else:
            model[identifier] = value

    def perform() -> Callable[[], None]:
        put(after)
        return lambda: put(before)

    store(after)
    return Effect(perform, revert=lambda: store(before))


def decode_group(message: p4r.MulticastGroupEntry) -> Group:
    """Raises INVALID_ARGUMENT."""
    return Group(_replicas(message.replicas), message.metadata)


def decode_session(message: p4r.CloneSessionEntry) -> Session:
    """Raises INVALID_ARGUMENT."""
    if message.packet_length_bytes < 0:
        raise invalid(f"clone session {message.session_id}: packet_length_bytes must not be negative")
    if message.class_of_service:
        raise invalid(f"clone session {message.session_id}: class_of_service must be 0, there is one queue a port")
    return Session(_replicas(message.replicas), message.class_of_service, message.packet_length_bytes)


def check_group_id(group: int) -> None:
    """Raises INVALID_ARGUMENT."""
    if not 0 < group <= MAX_MULTICAST_GROUP:
        raise invalid(f"multicast group {group} is not in 1..{MAX_MULTICAST_GROUP}")


def check_session_id(session: int) -> None:
    """Raises INVALID_ARGUMENT."""
    if not 0 < session <= MAX_CLONE_SESSION:
        raise invalid(f"clone session {session} is not in 1..{MAX_CLONE_SESSION}")


def select_groups(store: ReplicationStore, group: int) -> list[p4r.Entity]:
    """The groups that a read asks for; 0 means all. Raises NOT_FOUND."""
    if group:
        check_presence(p4r.Update.MODIFY, group in store.groups, f"multicast group {group}")
    entities = []
    for identifier, entry in store.groups.items():
        if group in (0, identifier):
            message = p4r.MulticastGroupEntry(
                multicast_group_id=identifier, replicas=_encode_replicas(entry.replicas), metadata=entry.metadata
            )
            pre = p4r.PacketReplicationEngineEntry(multicast_group_entry=message)
            entities.append(p4r.Entity(packet_replication_engine_entry=pre))
    return entities


def select_sessions(store: ReplicationStore, session: int) -> list[p4r.Entity]:
    """The clone sessions that a read asks for; 0 means all. Raises NOT_FOUND."""
    if session:
        check_presence(p4r.Update.MODIFY, session in store.sessions, f"clone session {session}")
    entities = []
    for identifier, entry in store.sessions.items():
        if session in (0, identifier):
            message = p4r.CloneSessionEntry(
                session_id=identifier,
                replicas=_encode_replicas(entry.replicas),
                class_of_service=entry.class_of_service,
                packet_length_bytes=entry.packet_length,
            )
            pre = p4r.PacketReplicationEngineEntry(clone_session_entry=message)
            entities.append(p4r.Entity(packet_replication_engine_entry=pre))
    return entities


def native_replicas(replicas: Iterable[WrittenReplica]) -> list[tuple[int, int]]:
    """As the engine takes them."""
    return [(replica.port, replica.instance) for replica in replicas]


def _replicas(messages: Iterable[p4r.Replica]) -> tuple[WrittenReplica, ...]:
    replicas = tuple(_replica(message) for message in messages)
    if len({(replica.port, replica.instance) for replica in replicas}) != len(replicas):
        raise invalid("two replicas share port and instance")
    return replicas


def _replica(message: p4r.Replica) -> WrittenReplica:
    if message.backup_replicas:
        raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "backup replicas are not supported")
    numeric = message.WhichOneof("port_kind") == "egress_port"
    try:
        port = message.egress_port if numeric else bytestrings.decode(message.port, PORT_WIDTH)
    except ValueError as error:
        raise invalid(f"replica port: {error}") from error
    if port >> PORT_WIDTH:
        raise invalid(f"replica port {port} does not fit bit<{PORT_WIDTH}>")
    if message.instance >> INSTANCE_WIDTH:
        raise invalid(f"replica instance {message.instance} does not fit bit<{INSTANCE_WIDTH}>")
    return WrittenReplica(port, message.instance, numeric)


def _encode_replicas(replicas: Iterable[WrittenReplica]) -> list[p4r.Replica]:
    return [
        p4r.Replica(egress_port=replica.port, instance=replica.instance)
        if replica.numeric
        else p4r.Replica(port=bytestrings.encode(replica.port), instance=replica.instance)
        for replica in replicas
    ]
