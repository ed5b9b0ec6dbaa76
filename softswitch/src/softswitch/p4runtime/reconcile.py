"""RECONCILE_AND_COMMIT: a new program is filled with the present state beside the running one, and takes its place.

Reads and writes go on while it is filled: what is written meanwhile is noted and done again in the new one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from finsy.proto import p4r

from softswitch.engine.carry import Alike, alike
from softswitch.engine.engine import Engine
from softswitch.p4runtime import read, write
from softswitch.p4runtime.data import encode
from softswitch.p4runtime.errors import invalid
from softswitch.p4runtime.pipeline import Pipeline
from softswitch.p4runtime.table_entries import encode_entry

BATCH = 1000
"""Updates that are done at once in the new program."""

FEW = 100
"""As many updates may be left for the moment in which nobody else can write."""

ROUNDS = 1000
"""Batches of a client that writes faster than they are done again are left for that moment as well."""


class Reconciliation:
    """`filled`, on an engine of its own, is to take over from `running`: `begin` while nobody writes, then `fill`, then
    `commit` while nobody writes again. Whoever writes to `running` in between calls `note`."""

    def __init__(self, running: Pipeline, filled: Pipeline) -> None:
        self.running = running
        self._filled = filled
        self._spare = filled.engine
        self._updates: Iterator[p4r.Update] = iter(())
        self._noted: deque[p4r.Update] = deque()

    def begin(self) -> None:
        """Take down the present state."""
        self._updates = _state(self.running, alike(self.running.program, self._filled.program))

    def note(self, updates: Iterable[p4r.Update]) -> None:
        """These have been done in the running program."""
        self._noted += updates

    def fill(self) -> None:
        """Bring the new program to the present state, but for a few of the latest writes. Raises P4RuntimeError where
        the state does not fit."""
        _do(self._filled, _initial_gone(self._filled))
        while batch := list(islice(self._updates, BATCH)):
            _do(self._filled, batch)
        for _ in range(ROUNDS):
            if len(self._noted) <= FEW:
                break
            self._catch_up()

    def commit(self, engine: Engine) -> Pipeline:
        """Do the last writes again, and let the new program take the place of the running one, on its `engine`. Raises
        P4RuntimeError, the running one going on."""
        while self._noted:
            self._catch_up()
        self._filled.move_to(engine, carry=True)
        if self._filled.schema.digests == self.running.schema.digests:
            self._filled.digests = self.running.digests
        return self._filled

    def close(self) -> None:
        """Free what was not committed. Idempotent."""
        self._spare.close()

    def _catch_up(self) -> None:
        _do(self._filled, [self._noted.popleft() for _ in range(min(BATCH, len(self._noted)))])


def _do(pipeline: Pipeline, updates: Sequence[p4r.Update]) -> None:
    """Raises INVALID_ARGUMENT for the first that cannot be done."""
    if updates and pipeline.bulk.write(p4r.WriteRequest(updates=updates).SerializeToString(), len(updates)):
        return
    errors = write.write(pipeline, updates, p4r.WriteRequest.CONTINUE_ON_ERROR)
    if first := next((error for error in errors if error), None):
        raise invalid(f"the present state does not fit the new program: {first.message}")


def _initial_gone(pipeline: Pipeline) -> list[p4r.Update]:
    """The updates that take out the entries a program gives preinitialized tables."""
    return [
        p4r.Update(
            type=p4r.Update.DELETE,
            entity=p4r.Entity(table_entry=encode_entry(state.schema, entry, default=False)),
        )
        for state in pipeline.tables.states.values()
        for entry in state.entries.values()
        if not entry.const
    ]


def _state(pipeline: Pipeline, carried: Alike) -> Iterator[p4r.Update]:
    """The updates that bring a freshly loaded program to the state of `pipeline`: entries with their counters,
    changed default entries, counters, meters and registers that are not as in the beginning, value sets that are not
    empty, replication and digest configurations. What others refer to comes first. What is `carried` when the programs
    are swapped is left out. They show the state at the time of this call, and are made as they are taken."""
    everything = [
        p4r.Entity(action_profile_member=p4r.ActionProfileMember()),
        p4r.Entity(action_profile_group=p4r.ActionProfileGroup()),
        p4r.Entity(table_entry=p4r.TableEntry(counter_data=p4r.CounterData(), meter_config=p4r.MeterConfig())),
        p4r.Entity(table_entry=p4r.TableEntry(is_default_action=True)),
        p4r.Entity(counter_entry=p4r.CounterEntry()),
        p4r.Entity(meter_entry=p4r.MeterEntry()),
        p4r.Entity(register_entry=p4r.RegisterEntry()),
        p4r.Entity(value_set_entry=p4r.ValueSetEntry()),
        p4r.Entity(digest_entry=p4r.DigestEntry()),
    ]
    for kind in ("multicast_group_entry", "clone_session_entry"):
        entity = p4r.Entity()
        getattr(entity.packet_replication_engine_entry, kind).SetInParent()
        everything.append(entity)
    responses, _ = read.read(pipeline, everything)
    entities = (entity for response in responses for entity in response.entities)
    return (update for entity in entities if (update := _update(pipeline, carried, entity)) is not None)


def _update(pipeline: Pipeline, carried: Alike, entity: p4r.Entity) -> p4r.Update | None:
    kind = p4r.Update.INSERT
    match entity.WhichOneof("entity"):
        case "table_entry":
            state = pipeline.tables.state(entity.table_entry.table_id)
            if entity.table_entry.is_const or state.schema.const_entries:
                return None
            if entity.table_entry.is_default_action:
                if state.default == state.initial_default:
                    return None
                kind = p4r.Update.MODIFY
        case "counter_entry":
            counter = pipeline.schema.counters[entity.counter_entry.counter_id]
            if counter.name in carried.counters or entity.counter_entry.data == p4r.CounterData():
                return None
            kind = p4r.Update.MODIFY
        case "meter_entry":
            if not entity.meter_entry.HasField("config"):
                return None
            kind = p4r.Update.MODIFY
        case "value_set_entry":
            if not entity.value_set_entry.members:
                return None
            kind = p4r.Update.MODIFY
        case "register_entry":
            register = pipeline.schema.registers[entity.register_entry.register_id]
            if register.name in carried.registers or entity.register_entry.data == encode(register.type, (0,)):
                return None
            kind = p4r.Update.MODIFY
    return p4r.Update(type=kind, entity=entity)
