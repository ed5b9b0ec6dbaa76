"""Parser value sets over Thrift: each value is a whole key, its fields one behind the other without gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from finsy.proto import p4r

from softswitch.bmv2.control import MatchKind
from softswitch.bmv2.match import Exact, Key, Lpm, MatchKey, Ternary
from softswitch.p4runtime.keys import encode_key
from softswitch.p4runtime.schema import Field, ValueSet
from softswitch.thrift.access import Access, View
from softswitch.thrift.definitions import bad_value_set, codes
from softswitch.thrift.matches import number, octets

_Result = TypeVar("_Result")


class ValueSets:
    """The calls about parser value sets of service `standard`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def bm_parse_vset_add(self, context: int, value_set: str, value: bytes) -> None:
        """A value that is in already stays."""

        def add(view: View) -> None:
            schema = _find(view, value_set)
            key, members = _key(schema, value), view.pipeline.value_sets.get(schema.id, ())
            if key not in members:
                _write(view, schema, (*members, key))

        self._do(add)

    def bm_parse_vset_remove(self, context: int, value_set: str, value: bytes) -> None:
        """A value that is not in is no mistake."""

        def remove(view: View) -> None:
            schema = _find(view, value_set)
            key, members = _key(schema, value), view.pipeline.value_sets.get(schema.id, ())
            if key in members:
                _write(view, schema, tuple(member for member in members if member != key))

        self._do(remove)

    def bm_parse_vset_get(self, context: int, value_set: str) -> list[bytes]:
        """All values; members with a mask, which only P4Runtime writes, are left out."""

        def read(view: View) -> list[bytes]:
            schema = _find(view, value_set)
            width = sum(field.width for field in schema.fields)
            values = (_value(schema, member) for member in view.pipeline.value_sets.get(schema.id, ()))
            return [octets(value, width) for value in values if value is not None]

        return self._do(read)

    def bm_parse_vset_clear(self, context: int, value_set: str) -> None:
        """Take all out."""
        self._do(lambda view: _write(view, _find(view, value_set), ()))

    def _do(self, work: Callable[[View], _Result]) -> _Result:
        return self._access.do(work, lambda: bad_value_set("INVALID_PARSE_VSET_NAME", "no program is loaded"))


def _find(view: View, name: str) -> ValueSet:
    for value_set in view.pipeline.schema.value_sets.values():
        if value_set.name == name:
            return value_set
    raise bad_value_set("INVALID_PARSE_VSET_NAME", f"there is no parser value set {name!r}")


def _write(view: View, value_set: ValueSet, members: Sequence[Key]) -> None:
    message = p4r.ValueSetEntry(value_set_id=value_set.id)
    for member in members:
        message.members.add(match=encode_key(value_set, member))
    with codes(bad_value_set, {}):
        view.write(p4r.Update.MODIFY, p4r.Entity(value_set_entry=message))


def _key(value_set: ValueSet, data: bytes) -> Key:
    width = sum(field.width for field in value_set.fields)
    try:
        value = number(data, width)
    except ValueError as error:
        raise bad_value_set("ERROR", f"parser value set {value_set.name!r}: {error}") from error
    key = []
    for field in value_set.fields:
        width -= field.width
        key.append(_match(field, value >> width & (1 << field.width) - 1))
    return tuple(key)


def _match(field: Field, value: int) -> MatchKey:
    match field.kind:
        case MatchKind.LPM:
            return Lpm(value, field.width)
        case MatchKind.TERNARY | MatchKind.OPTIONAL:
            return Ternary(value, (1 << field.width) - 1)
        case _:
            return Exact(value)


def _value(value_set: ValueSet, member: Key) -> int | None:
    """None for a member that is more than one value."""
    whole = 0
    for field, match in zip(value_set.fields, member, strict=True):
        value, mask = match.bounds((1 << field.width) - 1)
        if mask != (1 << field.width) - 1:
            return None
        whole = whole << field.width | value
    return whole
