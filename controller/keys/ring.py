"""The keys that reports are authenticated with: made here, rotated without a gap. Pure but for the random bytes.

Each binding (a service on a node) has a key of its own. A rotation goes through three states, and each report that the
node sends on the way verifies:

    made       the next key is on disk; the switches are being told
    offered    every switch that hears the node knows both keys; the node is told the next one
    confirmed  the node tags with the next key; what it sent before arrives, then the switches forget the old one

A restart of the controller goes back to `made`, which is right from any of them.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from controller.fabric.schema import Fabric
from hitless.wire.report import KEY_SIZE, Key

Binding = tuple[str, str]
"""(service, node)."""

KEY_IDS = 255
LINGER_S = 1.0
"""How long a report tagged with the old key may be on its way after the node has confirmed the new one."""


class Rotation(Enum):
    """How far the next key of a binding has come."""

    MADE = "made"
    OFFERED = "offered"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class BindingKeys:
    """The keys that a switch accepts of a binding."""

    current: Key
    next: Key | None = None


@dataclass(frozen=True, slots=True)
class _State:
    keys: BindingKeys
    rotation: Rotation = Rotation.MADE
    """Of the next key; without meaning when there is none."""
    since: float = 0.0
    """Monotonic time in seconds of the confirmation."""


def random_secret() -> bytes:
    """A new secret, of the operating system's randomness."""
    return secrets.token_bytes(KEY_SIZE)


@dataclass(slots=True)
class KeyRing:
    """The keys of a fabric's bindings."""

    make: Callable[[], bytes] = random_secret
    _states: dict[Binding, _State] = field(default_factory=dict)

    @classmethod
    def of(
        cls, fabric: Fabric, known: Mapping[Binding, BindingKeys], make: Callable[[], bytes] = random_secret
    ) -> "KeyRing":
        """The known keys of a fabric's bindings, and new ones for bindings without. Without authentication: none."""
        ring = cls(make)
        if fabric.reports.authentication != "off":
            for service, spec in fabric.services.items():
                for node in spec.instances:
                    keys = known.get((service, node)) or BindingKeys(Key(make()[0] % KEY_IDS + 1, make()))
                    ring._states[service, node] = _State(keys)
        return ring

    @property
    def on_switches(self) -> dict[Binding, BindingKeys]:
        """What the switches should accept, and what must be on disk."""
        return {binding: state.keys for binding, state in self._states.items()}

    @property
    def at_nodes(self) -> dict[Binding, Key]:
        """What the nodes should tag with."""
        return {
            binding: state.keys.next
            if state.keys.next is not None and state.rotation is not Rotation.MADE
            else state.keys.current
            for binding, state in self._states.items()
        }

    @property
    def rotating(self) -> dict[Binding, Rotation]:
        """The rotations under way."""
        return {binding: state.rotation for binding, state in self._states.items() if state.keys.next is not None}

    def rotate(self, bindings: Iterable[Binding]) -> list[Binding]:
        """Make the next keys; returns the bindings that had none yet. A rotation under way goes on as it is."""
        begun = []
        for binding in bindings:
            state = self._states.get(binding)
            if state is not None and state.keys.next is None:
                key = Key(state.keys.current.id % KEY_IDS + 1, self.make())
                self._states[binding] = _State(replace(state.keys, next=key))
                begun.append(binding)
        return begun

    def restore(self, keys: Mapping[Binding, BindingKeys]) -> None:
        """Take back rotations: go on with these keys where others stand."""
        for binding, known in keys.items():
            if self._states[binding].keys != known:
                self._states[binding] = _State(known)

    def written(self, keys: Mapping[Binding, BindingKeys]) -> bool:
        """Every switch has these keys; whether there is something new to tell nodes."""
        offered = [
            binding
            for binding, state in self._states.items()
            if state.keys.next is not None and state.rotation is Rotation.MADE and keys.get(binding) == state.keys
        ]
        for binding in offered:
            self._states[binding] = replace(self._states[binding], rotation=Rotation.OFFERED)
        return bool(offered)

    def confirmed(self, binding: Binding, key_id: int | None, now: float) -> bool:
        """A node says which key it tags with; whether that is news."""
        state = self._states.get(binding)
        if state is None or state.keys.next is None or state.rotation is not Rotation.OFFERED:
            return False
        if key_id != state.keys.next.id:
            return False
        self._states[binding] = replace(state, rotation=Rotation.CONFIRMED, since=now)
        return True

    def settle(self, now: float) -> list[Binding]:
        """Forget the old keys that nothing on its way can be tagged with any more; returns their bindings."""
        settled = [binding for binding, due in self._due().items() if due <= now]
        for binding in settled:
            key = self._states[binding].keys.next
            assert key is not None
            self._states[binding] = _State(BindingKeys(key))
        return settled

    def next_due(self) -> float | None:
        """When `settle` has something to do next."""
        return min(self._due().values(), default=None)

    def _due(self) -> dict[Binding, float]:
        return {
            binding: state.since + LINGER_S
            for binding, state in self._states.items()
            if state.keys.next is not None and state.rotation is Rotation.CONFIRMED
        }
