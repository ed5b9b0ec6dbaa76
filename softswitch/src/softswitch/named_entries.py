"""Entries by name: the JSON that p4lang's tutorials keep beside their topologies (`s1-runtime.json`)."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from finsy.proto import p4i, p4r

_Json = Any
_Named = TypeVar("_Named", p4i.Table, p4i.Action)
_Part = TypeVar("_Part", p4i.MatchField, p4i.Action.Param)

_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")

_IGNORED = {"target", "p4info", "bmv2_json"}
"""Keys of the file that say which program it is for; the caller has said so already."""

_ENTRY_KEYS = {"table", "match", "priority", "default_action", "action_name", "action_params"}

_KEYS = {"table_entries", "multicast_group_entries", "clone_session_entries"}


class NameProblem(ValueError):
    """What is wrong with the JSON, and where in it: one sentence."""


def parse(text: str, info: p4i.P4Info) -> p4r.WriteRequest:
    """The updates that bring the entries about: tables, multicast groups, clone sessions. Raises NameProblem."""
    try:
        root = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        place = f"{error.lineno}:{error.colno}: " if isinstance(error, json.JSONDecodeError) else ""
        raise NameProblem(f"{place}no JSON: {getattr(error, 'msg', 'nested too deeply')}") from error
    return read(root, info)


def read(root: _Json, info: p4i.P4Info) -> p4r.WriteRequest:
    """The same of JSON that is decoded already."""
    _only(root, _KEYS | _IGNORED)
    updates: list[p4r.Update] = []
    readers: dict[str, Callable[[_Json], p4r.Update]] = {
        "table_entries": lambda item: _table_entry(item, info),
        "multicast_group_entries": _group,
        "clone_session_entries": _session,
    }
    for key, reader in readers.items():
        for number, item in enumerate(_list(root.get(key, []))):
            try:
                updates.append(reader(item))
            except (KeyError, TypeError, ValueError) as error:
                problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
                raise NameProblem(f"{key}[{number}]: {problem}") from error
    return p4r.WriteRequest(updates=updates)


def _table_entry(item: _Json, info: p4i.P4Info) -> p4r.Update:
    _only(item, _ENTRY_KEYS)
    table = _named("table", info.tables, item["table"])
    entry = p4r.TableEntry(table_id=table.preamble.id, priority=_whole("priority", item.get("priority") or 0))
    for name, value in (item.get("match") or {}).items():
        match = _match(_part("match field", table.match_fields, name, table), value)
        if match is not None:
            entry.match.append(match)
    entry.is_default_action = bool(item.get("default_action"))
    actions = {reference.id for reference in table.action_refs}
    action = _named("action", [a for a in info.actions if a.preamble.id in actions], item["action_name"])
    entry.action.action.action_id = action.preamble.id
    for name, value in (item.get("action_params") or {}).items():
        parameter = _part("parameter", action.params, name, action)
        entry.action.action.params.add(param_id=parameter.id, value=_bytes(value, parameter.bitwidth))
    kind = p4r.Update.MODIFY if entry.is_default_action else p4r.Update.INSERT
    return p4r.Update(type=kind, entity=p4r.Entity(table_entry=entry))


def _match(field: p4i.MatchField, value: _Json) -> p4r.FieldMatch | None:
    """None where anything matches: P4Runtime wants such a field left out."""
    made, width = p4r.FieldMatch(field_id=field.id), field.bitwidth
    kind = p4i.MatchField.MatchType.Name(field.match_type)
    if kind in ("EXACT", "OPTIONAL"):
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        (made.exact if kind == "EXACT" else made.optional).value = _bytes(value, width)
        return made
    if not isinstance(value, list) or len(value) != 2:
        second = {"LPM": "prefix length", "TERNARY": "mask", "RANGE": "highest value"}.get(kind, "second value")
        raise ValueError(f"match field {field.name!r}: {value!r} where [value, {second}] belongs")
    if kind == "LPM":
        made.lpm.value, made.lpm.prefix_len = _bytes(value[0], width), _whole("prefix length", value[1])
        return made if value[1] else None
    low, high = _bytes(value[0], width), _bytes(value[1], width)
    if kind == "TERNARY":
        made.ternary.value, made.ternary.mask = low, high
        return made if any(high) else None
    made.range.low, made.range.high = low, high
    return None if (_number(value[0]), _number(value[1])) == (0, (1 << width) - 1) else made


def _group(item: _Json) -> p4r.Update:
    _only(item, {"multicast_group_id", "replicas"})
    entry = p4r.PacketReplicationEngineEntry()
    entry.multicast_group_entry.multicast_group_id = _whole("id", item["multicast_group_id"])
    entry.multicast_group_entry.replicas.extend(_replicas(item))
    return _inserted(entry)


def _session(item: _Json) -> p4r.Update:
    _only(item, {"clone_session_id", "replicas", "packet_length_bytes"})
    entry = p4r.PacketReplicationEngineEntry()
    entry.clone_session_entry.session_id = _whole("id", item["clone_session_id"])
    entry.clone_session_entry.packet_length_bytes = _whole("length", item.get("packet_length_bytes", 0))
    entry.clone_session_entry.replicas.extend(_replicas(item))
    return _inserted(entry)


def _replicas(item: _Json) -> Iterable[p4r.Replica]:
    for replica in _list(item["replicas"]):
        _only(replica, {"egress_port", "instance"})
        port, instance = _whole("port", replica["egress_port"]), _whole("instance", replica.get("instance", 0))
        yield p4r.Replica(egress_port=port, instance=instance)


def _inserted(entry: p4r.PacketReplicationEngineEntry) -> p4r.Update:
    return p4r.Update(type=p4r.Update.INSERT, entity=p4r.Entity(packet_replication_engine_entry=entry))


def _named(what: str, items: Iterable[_Named], name: _Json) -> _Named:
    """The table or action of this name or alias."""
    known = list(items)
    for item in known:
        if name in (item.preamble.name, item.preamble.alias):
            return item
    raise ValueError(f"there is no {what} {name!r} here ({_list_of(item.preamble.name for item in known)})")


def _part(what: str, items: Sequence[_Part], name: str, of: p4i.Table | p4i.Action) -> _Part:
    for item in items:
        if item.name == name:
            return item
    known = _list_of(item.name for item in items)
    raise ValueError(f"{of.preamble.name!r} has no {what} {name!r} ({known})")


def _list_of(names: Iterable[str]) -> str:
    return "there are " + (", ".join(names) or "none")


def _bytes(value: _Json, width: int) -> bytes:
    """A value as P4Runtime has it; a negative one as two's complement. Whether it fits is the switch's to say."""
    number = _number(value)
    if number < -(1 << width >> 1):
        raise ValueError(f"{number} does not fit in {width} bits")
    number = number if number >= 0 else number + (1 << width)
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def _number(value: _Json) -> int:
    """Of an integer, a truth value, or the text of a MAC, IPv4 or IPv6 address or of a number."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        if _MAC.fullmatch(value):
            return int(value.replace(":", ""), 16)
        try:
            return int(ipaddress.ip_address(value)) if set(value) & set(".:") else int(value, 0)
        except ValueError:
            pass
    raise ValueError(f"{value!r} is no number, MAC address or IP address")


def _whole(what: str, value: _Json) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise ValueError(f"{what} {value!r} is no number in 0..2^31-1")
    return value


def _list(value: _Json) -> list[_Json]:
    if not isinstance(value, list):
        raise NameProblem(f"{value!r} where a list belongs")
    return value


def _only(item: _Json, keys: set[str]) -> None:
    if not isinstance(item, dict):
        raise NameProblem(f"{item!r} where an object belongs")
    if unknown := sorted(item.keys() - keys):
        raise NameProblem(f"nothing is called {unknown[0]!r} here ({_list_of(sorted(keys))})")
