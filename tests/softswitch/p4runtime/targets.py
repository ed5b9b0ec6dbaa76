"""Each target that serves P4Runtime, with a way to put packets into it."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import grpc
from finsy.proto import p4r

from tests.softswitch.native.bmv2 import Packet, PacketStream, running
from tests.softswitch.p4runtime.client import BatchError, Client, Names, Stream

Outputs = list[tuple[int, bytes]]
PATIENCE_S = 60.0
WINDOW = 32
"""Packets under way in BMv2 at once: its egress queues hold 64, and lose what is more."""


@dataclass
class Target:
    """A switch on which a client is primary. `exchange` tells what each packet of port 1 made leave."""

    name: str
    client: Client
    stream: Stream
    exchange: Callable[[Sequence[bytes]], list[Outputs]]

    def push(self, program: str) -> Names:
        """Install a program of the folder `programs`: all state and what the stream still holds are gone."""
        names = Names.of(program)
        self.client.push(names.config())
        with contextlib.suppress(queue.Empty):
            while True:
                self.stream.receive(timeout=0)
        return names

    def send(self, packet: bytes) -> Outputs:
        """What one packet makes leave."""
        return self.exchange([packet])[0]

    def refusal(self, update: p4r.Update) -> int:
        """The canonical code with which an update is refused; 0 when it is not."""
        try:
            self.client.write(update)
        except BatchError as error:
            (code,) = error.codes
            return int(code)
        return 0


class _Plane:
    """Packets in and out of a BMv2 that has a program."""

    def __init__(self, channel: grpc.Channel, device: int) -> None:
        self._channel = channel
        self._device = device
        self._outputs: dict[int, Outputs] = {}
        self._answered = threading.Condition()
        self._last = 0
        self._stream: PacketStream | None = None

    def _take(self, packet: Packet) -> None:
        with self._answered:
            self._outputs.setdefault(packet.id, []).append((packet.port, packet.data))
            self._answered.notify()

    def exchange(self, packets: Sequence[bytes]) -> list[Outputs]:
        """Waits for an answer to each: not for packets that are dropped."""
        if self._stream is None:
            self._stream = PacketStream(self._channel, self._take)
        numbers = range(self._last + 1, self._last + 1 + len(packets))
        self._last += len(packets)
        with self._answered:
            for first in range(0, len(packets), WINDOW):
                window = numbers[first : first + WINDOW]
                for number, data in zip(window, packets[first : first + WINDOW], strict=True):
                    self._stream.send(Packet(number, self._device, 1, data))
                assert self._answered.wait_for(partial(self._all_answered, window), PATIENCE_S)
            return [sorted(self._outputs[number]) for number in numbers]

    def _all_answered(self, numbers: range) -> bool:
        return all(number in self._outputs for number in numbers)

    def close(self) -> None:
        """End the stream."""
        if self._stream is not None:
            self._stream.close()


@contextmanager
def bmv2() -> Iterator[Target]:
    """A BMv2 of its own."""
    with (
        running() as (_, control, plane, device),
        Client(control, device_id=device) as client,
        grpc.insecure_channel(plane) as channel,
    ):
        grpc.channel_ready_future(channel).result(timeout=PATIENCE_S)
        stream, packets = client.primary(), _Plane(channel, device)
        try:
            yield Target("bmv2", client, stream, packets.exchange)
        finally:
            packets.close()
            stream.close()
