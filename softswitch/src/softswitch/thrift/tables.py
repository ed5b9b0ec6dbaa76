"""Tables over Thrift: entries, default entries, timeouts, of direct and of indirect tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2.control import MatchKind
from softswitch.p4runtime.entities.profile_entries import GroupReference, MemberReference, Reference
from softswitch.p4runtime.entities.profiles import ProfileState
from softswitch.p4runtime.entities.table_entry import Entry, TableState, encode_entry
from softswitch.p4runtime.keys import EntryId, encode_key
from softswitch.thrift import matches
from softswitch.thrift.access import Access, View
from softswitch.thrift.definitions import bad_table, codes, standard
from softswitch.thrift.handles import Unknown
from softswitch.thrift.parts import parts
from softswitch.thrift.profiles import group_id, member_id

_Result = TypeVar("_Result")

_CODES = {
    StatusCode.ALREADY_EXISTS: "DUPLICATE_ENTRY",
    StatusCode.NOT_FOUND: "INVALID_HANDLE",
    StatusCode.RESOURCE_EXHAUSTED: "TABLE_FULL",
}

AT_ONCE = 200
"""Entries that are read or written between two calls of controllers."""

_MAX_MS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Taken:
    """An entry as it was, and what else is told of it."""

    handle: int
    entry: Entry
    action: Any
    idle_us: int | None


class Tables:
    """The calls about tables of service `standard`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def bm_mt_get_num_entries(self, context: int, table: str) -> int:
        """How many there are."""
        return self._do(lambda view: len(view.table(table).entries))

    def bm_mt_clear_entries(self, context: int, table: str, reset_default: bool) -> None:
        """Delete all."""
        while self._do(lambda view: _delete_some(view, view.table(table))):
            pass
        if reset_default:
            self._do(lambda view: _reset_default(view, view.table(table)))

    def bm_mt_get_entries(self, context: int, table: str) -> list[Any]:
        """All, in the order of their handles."""
        entries: list[Any] = []
        for some in parts(self._do(lambda view: list(view.table(table).entries)), AT_ONCE):
            encode, taken = self._do(partial(_take, table=table, wanted=some))
            entries += map(encode, taken)
        for some in parts(self._do(lambda view: _superfluous(view, view.table(table))), AT_ONCE):
            self._do(partial(_forget_absent, table=table, some=some))
        return sorted(entries, key=lambda entry: entry.handle & 0xFFFFFF)

    def bm_mt_get_entry(self, context: int, table: str, handle: int) -> Any:
        """One."""

        def take(view: View) -> _Snapshot:
            return _take(view, table, [find(view, view.table(table), handle)])

        return _only(self._do(take))

    def bm_mt_get_entry_from_key(self, context: int, table: str, key: Sequence[Any], options: Any) -> Any:
        """One, by its key and priority."""

        def take(view: View) -> _Snapshot:
            state = view.table(table)
            identifier = matches.decode_id(state.schema, key, options)
            if identifier not in state.entries:
                raise bad_table("BAD_MATCH_KEY", f"table {table!r} has no such entry")
            return _take(view, table, [identifier])

        return _only(self._do(take))

    def bm_mt_get_default_entry(self, context: int, table: str) -> Any:
        """What is done with packets that no entry matches."""

        def take(view: View) -> Any:
            state = view.table(table)
            return _action(state.default, None)

        return self._do(take)

    def bm_mt_add_entry(
        self, context: int, table: str, key: Sequence[Any], action: str, parameters: Sequence[bytes], options: Any
    ) -> int:
        """Returns its handle."""

        def add(view: View) -> int:
            state = _direct(view, table)
            return _add(view, state, key, options, partial(_with_action, state, action, parameters))

        return self._do(add)

    def bm_mt_modify_entry(
        self, context: int, table: str, handle: int, action: str, parameters: Sequence[bytes]
    ) -> None:
        """Give it another action."""

        def modify(view: View) -> None:
            state = _direct(view, table)
            _modify(view, state, handle, _with_action(state, action, parameters))

        self._do(modify)

    def bm_mt_delete_entry(self, context: int, table: str, handle: int) -> None:
        """Delete one."""
        self._do(lambda view: _delete(view, _direct(view, table), handle))

    def bm_mt_set_entry_ttl(self, context: int, table: str, handle: int, timeout_ms: int) -> None:
        """Let it be reported once it was not hit for so long."""
        self._do(lambda view: _set_timeout(view, _direct(view, table), handle, timeout_ms))

    def bm_mt_set_default_action(self, context: int, table: str, action: str, parameters: Sequence[bytes]) -> None:
        """What is to be done with packets that no entry matches."""

        def change(view: View) -> None:
            state = _direct(view, table)
            _refuse_const_default(state)
            _write_default(view, state, _with_action(state, action, parameters))

        self._do(change)

    def bm_mt_reset_default_entry(self, context: int, table: str) -> None:
        """What the program says again."""
        self._do(lambda view: _reset_default(view, _direct(view, table)))

    def bm_mt_indirect_add_entry(self, context: int, table: str, key: Sequence[Any], member: int, options: Any) -> int:
        """Returns its handle."""

        def add(view: View) -> int:
            state, profile = _indirect(view, table)
            return _add(view, state, key, options, lambda: _with_member(profile, member))

        return self._do(add)

    def bm_mt_indirect_modify_entry(self, context: int, table: str, handle: int, member: int) -> None:
        """Let it refer to another member."""

        def modify(view: View) -> None:
            state, profile = _indirect(view, table)
            _modify(view, state, handle, _with_member(profile, member))

        self._do(modify)

    def bm_mt_indirect_delete_entry(self, context: int, table: str, handle: int) -> None:
        """Delete one."""
        self._do(lambda view: _delete(view, _indirect(view, table)[0], handle))

    def bm_mt_indirect_set_entry_ttl(self, context: int, table: str, handle: int, timeout_ms: int) -> None:
        """Let it be reported once it was not hit for so long."""
        self._do(lambda view: _set_timeout(view, _indirect(view, table)[0], handle, timeout_ms))

    def bm_mt_indirect_set_default_member(self, context: int, table: str, member: int) -> None:
        """Refused: P4Runtime's tables have no such default entry."""
        self._do(lambda view: _refuse_default(_indirect(view, table)[0]))

    def bm_mt_indirect_reset_default_entry(self, context: int, table: str) -> None:
        """Nothing to do, as it cannot be changed."""
        self._do(lambda view: _reset_default(view, _indirect(view, table)[0]))

    def bm_mt_indirect_ws_add_entry(
        self, context: int, table: str, key: Sequence[Any], group: int, options: Any
    ) -> int:
        """Returns its handle."""

        def add(view: View) -> int:
            state, profile = _selecting(view, table)
            return _add(view, state, key, options, lambda: _with_group(profile, group))

        return self._do(add)

    def bm_mt_indirect_ws_modify_entry(self, context: int, table: str, handle: int, group: int) -> None:
        """Let it refer to another group."""

        def modify(view: View) -> None:
            state, profile = _selecting(view, table)
            _modify(view, state, handle, _with_group(profile, group))

        self._do(modify)

    def bm_mt_indirect_ws_set_default_group(self, context: int, table: str, group: int) -> None:
        """Refused: P4Runtime's tables have no such default entry."""
        self._do(lambda view: _refuse_default(_selecting(view, table)[0]))

    def _do(self, work: Callable[[View], _Result]) -> _Result:
        return self._access.do(work, lambda: bad_table("INVALID_TABLE_NAME", "no program is loaded"))


