"""Write: batches of updates, staged in the models first and then done in the engine (specification, "Write RPC").

Updates of tables and action profiles reach the engine in one call, in their order; other entities follow, in theirs.
The specification lets a server reorder a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.entries import EngineOperation, EntryError
from softswitch.p4runtime import effects
from softswitch.p4runtime.effects import Effect
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.pipeline import Pipeline
from softswitch.p4runtime.profiles import ProfileChange
from softswitch.p4runtime.tables import TableChange

Errors = list[P4RuntimeError | None]

_Staged = TableChange | ProfileChange | Effect


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
    for place, update in enumerate(updates):
        try:
            staged[place] = _stage(pipeline, update)
        except P4RuntimeError as error:
            errors[place] = error
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
    _set_timers(pipeline, staged, errors)
    return errors


def _set_timers(pipeline: Pipeline, staged: Sequence[_Staged | None], errors: Errors) -> None:
    for change, error in zip(staged, errors, strict=True):
        if isinstance(change, TableChange) and change.state.schema.idle_timeout and change.id and error is None:
            timeout = 0 if change.after is None else change.after.idle_timeout_ns
            pipeline.idle.set(change.state.schema.id, change.id, timeout, pipeline.clock())


def _stage(pipeline: Pipeline, update: p4r.Update) -> _Staged:
    if update.type not in (p4r.Update.INSERT, p4r.Update.MODIFY, p4r.Update.DELETE):
        raise invalid("update type is not set")
    entity = update.entity
    match entity.WhichOneof("entity"):
        case "table_entry":
            entry = entity.table_entry
            return pipeline.plain.stage(update.type, entry) or pipeline.tables.stage(update.type, entry)
        case "counter_entry":
            return effects.stage_counter(pipeline, update.type, entity.counter_entry)
        case "direct_counter_entry":
            return effects.stage_direct_counter(pipeline, update.type, entity.direct_counter_entry)
        case "action_profile_member":
            member = entity.action_profile_member
            return pipeline.tables.profile(member.action_profile_id).stage_member(update.type, member)
        case "action_profile_group":
            group = entity.action_profile_group
            return pipeline.tables.profile(group.action_profile_id).stage_group(update.type, group)
        case "meter_entry":
            return effects.stage_meter(pipeline, update.type, entity.meter_entry)
        case "direct_meter_entry":
            return effects.stage_direct_meter(pipeline, update.type, entity.direct_meter_entry)
        case "value_set_entry":
            return effects.stage_value_set(pipeline, update.type, entity.value_set_entry)
        case "register_entry":
            return effects.stage_register(pipeline, update.type, entity.register_entry)
        case "packet_replication_engine_entry":
            return effects.stage_replication(pipeline, update.type, entity.packet_replication_engine_entry)
        case "digest_entry":
            return effects.stage_digest(pipeline, update.type, entity.digest_entry)
        case "extern_entry":
            raise P4RuntimeError(StatusCode.UNIMPLEMENTED, "externs are not supported")
        case _:
            raise invalid("entity is not set")


def _perform(pipeline: Pipeline, staged: Sequence[_Staged | None], errors: Errors) -> list[Callable[[], None]]:
    """Do what is staged, noting errors. Returns how to undo the updates that are no table operations."""
    changes: list[tuple[int, EngineOperation]] = []
    for place, change in enumerate(staged):
        if isinstance(change, TableChange):
            changes += ((place, operation) for operation in change.preparation)
            if change.operation is not None:
                changes.append((place, change.operation))
            if change.direct is not None:
                changes.append((place, change.direct))
        elif isinstance(change, ProfileChange):
            changes += ((place, operation) for operation in change.operations)
    results = pipeline.engine.apply([operation for _, operation in changes]) if changes else []
    for (place, _), result in zip(changes, results, strict=True):
        if result is not None:
            errors[place] = _engine_error(result)
    undo: list[Callable[[], None]] = []
    for place, change in enumerate(staged):
        if errors[place] is not None:
            continue
        if isinstance(change, Effect):
            undo.append(change.perform())
    return undo


def _engine_error(error: EntryError) -> P4RuntimeError:
    return P4RuntimeError(StatusCode[error.kind.value], error.message)


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
    operations: list[EngineOperation] = []
    for change, error in reversed(list(zip(staged, errors, strict=True))):
        if change is not None:
            change.revert()
        if error is None and isinstance(change, TableChange | ProfileChange):
            operations += change.inverse()
    pipeline.engine.apply(operations)


def _aborted(errors: Errors) -> Errors:
    aborted = P4RuntimeError(StatusCode.ABORTED, "not done: another update of this batch failed")
    return [error or aborted for error in errors]
