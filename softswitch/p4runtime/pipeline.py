"""One program on one engine, with everything clients wrote into it."""

from __future__ import annotations

from dataclasses import dataclass, field

from finsy.proto import p4r

from softswitch.bmv2.program import Program
from softswitch.engine import Engine
from softswitch.p4runtime.digests import DigestLists
from softswitch.p4runtime.plain import PlainUpdates
from softswitch.p4runtime.replication import ReplicationStore
from softswitch.p4runtime.schema import Schema
from softswitch.p4runtime.tables import TableStore


@dataclass
class Pipeline:
    """A loaded program as P4Runtime sees it. `engine` has just loaded `program`."""

    config: p4r.ForwardingPipelineConfig
    schema: Schema
    program: Program
    engine: Engine
    tables: TableStore = field(init=False)
    plain: PlainUpdates = field(init=False)
    replication: ReplicationStore = field(default_factory=ReplicationStore)
    digests: DigestLists = field(default_factory=DigestLists)

    def __post_init__(self) -> None:
        self.tables = TableStore(self.schema, self.program)
        self.plain = PlainUpdates(self.tables, self.engine)

    def remove_replication(self) -> None:
        """Take groups and clone sessions out of the engine, which keeps them from one program to the next."""
        for group in self.replication.groups:
            self.engine.delete_multicast_group(group)
        for session in self.replication.sessions:
            self.engine.delete_clone_session(session)
        self.replication = ReplicationStore()
