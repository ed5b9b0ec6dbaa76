"""Write: batches of updates, staged in the models first and then done in the engine (specification, "Write RPC").

Updates of tables and action profiles reach the engine in one call, in their order; other entities follow, in theirs.
The specification lets a server reorder a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.engine.abi import Result
from softswitch.p4runtime.allowance import Allowance
from softswitch.p4runtime.entities import counters, digests, meters, registers, replication, value_sets
from softswitch.p4runtime.entities.batches import Rows
from softswitch.p4runtime.entities.effect import Effect
from softswitch.p4runtime.entities.profiles import ProfileChange
from softswitch.p4runtime.entities.table_change import TableChange
from softswitch.p4runtime.entities.tables import set_timer
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.pipeline import Pipeline

Errors = list[P4RuntimeError | None]

MAX_SINGLY = 1 << 13
"""Updates of a batch done wholly or not at all that are other than plain ones of table entries: each takes some 20 us,
in which reads and writes wait."""

STRETCHES = (1000, 100)
"""Updates of such a batch that are tried as plain ones together: first as many, then parts of those."""

_Change = TableChange | ProfileChange
_Staged = _Change | Effect | Rows
"""What is staged at the place of an update; rows, at that of their first one."""

_REFUSALS = {
    Result.EXISTS: (StatusCode.ALREADY_EXISTS, "an entry with this key and priority exists"),
    Result.ABSENT: (StatusCode.NOT_FOUND, "no entry has this key and priority"),
    Result.FULL: (StatusCode.RESOURCE_EXHAUSTED, "it is full"),
    Result.NO_MEMORY: (StatusCode.RESOURCE_EXHAUSTED, "out of memory"),
}


def write(pipeline: Pipeline, updates: Sequence[p4r.Update], atomicity: int) -> Errors:
    """Do a batch. Returns one result per update, None for success.

    ROLLBACK_ON_ERROR and DATAPLANE_ATOMIC batches are done wholly or not at all; what was given up because of
    another update's error says ABORTED. Raises UNIMPLEMENTED for a DATAPLANE_ATOMIC batch that is more than tables,
    INVALID_ARGUMENT for an unknown atomicity, RESOURCE_EXHAUSTED for more than MAX_SINGLY unusual updates in a batch
    that is done wholly or not at all; nothing is changed then.
    """
    if atomicity not in p4r.WriteRequest.Atomicity.values():
        raise invalid(f"there is no atomicity {atomicity}")
    if atomicity == p4r.WriteRequest.DATAPLANE_ATOMIC and any(
        update.entity.WhichOneof("entity") != "table_entry" or update.entity.table_entry.HasField("counter_data")
        for update in updates
    ):
        raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "only batches of table entries can be DATAPLANE_ATOMIC")
    whole = atomicity != p4r.WriteRequest.CONTINUE_ON_ERROR
    staged: list[_Staged | None] = [None] * len(updates)
    errors: Errors = [None] * len(updates)
    try:
        if whole:
            _stage_whole(pipeline, updates, staged, errors)
        else:
            _stage_singly(pipeline, updates, range(len(updates)), staged, errors, Allowance(pipeline))
    except P4RuntimeError:
        _revert(staged)
        raise
    if whole and any(errors):
        _revert(staged)
        return _aborted(errors)
    undo = _perform(pipeline, staged, errors)
    if any(errors):
        if whole:
            _restore(pipeline, staged, errors, undo)
            return _aborted(errors)
        _revert([change if errors[place] else None for place, change in enumerate(staged)])
    for change, failure in zip(staged, errors, strict=True):
        if isinstance(change, TableChange) and failure is None:
            set_timer(pipeline, change)
    return errors


def _stage_whole(
    pipeline: Pipeline, updates: Sequence[p4r.Update], staged: list[_Staged | None], errors: Errors
) -> None:
    """Stage a batch up to its first error, plain updates by the short way. Raises RESOURCE_EXHAUSTED."""
    allowance = Allowance(pipeline)
    singly = 0
    parts: list[tuple[range, tuple[int, ...]]] = [(range(len(updates)), STRETCHES)]
    while parts:
        part, stretches = parts.pop()
        if len(part) > stretches[0]:
            parts += [(part[at : at + stretches[0]], stretches) for at in range(0, len(part), stretches[0])][::-1]
            continue
        piece = p4r.WriteRequest(updates=updates[part.start : part.stop])
        rows = pipeline.batches.stage(piece.SerializeToString(), len(part))
        shorter = stretches[1:]
        if rows is not None:
            staged[part.start] = rows
        elif shorter and len(part) > shorter[0]:
            parts.append((part, shorter))
        else:
            singly += len(part)
            if singly > MAX_SINGLY:
                raise P4RuntimeError(
                    StatusCode.RESOURCE_EXHAUSTED,
                    f"a batch done wholly or not at all has at most {MAX_SINGLY} updates other than plain ones of table"
                    " entries: split it, or CONTINUE_ON_ERROR",
                )
            if not _stage_singly(pipeline, updates, part, staged, errors, allowance, whole=True):
                return


def _stage_singly(
    pipeline: Pipeline,
    updates: Sequence[p4r.Update],
    places: range,
    staged: list[_Staged | None],
    errors: Errors,
    allowance: Allowance,
    whole: bool = False,
) -> bool:
    """Stage updates one by one; a whole batch ends at its first error. Whether it goes on."""
    for place in places:
        update = updates[place]
        try:
            allowance.cells(update.entity)
            staged[place] = _stage(pipeline, update)
        except P4RuntimeError as error:
            errors[place] = error.as_result()
            if whole:
                return False
    return True


def _stage(pipeline: Pipeline, update: p4r.Update) -> _Staged:
    if update.type not in (p4r.Update.INSERT, p4r.Update.MODIFY, p4r.Update.DELETE):
        raise invalid("update type is not set")
    entity = update.entity
    match entity.WhichOneof("entity"):
        case "table_entry":
            return pipeline.tables.stage(update.type, entity.table_entry)
        case "counter_entry":
            return counters.stage(pipeline, update.type, entity.counter_entry)
        case "direct_counter_entry":
            return counters.stage_direct(pipeline, update.type, entity.direct_counter_entry)
        case "action_profile_member":
            member = entity.action_profile_member
            return pipeline.tables.profile(member.action_profile_id).stage_member(update.type, member)
        case "action_profile_group":
            group = entity.action_profile_group
            return pipeline.tables.profile(group.action_profile_id).stage_group(update.type, group)
        case "meter_entry":
            return meters.stage(pipeline, update.type, entity.meter_entry)
        case "direct_meter_entry":
            return meters.stage_direct(pipeline, update.type, entity.direct_meter_entry)
        case "value_set_entry":
            return value_sets.stage(pipeline, update.type, entity.value_set_entry)
        case "register_entry":
            return registers.stage(pipeline, update.type, entity.register_entry)
        case "packet_replication_engine_entry":
            return replication.stage(pipeline, update.type, entity.packet_replication_engine_entry)
        case "digest_entry":
            return digests.stage(pipeline, update.type, entity.digest_entry)
        case "extern_entry":
            raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "externs are not supported")
        case _:
            raise invalid("entity is not set")


def _perform(pipeline: Pipeline, staged: Sequence[_Staged | None], errors: Errors) -> list[Callable[[], None]]:
    """Do what is staged, noting errors. Returns how to undo the updates that are no table operations."""
    now_us = pipeline.engine.clock_us()
    operations: list[bytes] = []
    places: list[int] = []
    for place, change in enumerate(staged):
        if isinstance(change, Rows):
            operations.append(change.operations)
            places += range(place, place + len(change.done))
        elif isinstance(change, _Change):
            packed = change.operations(now_us)
            operations += packed
            places += [place] * len(packed)
    results = pipeline.engine.apply_packed(b"".join(operations), len(places)) if operations else []
    for place, result in zip(places, results, strict=True):
        if result:
            code, reason = _REFUSALS[Result(result)]
            errors[place] = P4RuntimeError(code, f"{_what(staged, place)}: {reason}")
    undo: list[Callable[[], None]] = []
    for place, change in enumerate(staged):
        if errors[place] is not None:
            continue
        if isinstance(change, Effect):
            undo.append(change.perform())
    return undo


def _what(staged: Sequence[_Staged | None], place: int) -> str:
    """What the update at a place changes, for a message."""
    change = staged[place]
    if isinstance(change, _Change):
        return change.what
    first = next(at for at in range(place, -1, -1) if isinstance(staged[at], Rows))
    rows = staged[first]
    assert isinstance(rows, Rows)
    return f"table {rows.done[place - first][0].schema.name!r}"


def _revert(staged: Iterable[_Staged | None]) -> None:
    for change in reversed(list(staged)):
        if change is not None:
            change.revert()


def _restore(
    pipeline: Pipeline, staged: Sequence[_Staged | None], errors: Errors, undo: Iterable[Callable[[], None]]
) -> None:
    """Bring models and engine back to where they were before a batch that failed in the engine."""
    for step in reversed(list(undo)):
        step()
    now_us = pipeline.engine.clock_us()
    operations: list[bytes] = []
    for place, change in reversed(list(enumerate(staged))):
        if change is not None:
            change.revert()
        if isinstance(change, Rows):
            operations += change.inverse(errors[place : place + len(change.done)])
        elif errors[place] is None and isinstance(change, _Change):
            operations += change.inverse(now_us)
    pipeline.engine.apply(operations)


def _aborted(errors: Errors) -> Errors:
    aborted = P4RuntimeError(StatusCode.ABORTED, "not done: another update of this batch failed")
    return [error or aborted for error in errors]
