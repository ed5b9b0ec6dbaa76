"""Requests of every kind and what damage can do to them: bytes changed, or fields set to what they should not be."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

from finsy.proto import p4r
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from tests.softswitch.p4runtime.client import Names, uint128

_Message = TypeVar("_Message", bound=Message)

_ALWAYS_THERE = ("counter_entry", "direct_counter_entry", "register_entry", "meter_entry", "value_set_entry")
_NUMBERS = (0, 1, 2, 3, 7, 255, 2**15, 2**31 - 1)
_BYTES = (b"", b"\0", b"\x01", b"\x01\xff", b"\xff" * 4, b"\0" * 40, b"\xff" * 17)


def spoil_bytes(random: Random, data: bytes) -> bytes:
    """Change, drop, double or insert a few bytes."""
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5))):
        if not damaged:
            break
        start = random.randrange(len(damaged))
        end = min(len(damaged), start + random.choice((1, 1, 2, 9)))
        piece = damaged[start:end]
        damaged[start:end] = random.choice((random.randbytes(len(piece)), b"", piece * 2, piece + random.randbytes(1)))
    return bytes(damaged)


def spoil_fields(random: Random, message: _Message, known: Sequence[int], times: int = 1) -> _Message:
    """A copy with fields anywhere in it cleared, doubled or set to something else; `known` are ids to take."""
    copy = type(message)()
    copy.CopyFrom(message)
    for _ in range(times):
        _spoil(random, _anywhere(random, copy), known)
    return copy


def _anywhere(random: Random, message: Message) -> Message:
    """`message` or a message within it."""
    while random.random() < 0.95:
        children: list[Message] = []
        for field, value in message.ListFields():
            if field.message_type is not None and not field.message_type.GetOptions().map_entry:
                children += [value] if not field.is_repeated else list(value)
        if not children:
            break
        message = random.choice(children)
    return message


def _spoil(random: Random, message: Message, known: Sequence[int]) -> None:
    fields = message.DESCRIPTOR.fields
    if not fields:
        return
    field = random.choice([field for field, _ in message.ListFields()] or list(fields))
    if random.random() < 0.3:
        field = random.choice(fields)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        message.ClearField(field.name)
        return
    if random.random() < 0.2:
        message.ClearField(field.name)
        return
    target: Any = getattr(message, field.name)
    if field.message_type is not None:
        if not field.is_repeated:
            target.SetInParent()
        elif target and random.random() < 0.5:
            target.append(random.choice(list(target)))
        else:
            target.add()
    elif field.is_repeated:
        target.append(_value(random, field, known))
    else:
        setattr(message, field.name, _value(random, field, known))


def _value(random: Random, field: FieldDescriptor, known: Sequence[int]) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return random.choice((*_BYTES, random.randbytes(random.randrange(9))))
        case FieldDescriptor.CPPTYPE_STRING:
            return random.choice(("", "x", "\u00fc" * 3))
        case FieldDescriptor.CPPTYPE_BOOL:
            return random.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return random.choice([value.number for value in field.enum_type.values] + [99])
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return random.random()
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return random.choice((*_NUMBERS, 2**32 - 1, *known))
        case _:
            return random.choice((*_NUMBERS, *(-number for number in _NUMBERS)))


def ids(names: Names) -> list[int]:
    """Every id of a program."""
    info = names.p4info
    groups = (info.tables, info.actions, info.counters, info.direct_counters, info.registers, info.digests)
    more = (info.meters, info.direct_meters, info.action_profiles, info.value_sets, info.controller_packet_metadata)
    return [int(element.preamble.id) for group in (*groups, *more) for element in group]


def write_request(entities: Sequence[p4r.Entity], random: Random, known: Sequence[int]) -> p4r.WriteRequest:
    """A Write of the primary's: some of these entities, about half of them spoilt."""
    request = p4r.WriteRequest(device_id=1, election_id=uint128(10), atomicity=random.choice((0, 0, 1, 2)))
    for entity in random.choices(entities, k=random.choice((1, 1, 2, 4))):
        modified = entity.WhichOneof("entity") in _ALWAYS_THERE or entity.table_entry.is_default_action
        kind = p4r.Update.MODIFY if modified and random.random() < 0.9 else random.choice((1, 1, 2, 3))
        spoilt = spoil_fields(random, entity, known, random.choice((1, 1, 2))) if random.random() < 0.5 else entity
        request.updates.add(type=kind, entity=spoilt)
    return request


def parses(kind: type[Message], data: bytes) -> bool:
    """Whether `data` is such a message at all."""
    try:
        kind.FromString(data)
    except DecodeError:
        return False
    return True