def find(view: View, state: TableState, handle: int) -> EntryId:
    """The entry of this handle. Raises INVALID_HANDLE, EXPIRED_HANDLE."""
    try:
        return view.handles(state).find(handle, state.entries)
    except Unknown as error:
        code = "EXPIRED_HANDLE" if error.expired else "INVALID_HANDLE"
        raise bad_table(code, f"table {state.schema.name!r}: {error}") from error


def _direct(view: View, name: str) -> TableState:
    state = view.table(name)
    if state.profile is not None:
        raise bad_table("WRONG_TABLE_TYPE", f"the entries of table {name!r} refer to an action profile")
    return state


def _indirect(view: View, name: str) -> tuple[TableState, ProfileState]:
    state = view.table(name)
    if state.profile is None:
        raise bad_table("WRONG_TABLE_TYPE", f"the entries of table {name!r} hold actions")
    return state, state.profile


def _selecting(view: View, name: str) -> tuple[TableState, ProfileState]:
    state, profile = _indirect(view, name)
    if not profile.schema.with_selector:
        raise bad_table("WRONG_TABLE_TYPE", f"table {name!r} has no groups")
    return state, profile


def _with_action(state: TableState, action: str, parameters: Sequence[bytes]) -> p4r.TableAction:
    return p4r.TableAction(action=matches.decode_action(state.schema, action, parameters))


