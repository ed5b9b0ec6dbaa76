"""What waits to be sent on one controller's stream, within bounds, and what was lost because they were reached."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from enum import Enum

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.p4runtime.errors import P4RuntimeError, stream_error
from softswitch.p4runtime.tally import Tally

LOGGER = logging.getLogger("softswitch.p4runtime")

MAX_MESSAGES, MAX_BYTES = 10_000, 64 << 20
"""Of what waits for a slow controller; what comes beyond is lost."""

MAX_BYTES_OF_ALL = 256 << 20
"""Of what waits for all of them."""


class Loss(Enum):
    """What can be lost on its way to a controller."""

    PACKET_IN = "packet-ins"
    DIGEST = "digests"
    DIGEST_LIST = "digest lists"
    IDLE = "idle timeout notifications"
    ERROR = "errors"


class Room:
    """What may wait for all controllers of a device together. For one that is not behind there always is room."""

    def __init__(self, octets: int = MAX_BYTES_OF_ALL) -> None:
        self.left = octets


class Session:
    """One open stream. Once a message was lost, all that come are, until half of the room is free again; then the
    controller is told how many they were, in a StreamError that stands where they would have stood."""

    def __init__(self, room: Room | None = None, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self.role = p4r.Role()
        self.over = asyncio.Event()
        """Nothing that is still read from it counts, and nothing more is sent."""
        self.reason: P4RuntimeError | None = None
        """Why it is over, where that is not the controller's wish."""
        self._room = room or Room()
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._more = asyncio.Event()
        self._untold: Counter[Loss] = Counter()
        self._lost = Tally("a controller reads too slowly: %d messages to it were lost so far")

    def send(self, message: p4r.StreamMessageResponse) -> None:
        """Queue a message that may not be lost. A controller that takes none of them is given up."""
        if len(self._waiting) >= 2 * self._max_messages:
            LOGGER.warning("a controller that reads nothing is given up")
            self.end(P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, "nothing is read from this stream"))
        else:
            self._put(message.SerializeToString())

    def offer(self, data: bytes, kind: Loss) -> bool:
        """Queue a serialized message that may be lost; whether it was not."""
        self._tell()
        if self._untold or not self._has_room(len(data), 1):
            self.lose(kind)
            return False
        self._put(data)
        return True

    def lose(self, kind: Loss, count: int = 1) -> None:
        """Note what did not even come here."""
        self._untold[kind] += count
        self._lost.add(count)
        self._tell()

    async def take(self) -> bytes | None:
        """The next message to send, serialized; None when the stream is to end."""
        while not self._waiting and not self.over.is_set():
            self._more.clear()
            await self._more.wait()
        if self.over.is_set():
            return None
        data = self._waiting.popleft()
        self._occupy(-len(data))
        self._tell()
        return data

    def end(self, reason: P4RuntimeError | None = None) -> None:
        """Send nothing more."""
        self.reason = self.reason or reason
        self.over.set()
        self._waiting.clear()
        self._occupy(-self._bytes)
        self._more.set()

    def _tell(self) -> None:
        """Let the controller know of losses, once it has begun to catch up."""
        if self._untold and self._has_room(0, 2):
            lost = ", ".join(f"{count} {kind.value}" for kind, count in self._untold.items())
            self._untold.clear()
            error = P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, f"lost, as they were not read in time: {lost}")
            self._put(stream_error(error, p4r.StreamError()).SerializeToString())

    def _has_room(self, octets: int, share: int) -> bool:
        """Whether a message of that size fits into the bounds divided by `share`; one alone always does."""
        if not self._waiting:
            return True
        fits = octets <= min(self._max_bytes // share - self._bytes, self._room.left)
        return fits and len(self._waiting) < self._max_messages // share

    def _put(self, data: bytes) -> None:
        if self.over.is_set():
            return
        self._waiting.append(data)
        self._occupy(len(data))
        self._more.set()

    def _occupy(self, octets: int) -> None:
        self._bytes += octets
        self._room.left -= octets
