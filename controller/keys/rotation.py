"""Keys kept in step: on disk first, then on the switches, then at the nodes. The shell around `keys`."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from controller.keys.ring import Binding, BindingKeys, KeyRing, Rotation
from controller.state import KeyFile
from controller.steering.interface import SteeringError

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Between two attempts to tell a switch that is away."""


class KeyKeeper:
    """The keys of a fabric, and the rotations under way."""

    def __init__(
        self,
        ring: KeyRing,
        file: KeyFile,
        write: Callable[[Mapping[Binding, BindingKeys]], Awaitable[None]],
        tell_nodes: Callable[[], None],
    ) -> None:
        """`write` puts keys on every switch, or raises SteeringError. Raises StateError: keys must be on disk."""
        self.ring = ring
        self._file = file
        self._write = write
        self._tell_nodes = tell_nodes
        self._wake = asyncio.Event()
        self._file.save(ring.on_switches)

    def rotate(self, bindings: Iterable[Binding]) -> list[Binding]:
        """Begin rotations; returns those that were not under way. Raises StateError, and then none has begun."""
        before = dict(self.ring.on_switches)
        begun = self.ring.rotate(bindings)
        try:
            self._file.save(self.ring.on_switches)
        except Exception:
            self.ring.restore(before)
            raise
        self._wake.set()
        return begun

    def confirmed(self, service: str, node: str, key_id: int | None) -> None:
        """A node says which key it tags the reports of a service with."""
        if self.ring.confirmed((service, node), key_id, time.monotonic()):
            self._wake.set()

    async def run(self) -> None:
        """Carry rotations out until cancelled."""
        while True:
            self._wake.clear()
            await self._step()
            pending = Rotation.MADE in self.ring.rotating.values()
            due = self.ring.next_due()
            waits = [RETRY_S] * pending + [max(0.0, at - time.monotonic()) for at in [due] if at is not None]
            try:
                async with asyncio.timeout(min(waits, default=None)):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _step(self) -> None:
        settled = self.ring.settle(time.monotonic())
        if settled:
            self._file.save(self.ring.on_switches)
            log.info("new keys in force: %s", ", ".join(f"{service} on {node}" for service, node in settled))
        if not settled and Rotation.MADE not in self.ring.rotating.values():
            return
        keys = self.ring.on_switches
        try:
            await self._write(keys)
        except SteeringError as error:
            log.info("keys: %s", error)
        else:
            if self.ring.written(keys):
                self._tell_nodes()
