"""Match keys, priorities and actions as Thrift's clients write them, to and from those of the tables.

Values are whole bytes, the most significant first, and every field of the key is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finsy.proto import p4r

from softswitch.bmv2.control import MatchKind
from softswitch.bmv2.match import Exact, Key, Lpm, MatchKey, Range, Ternary, check
from softswitch.bmv2.pipelines import BMV2_MAX_PRIORITY
from softswitch.p4runtime.keys import EntryId, encode_action
from softswitch.p4runtime.schema import Action, ActionProfile, Field, Table
from softswitch.thrift.definitions import bad_table, standard

NO_PRIORITY = -1
"""What an entry of a table without priorities is said to have."""


def decode_id(table: Table, key: Sequence[Any], options: Any) -> EntryId:
    """Key and priority that name an entry. Raises NO_TABLE_KEY, BAD_MATCH_KEY, ERROR."""
    if not table.fields:
        raise bad_table("NO_TABLE_KEY", f"table {table.name!r} has no key, so it has no entries but the default one")
    return decode_key(table, key), decode_priority(table, options)


def decode_key(table: Table, key: Sequence[Any]) -> Key:
    """Raises BAD_MATCH_KEY."""
    if len(key) != len(table.fields):
        raise bad_table("BAD_MATCH_KEY", f"table {table.name!r} has {len(table.fields)} key fields, not {len(key)}")
    try:
        return tuple(_decode(field, match) for field, match in zip(table.fields, key, strict=True))
    except ValueError as error:
        raise bad_table("BAD_MATCH_KEY", f"table {table.name!r}: {error}") from error


def decode_priority(table: Table, options: Any) -> int:
    """P4Runtime's priority, of which the greatest wins, for one of which the smallest does. Raises ERROR."""
    if not table.has_priorities:
        return 0
    priority: int = options.priority or 0
    if not 0 <= priority < BMV2_MAX_PRIORITY:
        raise bad_table("ERROR", f"table {table.name!r}: priority {priority} is not in 0..{BMV2_MAX_PRIORITY - 1}")
    return BMV2_MAX_PRIORITY - priority


def encode_priority(table: Table, priority: int) -> int:
    """The reverse."""
    return BMV2_MAX_PRIORITY - priority if table.has_priorities else NO_PRIORITY


def decode_action(owner: Table | ActionProfile, name: str, parameters: Sequence[bytes]) -> p4r.Action:
    """The message for an action of a table or action profile. Raises INVALID_ACTION_NAME, BAD_ACTION_DATA."""
    action = next((use.action for use in owner.uses.values() if use.action.name == name), None)
    what = f"{owner.what} {owner.name!r}"
    if action is None:
        raise bad_table("INVALID_ACTION_NAME", f"{what} has no action {name!r}")
    if len(parameters) != len(action.parameters):
        wanted = len(action.parameters)
        raise bad_table("BAD_ACTION_DATA", f"action {name!r} takes {wanted} parameters, not {len(parameters)}")
    try:
        values = [number(data, field.width) for field, data in zip(action.parameters, parameters, strict=True)]
    except ValueError as error:
        raise bad_table("BAD_ACTION_DATA", f"action {name!r}: {error}") from error
    return encode_action(action, tuple(values))


def encode_parameters(action: Action, values: Sequence[int]) -> list[bytes]:
    """The parameters of an action as bytes."""
    return [octets(value, field.width) for field, value in zip(action.parameters, values, strict=True)]


def encode_match(field: Field, match: MatchKey, *, valid: bool) -> Any:
    """A field of a key; `valid` when it tells whether a header is there, by BMv2's match kind of that name."""
    kinds, width = standard.MatchType, field.width
    match match:
        case Exact(value) if valid:
            return standard.Match(type=kinds.VALID, valid=standard.ValidMatch(key=bool(value)))
        case Exact(value):
            return standard.Match(type=kinds.EXACT, exact=standard.ExactMatch(key=octets(value, width)))
        case Lpm(value, length):
            lpm = standard.LpmMatch(key=octets(value, width), prefix_length=length)
            return standard.Match(type=kinds.LPM, lpm=lpm)
        case Ternary(value, mask):
            ternary = standard.TernaryMatch(key=octets(value, width), mask=octets(mask, width))
            return standard.Match(type=kinds.TERNARY, ternary=ternary)
        case Range(low, high):
            between = standard.RangeMatch(low=octets(low, width), high=octets(high, width))
            return standard.Match(type=kinds.RANGE, range=between)


def number(data: bytes | str, width: int) -> int:
    """The bit<width> in `data`, however many bytes these are. Raises ValueError."""
    value = int.from_bytes(data if isinstance(data, bytes) else data.encode(), "big")
    if value >> width:
        raise ValueError(f"{value:#x} does not fit bit<{width}>")
    return value


def octets(value: int, width: int) -> bytes:
    """A bit<width> as whole bytes."""
    return value.to_bytes((width + 7) // 8, "big")


def _decode(field: Field, match: Any) -> MatchKey:
    """Raises ValueError. Bits that do not matter are taken out."""
    kinds, width, ones = standard.MatchType, field.width, (1 << field.width) - 1
    decoded: MatchKey
    match field.kind, match.type:
        case MatchKind.EXACT, kinds.EXACT if match.exact is not None:
            decoded = Exact(number(match.exact.key, width))
        case MatchKind.EXACT, kinds.VALID if match.valid is not None and width == 1:
            decoded = Exact(int(match.valid.key))
        case MatchKind.LPM, kinds.LPM if match.lpm is not None:
            length = match.lpm.prefix_length
            if not 0 <= length <= width:
                raise ValueError(f"prefix length {length} of {field.name!r} is not in 0..{width}")
            decoded = Lpm(number(match.lpm.key, width) & (ones ^ ones >> length), length)
        case ((MatchKind.TERNARY | MatchKind.OPTIONAL), kinds.TERNARY) if match.ternary is not None:
            mask = number(match.ternary.mask, width)
            if field.kind is MatchKind.OPTIONAL and mask not in (0, ones):
                raise ValueError(f"{field.name!r} is optional: its mask is 0 or all ones")
            decoded = Ternary(number(match.ternary.key, width) & mask, mask)
        case MatchKind.RANGE, kinds.RANGE if match.range is not None:
            decoded = Range(number(match.range.low, width), number(match.range.high, width))
        case _:
            raise ValueError(f"{field.name!r} is matched by {field.kind.value}")
    check(decoded, width)
    return decoded
