"""One program on one engine, with everything clients wrote into it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from finsy.proto import p4r

from softswitch.bmv2.match import Key
from softswitch.engine.carry import NOTHING, Carried
from softswitch.engine.compiled import Compiled
from softswitch.engine.engine import Engine
from softswitch.p4runtime.entities.batches import TableBatches
from softswitch.p4runtime.entities.digests import DigestLists
from softswitch.p4runtime.entities.profile_entries import Ports
from softswitch.p4runtime.entities.replication import ReplicationStore, native_replicas
from softswitch.p4runtime.entities.table_entry import encode_entry
from softswitch.p4runtime.entities.tables import TableStore
from softswitch.p4runtime.idle import IdleTimers, Timer
from softswitch.p4runtime.schema import Schema


@dataclass
class Pipeline:
    """A loaded program as P4Runtime sees it. `engine` runs it; `ports` are the device's, where those
    are not the engine's own. `clock` is what idle timeouts are counted on, in nanoseconds."""

    config: p4r.ForwardingPipelineConfig
    schema: Schema
    compiled: Compiled
    engine: Engine
    ports: Ports | None = None
    tables: TableStore = field(init=False)
    batches: TableBatches = field(init=False)
    replication: ReplicationStore = field(default_factory=ReplicationStore)
    digests: DigestLists = field(default_factory=DigestLists)
    value_sets: dict[int, tuple[Key, ...]] = field(default_factory=dict)
    idle: IdleTimers = field(default_factory=IdleTimers)
    clock: Callable[[], int] = time.monotonic_ns

    def __post_init__(self) -> None:
        self.tables = TableStore(self.schema, self.compiled, self.ports or self.engine.ports)
        self.batches = TableBatches(self.tables, self.engine)

    def ports_changed(self) -> None:
        """Let the members that watch ports take part, or not, as the ports are now."""
        operations = [o for profile in self.tables.profiles.values() for o in profile.ports_changed()]
        if operations:
            self.engine.apply(operations)

    def idle_entries(self, now: int) -> list[p4r.TableEntry]:
        """The entries whose idle timeout is over, each once a timeout, as a notification tells them."""
        by_table: dict[int, list[Timer]] = {}
        for timer in self.idle.due(now):
            by_table.setdefault(timer.table, []).append(timer)
        entries = []
        for table, timers in by_table.items():
            state = self.tables.states[table]
            idle = self.engine.read_idle_us(state.schema.name, [timer.entry for timer in timers])
            known = {timer: us * 1000 for timer, us in zip(timers, idle, strict=True) if us is not None}
            for timer in self.idle.settle(known, now):
                message = encode_entry(state.schema, state.entries[timer.entry], default=False)
                message.ClearField("action")
                entries.append(message)
        return entries

    def remove_replication(self) -> None:
        """Take groups and clone sessions out of the engine, which keeps them from one program to the next."""
        for group in self.replication.groups:
            self.engine.delete_multicast_group(group)
        for session in self.replication.sessions:
            self.engine.delete_clone_session(session)
        self.replication = ReplicationStore()

    def replace_replication(self, old: ReplicationStore) -> None:
        """Put groups and clone sessions into the engine, which has those of `old`."""
        for group, written in self.replication.groups.items():
            self.engine.set_multicast_group(group, native_replicas(written.replicas))
        for session, clones in self.replication.sessions.items():
            self.engine.set_clone_session(session, native_replicas(clones.replicas), clones.packet_length)
        for group in old.groups.keys() - self.replication.groups.keys():
            self.engine.delete_multicast_group(group)
        for session in old.sessions.keys() - self.replication.sessions.keys():
            self.engine.delete_clone_session(session)

    def move_to(self, engine: Engine, carried: Carried = NOTHING) -> None:
        """Run on another engine from now on, in place of its program, of which what is `carried` goes over. Groups and
        clone sessions stay behind."""
        engine.adopt(self.engine, carried)
        self.engine.close()
        self.engine = engine
        self.batches = TableBatches(self.tables, engine)
