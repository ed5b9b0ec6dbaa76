"""The native switch: loads BMv2 JSON, compiles it, and moves packets. Everything Python does with it goes through here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from softswitch.bmv2.program import Program, UnsupportedProgram
from softswitch.entries import EntryError, Event, MatchKey, Replicas, TableOperation

__all__ = ["CompilerMissing", "Engine", "UnsupportedProgram"]


class CompilerMissing(RuntimeError):
    """No working C compiler: says what to install."""


class Engine:
    """One switch. Methods may be called from any thread; each call is atomic to the packet path.

    Table changes, reads and `process` are executed by the packet thread between two bursts of packets while it
    runs (after `start`), by the calling thread otherwise, so the packet path takes no lock.

    `cpu_port` is where packet-out enters and packet-in leaves; `drop_port` is what `mark_to_drop` sets.
    Compiled programs are kept in `cache_dir` (default `$XDG_CACHE_HOME/softswitch`, `~/.cache/softswitch`), by content.
    """

    def __init__(self, *, cpu_port: int | None = None, drop_port: int = 511, cache_dir: Path | None = None) -> None:
        raise NotImplementedError

    # -- pipeline -----------------------------------------------------------------------------------------------

    @property
    def program(self) -> Program | None:
        """The loaded program: its tables (keys with widths and match kinds, actions, const entries, size), counters,
        registers and digests by name; None before the first `load`."""
        raise NotImplementedError

    def verify(self, bmv2_json: str) -> Program:
        """Load and compile without running it. Raises as `load` does."""
        raise NotImplementedError

    def load(self, bmv2_json: str) -> None:
        """Compile a program (about a second; immediate when cached) and swap it in between two packets.

        Afterwards all tables hold their const entries and default actions, registers and counters are zero. Ports,
        multicast groups and clone sessions stay. Raises UnsupportedProgram (the running program goes on), ValueError
        for text that is not BMv2 JSON, CompilerMissing.
        """
        raise NotImplementedError

    # -- ports and life -----------------------------------------------------------------------------------------

    def add_port(self, port: int, interface: str) -> None:
        """Attach a network interface (promiscuous). Raises ValueError (number taken or reserved), OSError."""
        raise NotImplementedError

    def remove_port(self, port: int) -> None:
        """Detach. Raises KeyError when there is no such port."""
        raise NotImplementedError

    def ports(self) -> dict[int, tuple[str, bool]]:
        """Number -> (interface, up)."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the packet thread. Packets that arrive before the first `load` are dropped."""
        raise NotImplementedError

    def close(self) -> None:
        """End the packet thread and free everything. Idempotent; also on leaving a `with` block."""
        raise NotImplementedError

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- tables -------------------------------------------------------------------------------------------------

    def apply(self, operations: Sequence[TableOperation]) -> list[EntryError | None]:
        """Do the operations in order, the whole batch between two packets; one result each, None for success.

        A failed operation does not stop the rest. Const tables give PERMISSION_DENIED, full tables RESOURCE_EXHAUSTED.
        """
        raise NotImplementedError

    # -- counters, registers ------------------------------------------------------------------------------------

    def read_counters(self, name: str, start: int, count: int) -> list[tuple[int, int]]:
        """(packets, bytes) of cells start .. start+count-1. Raises KeyError, IndexError."""
        raise NotImplementedError

    def write_counter(self, name: str, index: int, packets: int, octets: int) -> None:
        """Set one cell. Raises KeyError, IndexError."""
        raise NotImplementedError

    def read_direct_counters(
        self, table: str, entries: Sequence[tuple[tuple[MatchKey, ...], int]]
    ) -> list[tuple[int, int] | None]:
        """(packets, bytes) per (key, priority); None where there is no such entry. Raises KeyError for a table
        without a direct counter."""
        raise NotImplementedError

    def write_direct_counter(
        self, table: str, key: tuple[MatchKey, ...], priority: int, packets: int, octets: int
    ) -> None:
        """Set an entry's counter. Raises KeyError."""
        raise NotImplementedError

    def read_registers(self, name: str, start: int, count: int) -> list[int]:
        """Values of cells start .. start+count-1. Raises KeyError, IndexError."""
        raise NotImplementedError

    def write_register(self, name: str, index: int, value: int) -> None:
        """Set one cell. Raises KeyError, IndexError, ValueError when the value does not fit."""
        raise NotImplementedError

    # -- packet replication -------------------------------------------------------------------------------------

    def set_multicast_group(self, group: int, replicas: Replicas) -> None:
        """Create or replace a group (1..65535); a replica is (port, instance)."""
        raise NotImplementedError

    def delete_multicast_group(self, group: int) -> None:
        """Raises KeyError when there is no such group."""
        raise NotImplementedError

    def set_clone_session(self, session: int, replicas: Replicas, packet_length: int = 0) -> None:
        """Create or replace a clone session (0..32767). `packet_length` in bytes truncates the clones, 0 does not."""
        raise NotImplementedError

    def delete_clone_session(self, session: int) -> None:
        """Raises KeyError when there is no such session."""
        raise NotImplementedError

    # -- packets and events -------------------------------------------------------------------------------------

    def packet_out(self, data: bytes) -> None:
        """Send `data` (packet-out header first) into the pipeline as if it came from the CPU port."""
        raise NotImplementedError

    def process(self, port: int, data: bytes) -> list[tuple[int, bytes]]:
        """Run one packet to completion and return what would leave, as (port, bytes), the CPU port's included.

        Needs no interface, no root and no `start`. Digests are queued as events all the same. Raises RuntimeError
        before the first `load`.
        """
        raise NotImplementedError

    @property
    def event_fd(self) -> int:
        """Readable (poll, asyncio's add_reader) while `read_events` has something."""
        raise NotImplementedError

    def read_events(self) -> list[Event]:
        """What the program and the ports have reported since the last call, in order; never blocks."""
        raise NotImplementedError

    @property
    def dropped_events(self) -> int:
        """Digests and packet-ins lost since the start because nobody read in time."""
        raise NotImplementedError

    def clock_us(self) -> int:
        """The data plane's clock, as `ingress_global_timestamp` shows it: monotonic µs since construction, 48 bits."""
        raise NotImplementedError

    def freeze_clock(self, us: int | None) -> None:
        """Make the data plane's clock stand at `us` (for tests that let time pass at will); None lets it run again."""
        raise NotImplementedError
