"""Match keys and actions of P4Runtime to and from values, checked against the schema (specification, "TableEntry").

The specification asks for OUT_OF_RANGE for a bad byte string in general and for INVALID_ARGUMENT where one stands in
a match or a parameter; the particular rule is followed. In keys an optional field is a ternary one, as p4c makes it
for the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2.control import MatchKind
from softswitch.bmv2.match import Exact, Key, Lpm, MatchKey, Range, Ternary, check
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.schema import Action, ActionProfile, Field, Table, ValueSet

EntryId = tuple[Key, int]
"""Key and priority: what names an entry within its table."""


def _decode_exact(field: Field, match: p4r.FieldMatch) -> MatchKey:
    return Exact(field.decode(match.exact.value))


def _decode_lpm(field: Field, match: p4r.FieldMatch) -> MatchKey:
    return Lpm(field.decode(match.lpm.value), match.lpm.prefix_len)


def _decode_ternary(field: Field, match: p4r.FieldMatch) -> MatchKey:
    return Ternary(field.decode(match.ternary.value), field.decode(match.ternary.mask))


def _decode_range(field: Field, match: p4r.FieldMatch) -> MatchKey:
    return Range(field.decode(match.range.low), field.decode(match.range.high))


def _decode_optional(field: Field, match: p4r.FieldMatch) -> MatchKey:
    return Ternary(field.decode(match.optional.value), (1 << field.width) - 1)


_DECODERS: dict[str, tuple[MatchKind, Callable[[Field, p4r.FieldMatch], MatchKey]]] = {
    "exact": (MatchKind.EXACT, _decode_exact),
    "lpm": (MatchKind.LPM, _decode_lpm),
    "ternary": (MatchKind.TERNARY, _decode_ternary),
    "range": (MatchKind.RANGE, _decode_range),
    "optional": (MatchKind.OPTIONAL, _decode_optional),
}


def _dont_care(field: Field) -> MatchKey | None:
    match field.kind:
        case MatchKind.LPM:
            return Lpm(0, 0)
        case MatchKind.TERNARY | MatchKind.OPTIONAL:
            return Ternary(0, 0)
        case MatchKind.RANGE:
            return Range(0, (1 << field.width) - 1)
        case _:
            return None


def decode_key(table: Table | ValueSet, matches: Iterable[p4r.FieldMatch]) -> Key:
    """The key that the fields of a TableEntry, or of a member of a value set, mean. Raises INVALID_ARGUMENT."""
    key: list[MatchKey | None] = [None] * len(table.fields)
    for match in matches:
        place = table.positions.get(match.field_id)
        if place is None:
            raise invalid(f"{table.what} {table.name!r} has no match field with id {match.field_id}")
        field = table.fields[place]
        if key[place] is not None:
            raise invalid(f"{table.what} {table.name!r}: match field {field.name!r} is given twice")
        kind, decoder = _DECODERS.get(match.WhichOneof("field_match_type") or "", (None, None))
        if decoder is None or kind is not field.kind:
            raise invalid(f"{table.what} {table.name!r}: match field {field.name!r} must be {field.kind.value}")
        try:
            key[place] = _checked(field, decoder(field, match))
        except ValueError as error:
            raise invalid(f"{table.what} {table.name!r}: match field {field.name!r}: {error}") from error
    return tuple(_complete(table, place, value) for place, value in enumerate(key))


def _checked(field: Field, match: MatchKey) -> MatchKey:
    check(match, field.width)
    if match == _dont_care(field):
        raise ValueError("it matches every value (leave the field out for don't care)")
    return match


def _complete(table: Table | ValueSet, place: int, value: MatchKey | None) -> MatchKey:
    if value is not None:
        return value
    wildcard = _dont_care(table.fields[place])
    if wildcard is None:
        raise invalid(f"{table.what} {table.name!r}: exact match field {table.fields[place].name!r} is missing")
    return wildcard


def encode_key(table: Table | ValueSet, key: Key) -> list[p4r.FieldMatch]:
    """The canonical fields of a key: don't-cares are left out."""
    matches = []
    for field, value in zip(table.fields, key, strict=True):
        match value:
            case Exact(number):
                exact = p4r.FieldMatch.Exact(value=field.encode(number))
                matches.append(p4r.FieldMatch(field_id=field.id, exact=exact))
            case Lpm(number, length) if length:
                lpm = p4r.FieldMatch.LPM(value=field.encode(number), prefix_len=length)
                matches.append(p4r.FieldMatch(field_id=field.id, lpm=lpm))
            case Ternary(number, mask) if mask and field.kind is MatchKind.OPTIONAL:
                optional = p4r.FieldMatch.Optional(value=field.encode(number))
                matches.append(p4r.FieldMatch(field_id=field.id, optional=optional))
            case Ternary(number, mask) if mask:
                ternary = p4r.FieldMatch.Ternary(value=field.encode(number), mask=field.encode(mask))
                matches.append(p4r.FieldMatch(field_id=field.id, ternary=ternary))
            case Range(low, high) if low or high != (1 << field.width) - 1:
                between = p4r.FieldMatch.Range(low=field.encode(low), high=field.encode(high))
                matches.append(p4r.FieldMatch(field_id=field.id, range=between))
    return matches


def decode_table_action(table: Table, message: p4r.TableAction, *, default: bool) -> tuple[Action, tuple[int, ...]]:
    """The action and parameters of an entry of a direct table, or with `default` of its default entry.

    Raises as `decode_action` does.
    """
    kind = message.WhichOneof("type")
    if kind != "action":
        raise invalid(f"table {table.name!r}: its action must be given directly, not as {kind or 'nothing'}")
    return decode_action(table, message.action, default=default)


def decode_action(
    table: Table | ActionProfile, message: p4r.Action, *, default: bool = False
) -> tuple[Action, tuple[int, ...]]:
    """An action of a table or action profile, with its parameters. Raises INVALID_ARGUMENT, or PERMISSION_DENIED for an
    action outside its scope."""
    use = table.uses.get(message.action_id)
    if use is None:
        raise invalid(f"{table.what} {table.name!r} has no action with id {message.action_id}")
    action = use.action
    if not (use.as_default if default else use.in_entries):
        scope = "not as the default action" if default else "only as the default action"
        raise P4RuntimeError(
            StatusCode.PERMISSION_DENIED, f"{table.what} {table.name!r}: action {action.name!r} can be used {scope}"
        )
    values: list[int | None] = [None] * len(action.parameters)
    for param in message.params:
        place = action.positions.get(param.param_id)
        if place is None:
            raise invalid(f"action {action.name!r} has no parameter with id {param.param_id}")
        if values[place] is not None:
            raise invalid(f"action {action.name!r}: parameter {action.parameters[place].name!r} is given twice")
        try:
            values[place] = action.parameters[place].decode(param.value)
        except ValueError as error:
            raise invalid(f"action {action.name!r}: parameter {action.parameters[place].name!r}: {error}") from error
    return action, tuple(_given(action, place, value) for place, value in enumerate(values))


def _given(action: Action, place: int, value: int | None) -> int:
    if value is None:
        raise invalid(f"action {action.name!r}: parameter {action.parameters[place].name!r} is missing")
    return value


def encode_action(action: Action, parameters: tuple[int, ...]) -> p4r.Action:
    """The message for an action with its parameters."""
    params = [
        p4r.Action.Param(param_id=parameter.id, value=parameter.encode(value))
        for parameter, value in zip(action.parameters, parameters, strict=True)
    ]
    return p4r.Action(action_id=action.id, params=params)
