"""Parser value sets (specification, "ValueSetEntry")."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2.match import Key
from softswitch.p4runtime.entities.cells import by_id, find
from softswitch.p4runtime.entities.effect import Effect, only_modify
from softswitch.p4runtime.errors import P4RuntimeError
from softswitch.p4runtime.keys import decode_key, encode_key
from softswitch.p4runtime.schema import ValueSet

if TYPE_CHECKING:
    from softswitch.p4runtime.pipeline import Pipeline

Members = tuple[Key, ...]


def stage(pipeline: Pipeline, kind: int, message: p4r.ValueSetEntry) -> Effect:
    """Give a parser value set its members. Raises P4RuntimeError."""
    value_set = find("value set", pipeline.schema.value_sets, message.value_set_id)
    what = f"value set {value_set.name!r}"
    only_modify(kind, what)
    after = tuple(decode_key(value_set, member.match) for member in message.members)
    if len(set(after)) != len(after):
        raise P4RuntimeError(StatusCode.ALREADY_EXISTS, f"{what}: two members are the same")
    if len(after) > value_set.size:
        raise P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, f"{what} has room for {value_set.size} members")
    sets, engine = pipeline.value_sets, pipeline.engine
    codec = pipeline.compiled.codecs.value_sets[value_set.name]
    before = sets.get(value_set.id, ())
    sets[value_set.id] = after

    def put(members: Members) -> None:
        engine.apply(codec.members(_whole_key(value_set, member) for member in members))

    def perform() -> Callable[[], None]:
        put(after)
        return lambda: put(before)

    def revert() -> None:
        sets[value_set.id] = before

    return Effect(perform, revert)


def select(pipeline: Pipeline, request: p4r.ValueSetEntry) -> Iterable[p4r.Entity]:
    """The sets that a read asks for. Raises INVALID_ARGUMENT."""
    wanted = by_id("value set", pipeline.schema.value_sets, request.value_set_id)
    return [_encode(value_set, pipeline.value_sets.get(value_set.id, ())) for value_set in wanted]


def carry(old: Pipeline, new: Pipeline) -> None:
    """Give the new program's sets the members of the old ones. Raises P4RuntimeError for what does not fit."""
    for identifier, members in old.value_sets.items():
        if members:
            message = _encode(old.schema.value_sets[identifier], members).value_set_entry
            stage(new, p4r.Update.MODIFY, message).perform()


def _encode(value_set: ValueSet, members: Members) -> p4r.Entity:
    message = p4r.ValueSetEntry(value_set_id=value_set.id)
    for member in members:
        message.members.add(match=encode_key(value_set, member))
    return p4r.Entity(value_set_entry=message)


def _whole_key(value_set: ValueSet, member: Key) -> tuple[int, int]:
    """Value and mask of a member over all its fields, the first in the highest bits."""
    value = mask = 0
    for field, match in zip(value_set.fields, member, strict=True):
        part, part_mask = match.bounds((1 << field.width) - 1)
        value, mask = value << field.width | part & part_mask, mask << field.width | part_mask
    return value, mask
