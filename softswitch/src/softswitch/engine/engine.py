"""The native switch: programs are loaded into it, ports and packets given to it. Together with `state.py`, which reads
and writes what a program remembers, and `shaping.py`, its queues and links, this is all that Python does with it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from softswitch.bmv2.program import Program
from softswitch.bmv2.v1model import MAX_CLONE_SESSION, MAX_MULTICAST_GROUP, MAX_PORT
from softswitch.codegen.cc import Compiler
from softswitch.codegen.program import generate
from softswitch.engine import abi
from softswitch.engine import carry as carrying
from softswitch.engine.compiled import Compiled, Prepare, as_it_is, compile_program
from softswitch.engine.events import Event, EventReader, LostEvents
from softswitch.engine.ffi import PortState, ReplicaStruct, TraceStruct, open_runtime
from softswitch.engine.shaping import ShapedPorts, outputs
from softswitch.engine.trace import Trace, TraceReader

IO = ("af_packet", "af_xdp")
"""How ports can send and receive; the first is the default. With `af_xdp` frames leave faster, and neither queueing
disciplines nor tcpdump on the interface see them leave."""
_XDP_PROBLEMS = {
    errno.EAFNOSUPPORT: "this kernel has no AF_XDP",
    errno.EBUSY: "another program has its AF_XDP queue",
    errno.EMSGSIZE: "af_xdp takes an MTU of at most 4078",
}
_MESSAGE_ROOM = 512

Replicas = Sequence[tuple[int, int]]
"""The copies that a multicast group or clone session makes: out of which port, with which `egress_rid`."""


class Engine(ShapedPorts):
    """One switch. Methods may be called from any thread; each call is atomic to the packet path.

    Table changes, reads and `process` are executed by the packet thread between two bursts of packets while it
    runs (after `start`), by the calling thread otherwise, so the packet path takes no lock.

    `cpu_port` is where packet-out enters and packet-in leaves; `drop_port` is what `mark_to_drop` sets. `io` is how
    ports send and receive, one of `IO`; with `busy_poll` the packet thread never sleeps.
    Compiled programs are kept in `cache_dir` (default `$XDG_CACHE_HOME/softswitch`, `~/.cache/softswitch`), by content.
    """

    def __init__(
        self,
        *,
        cpu_port: int | None = None,
        drop_port: int = MAX_PORT,
        io: str = IO[0],
        busy_poll: bool = False,
        cache_dir: Path | None = None,
        compiler: Compiler | None = None,
    ) -> None:
        self.cpu_port = cpu_port
        self._compiler = compiler or Compiler(cache_dir)
        native = open_runtime(self._compiler.runtime())
        switch = ctypes.c_void_p(native.ss_create(abi.NONE if cpu_port is None else cpu_port, drop_port))
        if not switch:
            raise MemoryError("no memory for a switch")
        super().__init__(native, switch)
        if self._native.ss_configure(self._switch, io.encode(), busy_poll):
            self._native.ss_destroy(self._switch)
            raise ValueError(f"no packet input and output {io!r}; there is {' and '.join(IO)}")
        self._io = io
        self._trace_reader: TraceReader | None = None
        self._tracing = False
        self._events = EventReader(self._native, self._switch)

    @property
    def program(self) -> Program | None:
        """The loaded program: its tables (keys with widths and match kinds, actions, const entries, size), counters,
        registers and digests by name; None before the first `load`."""
        return self._loaded.program if self._loaded else None

    @property
    def handle(self) -> ctypes.c_void_p:
        """`struct ss_engine`, for native code that brings packet input and output of its own."""
        return self._open()

    def compile(self, bmv2_json: str, prepare: Prepare = as_it_is) -> Compiled:
        """Make a program ready to run (about a second; much less when its C was compiled before).

        Raises what `prepare` raises, UnsupportedProgram, ValueError for text that is not BMv2 JSON, CompilerMissing.
        """
        return compile_program(bmv2_json, prepare, self._compiler)

    def stop_compiling(self) -> None:
        """Let `compile` fail, in whatever thread it is."""
        self._compiler.stop()

    def load(self, bmv2_json: str) -> None:
        """Compile and run a program. Raises as `compile` does, the running program going on."""
        self.run(self.compile(bmv2_json))

    def run(self, compiled: Compiled) -> None:
        """Swap a program in between two packets.

        Afterwards all tables hold the entries and default actions that the program gives them, registers and counters
        are zero. Ports, multicast groups and clone sessions stay.
        """
        message = ctypes.create_string_buffer(_MESSAGE_ROOM)
        opened = self._native.ss_open(self._open(), str(compiled.library).encode(), message, len(message))
        if not opened:
            raise RuntimeError(f"{compiled.library}: {message.value.decode(errors='replace')}")
        program = ctypes.c_void_p(opened)
        try:
            self._fill(program, compiled)
            reader = self._attach_traced(compiled, program) if self._tracing else None
        except BaseException:
            self._native.ss_discard(program)
            raise
        self._native.ss_swap(self._open(), program)
        self._runs(compiled, reader)

    def use_clock_of(self, other: Engine) -> None:
        """Count time from the same moment as another switch, which may then `adopt` this one's program."""
        self._native.ss_use_clock(self._open(), other._open())

    def adopt(self, other: Engine, carried: carrying.Carried = carrying.NOTHING) -> None:
        """Take the program of `other`, which was not started, with all that was written into it, and swap it in between
        two packets; `other` has none afterwards. What is `carried` of the present program goes over to it in that same
        moment. Ports, multicast groups and clone sessions stay."""
        compiled = other._running()
        reader = other._attach_traced(compiled, None) if self._tracing else None
        self._native.ss_adopt(self._open(), other._open(), carried.items, carried.count, carried.renumbered)
        other._loaded = None
        self._runs(compiled, reader)

    def _runs(self, loaded: Compiled, reader: TraceReader | None) -> None:
        """The native side has swapped this program in."""
        self._loaded = loaded
        self._trace_reader = reader
        self._events.program, self._events.trace_reader = loaded.program, reader

    def _fill(self, program: ctypes.c_void_p, compiled: Compiled) -> None:
        """Default actions and entries of the program itself, before it runs."""
        if any(self._apply(b"".join(compiled.initial), len(compiled.initial), program)):
            raise MemoryError("no memory for the program's entries")
        for codec in compiled.codecs.tables.values():
            self._native.ss_keep_default(program, codec.number)

    def add_port(self, port: int, interface: str) -> None:
        """Attach a network interface (promiscuous). Raises ValueError (number taken or reserved, interface a port
        already), OSError."""
        if not 0 <= port < abi.MAX_PORTS or len(interface.encode()) >= abi.INTERFACE_BYTES:
            raise ValueError(
                f"port {port}, interface {interface!r}: a number below {abi.MAX_PORTS}, a name of at most"
                f" {abi.INTERFACE_BYTES - 1} bytes"
            )
        error = self._native.ss_port(self._open(), port, interface.encode())
        if error == errno.EEXIST:
            raise ValueError(f"port {port} is taken, the CPU port or the drop port")
        if error == errno.EADDRINUSE:
            raise ValueError(f"port {port}: interface {interface} is {self._port_of(interface)} already")
        if error:
            reason = _XDP_PROBLEMS.get(error) if self._io == "af_xdp" else None
            raise OSError(error, f"port {port}: cannot open interface {interface}: {reason or os.strerror(error)}")

    def _port_of(self, interface: str) -> str:
        """Which port an interface is, by whatever name."""
        index = socket.if_nametoindex(interface)
        for port, (name, _) in self.ports().items():
            with contextlib.suppress(OSError):
                if socket.if_nametoindex(name) == index:
                    return f"port {port}" if name == interface else f"port {port} ({name})"
        return "a port"

    def remove_port(self, port: int) -> None:
        """Detach. Raises KeyError when there is no such port."""
        if self._native.ss_port(self._open(), port, None):
            raise KeyError(port)

    def ports(self) -> dict[int, tuple[str, bool]]:
        """Number -> (interface, up)."""
        return {s.number: (s.interface.decode(), bool(s.up)) for s in self._port_states()}

    def port_losses(self) -> dict[int, tuple[int, int]]:
        """Number -> frames that could not be taken (a segmentation offload that cannot be done here), packets that the
        kernel did not send."""
        return {s.number: (s.cut, s.unsent) for s in self._port_states()}

    def _port_states(self) -> list[PortState]:
        states = (PortState * abi.MAX_ATTACHED)()
        count = self._native.ss_ports(self._open(), states, len(states))
        return states[:count]

    def record_ports(self, folder: Path) -> None:
        """Record what ports added from now on receive and send, in INTERFACE_in.pcap and INTERFACE_out.pcap of
        `folder`. Once, before `start`."""
        if self._native.ss_record_ports(self._open(), str(folder).encode()):
            raise MemoryError("no memory for a path")

    def start(self) -> None:
        """Start the packet thread. Packets that arrive before the first `load` are dropped."""
        error = self._native.ss_start(self._open())
        if error:
            raise OSError(error, f"cannot start the packet thread: {os.strerror(error)}")

    def close(self) -> None:
        """End the packet thread and free everything, once no other call is under way; later calls raise RuntimeError.

        Idempotent; also on leaving a `with` block.
        """
        if self._switch:
            switch, self._switch = self._switch, ctypes.c_void_p()
            self._loaded = None
            self._events.close()
            self._native.ss_destroy(switch)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set_multicast_group(self, group: int, replicas: Replicas) -> None:
        """Create or replace a group (1..65535); a replica is (port, instance)."""
        if not 0 < group <= MAX_MULTICAST_GROUP:
            raise ValueError(f"multicast group {group}: 1 to {MAX_MULTICAST_GROUP}")
        self._replicate(False, group, replicas, 0)

    def delete_multicast_group(self, group: int) -> None:
        """Raises KeyError when there is no such group."""
        if not 0 < group <= MAX_MULTICAST_GROUP or not self._end_replication(False, group):
            raise KeyError(group)

    def set_clone_session(self, session: int, replicas: Replicas, packet_length: int = 0) -> None:
        """Create or replace a clone session (0..32767). `packet_length` in bytes truncates the clones, 0 does not."""
        if not 0 <= session <= MAX_CLONE_SESSION:
            raise ValueError(f"clone session {session}: 0 to {MAX_CLONE_SESSION}")
        self._replicate(True, session, replicas, packet_length)

    def delete_clone_session(self, session: int) -> None:
        """Raises KeyError when there is no such session."""
        if not 0 <= session <= MAX_CLONE_SESSION or not self._end_replication(True, session):
            raise KeyError(session)

    def _replicate(self, clone: bool, identifier: int, replicas: Replicas, packet_length: int) -> None:
        array = (ReplicaStruct * max(len(replicas), 1))(*(ReplicaStruct(*replica) for replica in replicas))
        if self._native.ss_replicate(self._open(), clone, identifier, array, len(replicas), packet_length) < 0:
            raise MemoryError("no memory for a replication list")

    def _end_replication(self, clone: bool, identifier: int) -> bool:
        """Whether there was such a list."""
        return bool(self._native.ss_replicate(self._open(), clone, identifier, None, abi.NONE, 0))

    def packet_out(self, data: bytes) -> None:
        """Send `data` (packet-out header first) into the pipeline as if it came from the CPU port. Raises RuntimeError
        without CPU port or program, ValueError for a packet that is too long."""
        if self.cpu_port is None:
            raise RuntimeError("the switch has no CPU port")
        self._check_packet(data)
        self._native.ss_inject(self._open(), self.cpu_port, data, len(data), None)

    def process(self, port: int, data: bytes) -> list[tuple[int, bytes]]:
        """Run one packet to completion and return what would leave, as (port, bytes), the CPU port's included.

        Needs no interface, no root and no `start`. Digests are queued as events all the same. Raises RuntimeError
        before the first `load`, ValueError for a packet that is too long. What waits in a queue or on a link leaves
        later, with `settle`.
        """
        self._check_packet(data)
        out = ctypes.POINTER(ctypes.c_uint8)()
        length = self._native.ss_inject(self._open(), port, data, len(data), ctypes.byref(out))
        if not length:
            return []
        captured = ctypes.string_at(out, length)
        self._native.ss_release(out)
        return outputs(captured)

    def trace(self, port: int, data: bytes) -> tuple[list[tuple[int, bytes]], Trace]:
        """As `process`, with the story of the packet. The first call for a program compiles its traced variant."""
        self._check_packet(data)
        if self._trace_reader is None:
            self._trace_reader = self._attach_traced(self._running(), None)
        out, trace = ctypes.POINTER(ctypes.c_uint8)(), TraceStruct()
        length = self._native.ss_inject_traced(
            self._open(), port, data, len(data), ctypes.byref(out), ctypes.byref(trace)
        )
        captured = ctypes.string_at(out, length) if length else b""
        words = ctypes.string_at(trace.words, trace.length * abi.WORD_BITS // 8) if trace.length else b""
        self._native.ss_release(out)
        self._native.ss_release(trace.words)
        return outputs(captured), self._trace_reader.read(words)

    def trace_packets(self, on: bool) -> None:
        """Log the trace of every packet (to the logger `softswitch.trace`, as `read_events` comes upon it), or no
        longer. Takes effect between two packets; programs loaded meanwhile are traced too. Packets that come too fast
        to be told of are counted and said."""
        if on and self._loaded is not None and self._trace_reader is None:
            self._trace_reader = self._attach_traced(self._loaded, None)
            self._events.trace_reader = self._trace_reader
        self._tracing = on
        self._native.ss_trace_packets(self._open(), on)

    def _attach_traced(self, compiled: Compiled, opened: ctypes.c_void_p | None) -> TraceReader:
        generated = generate(compiled.program, traced=True)
        assert generated.subjects is not None
        library = self._compiler.program(generated.text, quick=True)
        message = ctypes.create_string_buffer(_MESSAGE_ROOM)
        if self._native.ss_attach_traced(self._open(), opened, str(library).encode(), message, len(message)):
            raise RuntimeError(f"{library}: {message.value.decode(errors='replace')}")
        return TraceReader(compiled.program, generated.subjects, compiled.formats)

    def _check_packet(self, data: bytes) -> None:
        self._running()
        if len(data) > abi.MAX_FRAME:
            raise ValueError(f"a packet of {len(data)} bytes; at most {abi.MAX_FRAME}")

    @property
    def event_fd(self) -> int:
        """Readable (poll, asyncio's add_reader) while `read_events` has something."""
        return int(self._native.ss_event_fd(self._open()))

    def read_events(self, most: int | None = None) -> list[Event]:
        """What the program and the ports have reported since the last call, in order, or the first `most` of it; never
        blocks."""
        return self._events.read(most)

    @property
    def lost_events(self) -> LostEvents:
        """What was lost since the start because nobody read in time."""
        return self._events.lost()

    def freeze_clock(self, us: int | None) -> None:
        """Make the data plane's clock stand at `us` (for tests that let time pass at will); None lets it run again."""
        self._native.ss_freeze_clock(self._open(), -1 if us is None else us)

    def seed(self, number: int) -> None:
        """Make the program's random numbers repeat: the same seed gives the same ones."""
        self._native.ss_seed(self._open(), number & (2**64 - 1))
