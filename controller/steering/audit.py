"""The claims of all instances of a fabric, judged by what its switches see: the state of polls in, doubts out. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.fabric.schema import Fabric
from controller.steering.claims import Claims, Seen
from controller.steering.doubts import Doubt, Doubts, Key
from controller.switches.view import SwitchState
from hitless.steering.arithmetic import U32
from hitless.words import MemberStatus


@dataclass(frozen=True, slots=True)
class Verdict:
    """An instance is doubted from now on, or no longer."""

    service: str
    node: str
    doubt: Doubt | None
    """None: it is relied on again."""


class Audit:
    """Looks at each instance whenever the switch of its node was polled."""

    def __init__(self, fabric: Fabric, room: Mapping[str, int]) -> None:
        """`room`: by service, the most requests that an instance can hold."""
        self._fabric = fabric
        self._room = room
        self._claims: dict[Key, Claims] = {}
        self._looked_at: dict[str, float] = {}
        """By switch: the poll that was looked at last."""
        self._doubts = Doubts()

    @property
    def doubts(self) -> Mapping[Key, Doubt]:
        """The instances, by (service, node), whose word is not relied on now."""
        return self._doubts.current

    def look(self, now: float, switches: Mapping[str, SwitchState]) -> list[Verdict]:
        """Judge by the switches' last polls. `now` and their times are of one clock, in seconds."""
        verdicts = []
        for service, node in self._doubts.over(now):
            # It begins anew: what was found before has had its doubt.
            self._claims.pop((service, node), None)
            verdicts.append(Verdict(service, node, None))
        for service, node, state in self._polled(switches):
            key = (service, node)
            seen = _seen(key, state, [other for other in switches.values() if key in other.members])
            claims = self._claims.setdefault(key, Claims(self._room[service]))
            evidence = claims.look(seen)
            if evidence is not None and (doubt := self._doubts.found(now, key, evidence)) is not None:
                verdicts.append(Verdict(service, node, doubt))
        return verdicts

    def _polled(self, switches: Mapping[str, SwitchState]) -> Iterator[tuple[str, str, SwitchState]]:
        for name, state in switches.items():
            if state.connected and state.polled_at > self._looked_at.get(name, 0.0):
                self._looked_at[name] = state.polled_at
                for service, node in state.behind:
                    yield service, node, state


def _seen(key: Key, state: SwitchState, steering: Sequence[SwitchState]) -> Seen:
    member, counters = state.behind[key], state.counters
    answered = counters.answered.get(key)
    return Seen(
        at=state.polled_at,
        ready=member.status is MemberStatus.READY,
        epoch=member.epoch,
        sequence=member.sequence,
        received=member.received,
        held=member.held,
        sent=sum(one.members[key].sent for one in steering) & U32,
        steered=sum(one.counters.steered[key].packets for one in steering if key in one.counters.steered),
        own=sum(one.members[key].own for one in steering) & U32,
        answered=answered.packets if answered is not None else 0,
        reported=counters.reported.get(key, 0),
    )