def _with_member(profile: ProfileState, member: int) -> p4r.TableAction:
    return p4r.TableAction(action_profile_member_id=member_id(profile, member))


def _with_group(profile: ProfileState, group: int) -> p4r.TableAction:
    return p4r.TableAction(action_profile_group_id=group_id(profile, group))


def _add(view: View, state: TableState, key: Sequence[Any], options: Any, action: Callable[[], p4r.TableAction]) -> int:
    table = state.schema
    if table.const_entries:
        raise bad_table("IMMUTABLE_TABLE_ENTRIES", f"table {table.name!r} is constant")
    identifier = matches.decode_id(table, key, options)
    handles = view.handles(state)
    message = p4r.TableEntry(table_id=table.id, match=encode_key(table, identifier[0]), priority=identifier[1])
    message.action.CopyFrom(action())
    with codes(bad_table, _CODES | {StatusCode.PERMISSION_DENIED: "INVALID_ACTION_NAME"}):
        view.write(p4r.Update.INSERT, p4r.Entity(table_entry=message))
    return handles.give(identifier)


def _written(state: TableState, identifier: EntryId) -> p4r.TableEntry:
    """An entry as a change of it begins: with all that is to stay."""
    entry = state.entries[identifier]
    if entry.const:
        raise bad_table("IMMUTABLE_TABLE_ENTRIES", f"table {state.schema.name!r}: this entry is constant")
    return encode_entry(state.schema, entry, default=False, meter=True)


def _modify(view: View, state: TableState, handle: int, action: p4r.TableAction) -> None:
    message = _written(state, find(view, state, handle))
    message.action.CopyFrom(action)
    with codes(bad_table, _CODES | {StatusCode.PERMISSION_DENIED: "INVALID_ACTION_NAME"}):
        view.write(p4r.Update.MODIFY, p4r.Entity(table_entry=message))


def _delete(view: View, state: TableState, handle: int) -> None:
    _delete_entry(view, state, find(view, state, handle))


def _delete_entry(view: View, state: TableState, identifier: EntryId) -> None:
    message = _written(state, identifier)
    with codes(bad_table, _CODES):
        view.write(p4r.Update.DELETE, p4r.Entity(table_entry=message))
    view.handles(state).forget(identifier)


def _delete_some(view: View, state: TableState) -> bool:
    """Whether there were any."""
    some = [identifier for identifier, _ in zip(state.entries, range(AT_ONCE), strict=False)]
    for identifier in some:
        _delete_entry(view, state, identifier)
    return bool(some)


def _set_timeout(view: View, state: TableState, handle: int, timeout_ms: int) -> None:
    if not state.schema.idle_timeout:
        raise bad_table("AGEING_DISABLED", f"table {state.schema.name!r} has no idle timeout")
    message = _written(state, find(view, state, handle))
    message.ClearField("action")
    message.idle_timeout_ns = timeout_ms * 1_000_000
    with codes(bad_table, _CODES):
        view.write(p4r.Update.MODIFY, p4r.Entity(table_entry=message))


def _refuse_const_default(state: TableState) -> None:
    if state.schema.const_default:
        raise bad_table("DEFAULT_ENTRY_IS_CONST", f"table {state.schema.name!r}: its default entry is constant")


