"""Table entries by the names of a program, as messages of P4Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finsy.proto import p4i, p4r
from softswitch.bmv2.match import Exact, Lpm, MatchKey, Range, Ternary

Replicas = Mapping[int, Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class Optional:
    """The field equals `value`, or anything when `value` is None."""

    value: int | None


Match = MatchKey | Optional


@dataclass(frozen=True)
class Entry:
    """An entry of a table, or with `default` its default entry: full names, key fields and parameters in order."""

    table: str
    key: tuple[Match, ...] = ()
    priority: int = 0
    action: str | None = None
    parameters: tuple[int, ...] = ()
    default: bool = False


class Writes:
    """Makes messages for the program that a P4Info describes."""

    def __init__(self, info: p4i.P4Info) -> None:
        self._tables = {table.preamble.name: table for table in info.tables}
        self._actions = {action.preamble.name: action for action in info.actions}

    def entity(self, entry: Entry) -> p4r.Entity:
        """What reads and writes know an entry by. Raises KeyError for a table that P4Info does not have."""
        table = self._tables[entry.table]
        fields = [_match(field, match) for field, match in zip(table.match_fields, entry.key, strict=False)]
        made = p4r.TableEntry(
            table_id=table.preamble.id,
            match=[field for field in fields if field is not None],
            priority=entry.priority,
            is_default_action=entry.default,
        )
        if entry.action is not None:
            action = self._actions[entry.action]
            made.action.action.action_id = action.preamble.id
            for parameter, value in zip(action.params, entry.parameters, strict=True):
                made.action.action.params.add(param_id=parameter.id, value=_bytes(value))
        return p4r.Entity(table_entry=made)

    def entities(self, entries: Sequence[Entry]) -> list[p4r.Entity]:
        """Those of tables that P4Info has: p4c leaves out what no packet can come to."""
        return [self.entity(entry) for entry in entries if entry.table in self._tables]


def replication(groups: Replicas, sessions: Replicas) -> list[p4r.Entity]:
    """Multicast groups and clone sessions."""
    entries = [
        p4r.PacketReplicationEngineEntry(
            multicast_group_entry=p4r.MulticastGroupEntry(multicast_group_id=i, replicas=_replicas(pairs))
        )
        for i, pairs in groups.items()
    ] + [
        p4r.PacketReplicationEngineEntry(
            clone_session_entry=p4r.CloneSessionEntry(session_id=i, replicas=_replicas(pairs))
        )
        for i, pairs in sessions.items()
    ]
    return [p4r.Entity(packet_replication_engine_entry=entry) for entry in entries]


def _bytes(value: int) -> bytes:
    return value.to_bytes(max((value.bit_length() + 7) // 8, 1), "big")


def _match(field: p4i.MatchField, key: Match) -> p4r.FieldMatch | None:
    """None where anything matches."""
    made = p4r.FieldMatch(field_id=field.id)
    match key:
        case Exact(value):
            made.exact.value = _bytes(value)
        case Ternary(value, mask) if mask:
            made.ternary.value, made.ternary.mask = _bytes(value), _bytes(mask)
        case Lpm(value, length) if length:
            made.lpm.value, made.lpm.prefix_len = _bytes(value), length
        case Range(low, high) if (low, high) != (0, (1 << field.bitwidth) - 1):
            made.range.low, made.range.high = _bytes(low), _bytes(high)
        case Optional(value) if value is not None:
            made.optional.value = _bytes(value)
        case _:
            return None
    return made


def _replicas(pairs: Sequence[tuple[int, int]]) -> list[p4r.Replica]:
    return [p4r.Replica(egress_port=port, instance=instance) for port, instance in pairs]
