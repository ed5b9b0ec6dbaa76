"""The model and a target side by side: whatever one is given, the other is given too, and they must agree."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, Protocol

from softswitch.bmv2.match import Exact, Lpm
from softswitch.engine import abi
from softswitch.engine.abi import Operation
from softswitch.engine.compiled import Compiled
from softswitch.engine.engine import Engine
from softswitch.engine.events import DigestEvent

from controller.switches.entries import Act, Place
from hitless.steering.outcome import EVICTIONS, Event
from hitless.words import CPU_PORT, INSTANCES, NO_MEMBER, PacketOutOp
from hitless.words import SERVICES as ALL_SERVICES
from tests.model.switch import FLOW_PLACE_BITS, PACKET_OUT, Result, Sent, Switch
from tests.model.world import COPIES, REMOTE, SECOND

Digest = tuple[int, ...]
BY_INSTANCE = ("steered", "answered", "reported")
"""The counters whose index is an instance."""


class Counts(NamedTuple):
    """Counted packets; only what is not zero."""

    drops: dict[str, int]
    events: dict[str, int]
    instances: dict[str, dict[int, int]]
    """By counter, and by instance."""
    newcomers: dict[int, int]
    """By service ++ place."""


class Target(Protocol):
    """What runs the program."""

    shortest: int
    """Bytes of the shortest frame that it can be given."""

    def write(self, kind: Operation, place: Place, act: Act | None) -> None:
        """Change an entry."""

    def process(self, now: int, port: int, frame: bytes) -> list[Sent]:
        """What leaves when a frame comes at a time."""

    def digests(self) -> list[Digest]:
        """What was told since the last call."""

    def counters(self, names: dict[str, dict[str, int]]) -> Counts:
        """What it has counted so far."""


@cache
def compiled(pipeline: str) -> Compiled:
    """A program, once for all that run it."""
    with Engine() as engine:
        return engine.compile(pipeline)


class Softswitch:
    """The embedded target, in this process: no interfaces, no threads, and a clock that stands where it is put."""

    shortest = 0

    def __init__(self, engine: Engine, pipeline: str) -> None:
        self.engine = engine
        """Runs the program."""
        self._codecs = compiled(pipeline).codecs
        engine.run(compiled(pipeline))
        for group, ports in COPIES.items():
            engine.set_multicast_group(group, [(port, 0) for port in ports])
        engine.read_events()

    def write(self, kind: Operation, place: Place, act: Act | None) -> None:
        """Change an entry."""
        key = tuple(Lpm(*value) if isinstance(value, tuple) else Exact(value) for _, value in place.key)
        codec = self._codecs.tables[place.table]
        if act is None:
            operation = codec.entry(kind, key, 0)
        else:
            operation = codec.entry(kind, key, 0, codec.action(act.name, [value for _, value in act.params]))
        (result,) = self.engine.apply([operation])
        assert result == abi.Result.OK, f"{place} -> {act}: {abi.Result(result).name}"

    def process(self, now: int, port: int, frame: bytes) -> list[Sent]:
        """What leaves."""
        self.engine.freeze_clock(now)
        return self.engine.process(port, frame)

    def digests(self) -> list[Digest]:
        """What was told."""
        return [event.values for event in self.engine.read_events() if isinstance(event, DigestEvent)]

    def counters(self, names: dict[str, dict[str, int]]) -> Counts:
        """Counted packets."""
        drops, events = (
            {
                name: count
                for name, index in names[counter].items()
                if (count := self.engine.read_counters(counter, index, 1)[0][0])
            }
            for counter in ("drops", "events")
        )
        instances = {counter: self._cells(counter, INSTANCES) for counter in BY_INSTANCE}
        return Counts(drops, events, instances, self._cells("newcomers", ALL_SERVICES << FLOW_PLACE_BITS))

    def _cells(self, counter: str, size: int) -> dict[int, int]:
        cells = enumerate(self.engine.read_counters(counter, 0, size))
        return {index: packets for index, (packets, _) in cells if packets}


def digest(service: int, event: Event) -> Digest:
    """An event as the switch tells it."""
    return (
        service,
        event.reason,
        NO_MEMBER if event.from_member is None else event.from_member,
        NO_MEMBER if event.to_member is None else event.to_member,
        event.from_rank,
        event.to_rank,
        event.time,
        event.node_id,
        event.epoch,
        event.sequence,
    )


class _Observed:
    """Draws that come out as the target's did, as long as that was possible: instances taken out meanwhile, then the
    one that the frame left for."""

    def __init__(self, told: list[Digest], sent: list[Sent]) -> None:
        evicted = [values[2] for values in told if values[1] in EVICTIONS]
        went = [frame[5] if frame[4:5] == b"\1" and len(frame) > 5 else REMOTE for _, frame in sent]
        self._left = [*evicted, *(went or [REMOTE])]  # or else it was too big for that one's tunnel

    def __call__(self, members: int) -> int:
        assert self._left, f"drew nobody, by the contract one of {members:#x}"
        member = self._left.pop(0)
        while self._left and not members >> member & 1:
            member = self._left.pop(0)  # taken out because a flow was found on it, not because it was drawn
        assert members >> member & 1, f"drew member {member}, by the contract one of {members:#x}"
        return member


class Duel:
    """A model and a target with the same entries and the same past."""

    def __init__(self, target: Target, names: dict[str, dict[str, int]]) -> None:
        self.model = Switch()
        self.model.groups = COPIES
        self.target = target
        self.now = SECOND
        """The clock of both (µs)."""
        self.names = names
        """Indices of what is counted, by counter and name."""
        self.written: dict[Place, Act] = {}
        """Entries as they are."""

    def write(self, place: Place, act: Act | None) -> None:
        """Insert, modify or delete an entry on both; to delete what is not there is nothing."""
        if act is None and place not in self.written:
            return
        kind = Operation.MODIFY if place in self.written else Operation.INSERT
        if act is None:
            kind = Operation.DELETE
            del self.written[place]
        else:
            self.written[place] = act
        self.model.write(place, act)
        self.target.write(kind, place, act)

    def send(self, port: int, frame: bytes) -> Result:
        """A frame comes to both: the same must leave, and the same be told."""
        sent = self.target.process(self.now, port, frame)
        told = self.target.digests()
        self.model.draw = _Observed(told, sent)
        result = self.model.process(self.now, port, frame)
        wanted = [digest(service, event) for service, event in result.events]
        assert told == wanted, f"told {told}, by the contract {wanted}; frame {frame.hex()} at port {port}"
        assert sorted(sent) == sorted(result.sent), (
            f"left {_shown(sent)}, by the contract {_shown(result.sent)}; frame {frame.hex()} at port {port}"
        )
        return result

    def probe(self, service: int, member: int) -> None:
        """Both believe the same of an instance."""
        asked = {"op": PacketOutOp.PROBE, "port": 0, "service": service, "member": member}
        self.send(CPU_PORT, PACKET_OUT.pack(asked))

    def check_counters(self) -> None:
        """Both have counted the same."""
        model = self.model
        by_instance = {"steered": model.steered, "answered": model.answered, "reported": model.reported}
        instances = {counter: dict(by_instance[counter]) for counter in BY_INSTANCE}
        wanted = Counts(dict(model.drops), dict(model.events), instances, dict(model.newcomers))
        told = self.target.counters(self.names)
        for what, one, other in zip(Counts._fields, told, wanted, strict=True):
            assert one == other, f"{what}: counted {one}, by the contract {other}"


def _shown(sent: list[Sent]) -> list[tuple[int, str]]:
    return [(port, frame.hex()) for port, frame in sent]