def _write_default(view: View, state: TableState, action: p4r.TableAction | None) -> None:
    message = p4r.TableEntry(table_id=state.schema.id, is_default_action=True, action=action)
    with codes(bad_table, {StatusCode.PERMISSION_DENIED: "INVALID_ACTION_NAME"}):
        view.write(p4r.Update.MODIFY, p4r.Entity(table_entry=message))


def _reset_default(view: View, state: TableState) -> None:
    if not state.schema.const_default:
        _write_default(view, state, None)


def _refuse_default(state: TableState) -> None:
    reason = "a default entry that is a member or a group cannot be written here, as P4Runtime has none"
    raise bad_table("DEFAULT_ENTRY_IS_CONST", f"table {state.schema.name!r}: {reason}")


_Snapshot = tuple[Callable[[_Taken], Any], list[_Taken]]
"""How to make messages of entries, which takes long for many and is done outside the loop, and the entries."""


def _take(view: View, table: str, wanted: Sequence[EntryId]) -> _Snapshot:
    """Those of `wanted` that are still there."""
    state = view.table(table)
    schema, handles = state.schema, view.handles(state)
    identifiers = [identifier for identifier in wanted if identifier in state.entries]
    idle: list[int | None] = [None] * len(identifiers)
    if schema.idle_timeout:
        idle = view.engine.read_idle_us(table, identifiers)
    taken = []
    for identifier, idle_us in zip(identifiers, idle, strict=True):
        entry = state.entries[identifier]
        number = None if entry.reference is None else _number(state.profile, entry.reference)
        taken.append(_Taken(handles.give(identifier), entry, number, idle_us))
    native = view.program.tables[table]
    valid = [key.kind is MatchKind.VALID for key in native.keys]

    def encode(each: _Taken) -> Any:
        entry, life = each.entry, None
        if each.idle_us is not None:
            timeout = min(entry.idle_timeout_ns // 1_000_000, _MAX_MS)
            life = standard.EntryLife(timeout_ms=timeout, since_hit_ms=min(each.idle_us // 1000, _MAX_MS))
        return standard.Entry(
            key=[
                matches.encode_match(field, match, valid=is_valid)
                for field, match, is_valid in zip(schema.fields, entry.key, valid, strict=True)
            ],
            options=standard.EntryOptions(priority=matches.encode_priority(schema, entry.priority)),
            handle=each.handle,
            action=_action(entry, each.action),
            life=life,
        )

    return encode, taken


def _superfluous(view: View, state: TableState) -> list[EntryId]:
    """All that have handles, when these are more than there are entries."""
    known = view.handles(state).known
    return list(known) if len(known) > len(state.entries) else []


def _forget_absent(view: View, table: str, some: Sequence[EntryId]) -> None:
    """Controllers have deleted them."""
    state = view.table(table)
    for identifier in some:
        if identifier not in state.entries:
            view.handles(state).forget(identifier)


def _only(snapshot: _Snapshot) -> Any:
    encode, taken = snapshot
    return encode(taken[0])


def _number(profile: ProfileState | None, reference: Reference) -> tuple[int, bool]:
    """The handle of the member or group that an entry refers to, and whether it is a group."""
    assert profile is not None
    match reference:
        case MemberReference(member):
            return profile.members[member].numbers[0], False
        case GroupReference(group):
            return profile.groups[group].number, True
    return reference.group_number, True


def _action(entry: Entry, referred: tuple[int, bool] | None) -> Any:
    kinds = standard.ActionKind
    if referred is not None:
        handle, is_group = referred
        if is_group:
            return standard.EntryAction(kind=kinds.GROUP, group=handle)
        return standard.EntryAction(kind=kinds.MEMBER, member=handle)
    if entry.action is None:
        return standard.EntryAction(kind=kinds.NONE)
    parameters = matches.encode_parameters(entry.action, entry.parameters)
    return standard.EntryAction(kind=kinds.ACTION_DATA, action=entry.action.name, parameters=parameters)
