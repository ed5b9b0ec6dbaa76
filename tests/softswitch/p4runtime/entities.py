"""Entities and updates of the program `everything`, spelled short."""

from __future__ import annotations

from finsy.proto import p4d, p4r

from tests.softswitch.p4runtime.client import Names


def insert(entity: p4r.Entity) -> p4r.Update:
    """An INSERT."""
    return p4r.Update(type=p4r.Update.INSERT, entity=entity)


def modify(entity: p4r.Entity) -> p4r.Update:
    """A MODIFY."""
    return p4r.Update(type=p4r.Update.MODIFY, entity=entity)


def delete(entity: p4r.Entity) -> p4r.Update:
    """A DELETE."""
    return p4r.Update(type=p4r.Update.DELETE, entity=entity)


def number(value: int) -> bytes:
    """A canonical byte string."""
    return value.to_bytes((value.bit_length() + 7) // 8 or 1, "big")


def action(names: Names, alias: str, *values: bytes) -> p4r.TableAction:
    """An action with its parameters in order."""
    params = [p4r.Action.Param(param_id=i, value=value) for i, value in enumerate(values, start=1)]
    return p4r.TableAction(action=p4r.Action(action_id=names[alias], params=params))


def exact_entry(names: Names, tag: int, port: int) -> p4r.Entity:
    """An entry of `exact_table` that forwards."""
    entry = p4r.TableEntry(table_id=names["exact_table"], action=action(names, "forward", number(port)))
    entry.match.add(field_id=1).exact.value = number(tag)
    return p4r.Entity(table_entry=entry)


def lpm_entry(names: Names, prefix: int, length: int, port: int) -> p4r.Entity:
    """An entry of `lpm_table` that forwards."""
    entry = p4r.TableEntry(table_id=names["lpm_table"], action=action(names, "forward", number(port)))
    if length:
        lpm = entry.match.add(field_id=1).lpm
        lpm.value, lpm.prefix_len = number(prefix), length
    return p4r.Entity(table_entry=entry)


def ternary_entry(names: Names, priority: int, port: int, kind: int = 0, **fields: tuple[int, int] | int) -> p4r.Entity:
    """An entry of `ternary_table`; `tag` is (value, mask), `value` a range, `pad` an optional value."""
    entry = p4r.TableEntry(
        table_id=names["ternary_table"], priority=priority, action=action(names, "forward", number(port))
    )
    entry.match.add(field_id=1).exact.value = number(kind)
    match fields.get("tag"):
        case (value, mask):
            ternary = entry.match.add(field_id=2).ternary
            ternary.value, ternary.mask = number(value), number(mask)
    match fields.get("value"):
        case (low, high):
            between = entry.match.add(field_id=3).range
            between.low, between.high = number(low), number(high)
    match fields.get("pad"):
        case int(pad):
            entry.match.add(field_id=4).optional.value = number(pad)
    return p4r.Entity(table_entry=entry)


def default_entry(names: Names, table: str, alias: str | None = None, *values: bytes) -> p4r.Entity:
    """The default entry of a table; without an action to reset it."""
    entry = p4r.TableEntry(table_id=names[table], is_default_action=True)
    if alias is not None:
        entry.action.CopyFrom(action(names, alias, *values))
    return p4r.Entity(table_entry=entry)


def register_cell(names: Names, alias: str, index: int | None, value: bytes | None = None) -> p4r.Entity:
    """A cell of a register, or all with index None."""
    entry = p4r.RegisterEntry(register_id=names[alias])
    if index is not None:
        entry.index.index = index
    if value is not None:
        entry.data.CopyFrom(p4d.P4Data(bitstring=value))
    return p4r.Entity(register_entry=entry)


def counter_cell(names: Names, index: int | None, packets: int | None = None, octets: int = 0) -> p4r.Entity:
    """A cell of `by_kind`, or all with index None."""
    entry = p4r.CounterEntry(counter_id=names["by_kind"])
    if index is not None:
        entry.index.index = index
    if packets is not None:
        entry.data.packet_count, entry.data.byte_count = packets, octets
    return p4r.Entity(counter_entry=entry)


def group(identifier: int, *replicas: tuple[int, int]) -> p4r.Entity:
    """A multicast group."""
    entry = p4r.MulticastGroupEntry(multicast_group_id=identifier)
    for port, instance in replicas:
        entry.replicas.add(port=number(port), instance=instance)
    return p4r.Entity(packet_replication_engine_entry=p4r.PacketReplicationEngineEntry(multicast_group_entry=entry))


def session(identifier: int, *ports: int, length: int = 0) -> p4r.Entity:
    """A clone session."""
    entry = p4r.CloneSessionEntry(session_id=identifier, packet_length_bytes=length)
    for port in ports:
        entry.replicas.add(port=number(port), instance=1)
    return p4r.Entity(packet_replication_engine_entry=p4r.PacketReplicationEngineEntry(clone_session_entry=entry))


def digest_config(names: Names, timeout_ns: int = 0, size: int = 1, ack_ns: int = 0) -> p4r.Entity:
    """The configuration of `seen_t`."""
    entry = p4r.DigestEntry(digest_id=names["seen_t"])
    entry.config.max_timeout_ns, entry.config.max_list_size, entry.config.ack_timeout_ns = timeout_ns, size, ack_ns
    return p4r.Entity(digest_entry=entry)
