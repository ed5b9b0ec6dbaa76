"""How calls of Thrift, each in its client's thread, get at the device: between the calls of P4Runtime, one short piece
of work at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from finsy.proto import p4r

from softswitch.bmv2.program import Program
from softswitch.engine.engine import Engine
from softswitch.p4runtime import write
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.entities.profiles import Numbers, ProfileState
from softswitch.p4runtime.entities.table_entry import TableState
from softswitch.p4runtime.pipeline import Pipeline
from softswitch.p4runtime.server import P4RuntimeServer
from softswitch.thrift.definitions import bad_table
from softswitch.thrift.handles import EntryHandles

_Result = TypeVar("_Result")


@dataclass
class Node:
    """A part of a multicast group: a packet for each of `ports`, with this `egress_rid`."""

    instance: int
    ports: tuple[int, ...]
    group: int | None = None


@dataclass
class Nodes:
    """Those that there are, by handle, and those of each group in their order."""

    by_handle: dict[int, Node] = field(default_factory=dict)
    of_group: dict[int, list[int]] = field(default_factory=dict)
    numbers: Numbers = field(default_factory=Numbers)


class View:
    """One program with what is written into it, and what only Thrift knows of that."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.nodes = Nodes()
        self.copied_groups: dict[int, tuple[int | None, int]] = {}
        """Clone sessions that copy to a multicast group: session -> (port besides, group)."""
        self._handles: dict[int, EntryHandles] = {}

    @property
    def engine(self) -> Engine:
        """The one that runs the program."""
        return self.pipeline.engine

    @property
    def program(self) -> Program:
        """The program itself."""
        return self.pipeline.compiled.program

    @cached_property
    def _tables(self) -> dict[str, TableState]:
        return {state.schema.name: state for state in self.pipeline.tables.states.values()}

    @cached_property
    def _profiles(self) -> dict[str, ProfileState]:
        return {profile.schema.name: profile for profile in self.pipeline.tables.profiles.values()}

    def table(self, name: str) -> TableState:
        """Raises INVALID_TABLE_NAME."""
        if name not in self._tables:
            raise bad_table("INVALID_TABLE_NAME", f"there is no table {name!r}")
        return self._tables[name]

    def profile(self, name: str) -> ProfileState:
        """Raises INVALID_ACTION_PROFILE_NAME."""
        if name not in self._profiles:
            raise bad_table("INVALID_ACTION_PROFILE_NAME", f"there is no action profile {name!r}")
        return self._profiles[name]

    def handles(self, state: TableState) -> EntryHandles:
        """The handles of a table. Those of the program's entries are the first; a controller's get theirs when asked
        for."""
        handles = self._handles.get(state.schema.id)
        if handles is None:
            handles = self._handles[state.schema.id] = EntryHandles()
            for identifier, entry in state.entries.items():
                if entry.const:
                    handles.give(identifier)
        return handles

    def write(self, kind: int, entity: p4r.Entity) -> None:
        """As a P4Runtime client would. Raises P4RuntimeError."""
        update = p4r.Update(type=kind, entity=entity)
        (error,) = write.write(self.pipeline, [update], p4r.WriteRequest.CONTINUE_ON_ERROR)
        if error is not None:
            raise error


class Access:
    """The device behind `server`, which runs in `loop`, for threads that are not the loop's."""

    def __init__(self, server: P4RuntimeServer, loop: asyncio.AbstractEventLoop) -> None:
        self.device = server.device
        self._server = server
        self._loop = loop
        self._view: View | None = None

    def do(self, work: Callable[[View], _Result], missing: Callable[[], Exception]) -> _Result:
        """Do something short with the present program. Raises what `missing` makes when there is none."""

        def with_view(device: Device) -> _Result:
            pipeline = device.present
            if pipeline is None:
                raise missing()
            if self._view is None or self._view.pipeline is not pipeline:
                self._view = View(pipeline)
            return work(self._view)

        return asyncio.run_coroutine_threadsafe(self._server.between_calls(with_view), self._loop).result()

    def change_program(self, change: Callable[[Device], None]) -> None:
        """Do what replaces the program."""
        asyncio.run_coroutine_threadsafe(self._server.change_program(change), self._loop).result()
