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
from softswitch.p4runtime.entities.effect import Effect
from softswitch.p4runtime.entities.profiles import ProfileChange
from softswitch.p4runtime.entities.table_change import TableChange
from softswitch.p4runtime.entities.tables import set_timer
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.pipeline import Pipeline

Errors = list[P4RuntimeError | None]

_Change = TableChange | ProfileChange
_Staged = _Change | Effect

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
    INVALID_ARGUMENT for an unknown atomicity.
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
    allowance = Allowance(pipeline)
    for place, update in enumerate(updates):
        try:
            allowance.cells(update.entity)
            staged[place] = _stage(pipeline, update)
        except P4RuntimeError as error:
            errors[place] = error.as_result()
            if whole:
                break
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
        if isinstance(change, _Change):
            packed = change.operations(now_us)
            operations += packed
            places += [place] * len(packed)
    results = pipeline.engine.apply(operations) if operations else []
    for place, result in zip(places, results, strict=True):
        change = staged[place]
        if result and isinstance(change, _Change):
            code, reason = _REFUSALS[Result(result)]
            errors[place] = P4RuntimeError(code, f"{change.what}: {reason}")
    undo: list[Callable[[], None]] = []
    for place, change in enumerate(staged):
        if errors[place] is not None:
            continue
        if isinstance(change, Effect):
            undo.append(change.perform())
    return undo


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
    for change, error in reversed(list(zip(staged, errors, strict=True))):
        if change is not None:
            change.revert()
        if error is None and isinstance(change, _Change):
            operations += change.inverse(now_us)
    pipeline.engine.apply(operations)


def _aborted(errors: Errors) -> Errors:
    aborted = P4RuntimeError(StatusCode.ABORTED, "not done: another update of this batch failed")
    return [error or aborted for error in errors]
