"""At-most-once execution: a request id is executed at most once per client, however often it arrives. Sans-I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from hitless.wire.fair import FairStore, Kept
from hitless.wire.invocation import HEADER_SIZE, Datagram

REPEAT_AFTER = 0.05
"""Seconds from one sending of a large answer to the next one of the same, at least: what a request and its answer take
on a slow path. Whoever asks more often asks for what is on its way."""
REPEAT_RATE = 1600
"""Datagrams a second that repeating one answer may take: a fifth of what leaves at the pacer's rate."""
_CLIENT_BYTES = 512
"""What a client takes beside its place in the store: key, numbers, set of what is being executed."""
_FEW = 4
_RUNNING_BYTES = 160
"""What each request under way beyond the first few takes."""
_BLOCK_BYTES = 256
"""What the mark of up to 64 ids takes, while their table grows."""
_ANSWER_BYTES = 512
_DATAGRAM_BYTES = 224
"""What each datagram of an answer takes beside its bytes, at most."""
_BLOCK_BITS = 6


class Verdict(Enum):
    """What to do with a request that has arrived."""

    EXECUTE = "execute"
    """It is new: execute it, then call `finish`."""
    RUNNING = "running"
    """It is being executed: acknowledge it; its answer will come."""
    ANSWERED = "answered"
    """It was executed and `answer` has the answer: send that again."""
    FORGOTTEN = "forgotten"
    """It was executed, or may have been, and its answer is gone: refuse it."""


@dataclass(slots=True, eq=False)
class _Client:
    floor: int = -1
    """No id up to this one is executed any more."""
    highest: int = -1
    """The largest id admitted."""
    running: set[int] = field(default_factory=set)
    marks: Kept[_Marks] | None = None


@dataclass(slots=True, eq=False)
class _Marks:
    """The admitted ids of a client above its floor."""

    client: _Client
    count: int = 0
    blocks: OrderedDict[int, int] = field(default_factory=OrderedDict)
    """By id // 64 a bit for each of 64 ids, in the order in which they were met."""


@dataclass(slots=True, eq=False)
class _Answer:
    finished: float
    sent: float
    datagrams: tuple[Datagram, ...]


class RequestTable:
    """Which requests have been executed, and the latest answers. A client is an address (IPv4) and a client id.

    A client's ids increase. When more than `window` of them are remembered, some of the oldest are forgotten, and
    every id up to them is refused from then on (the way of an anti-replay window). All that is remembered is bounded by
    bytes; what gives way is of the address that holds most (FairStore):

    - Of ids, the longest idle client's are forgotten, and all up to its largest are refused from then on. An answer
      that gives way is not repeated any more. Neither lets a request be executed twice.
    - A client that gives way is forgotten: a request of its that comes again after that is executed again, unless its
      answer is still kept. It can happen only when there are some ten thousand clients, and only to the one that was
      idle longest among those of the address that has most clients (where none has a 256th of the room, among all), and
      has no request under way, unless all of them have.
    """

    def __init__(
        self,
        *,
        window: int = 4096,
        max_client_bytes: int = 16 * 1024 * 1024,
        max_mark_bytes: int = 16 * 1024 * 1024,
        answer_lifetime: float = 10.0,
        max_answer_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self._window = window
        self._answer_lifetime = answer_lifetime
        self._clients: FairStore[_Client] = FairStore(max_client_bytes)
        self._marks: FairStore[_Marks] = FairStore(max_mark_bytes)
        self._answers: FairStore[_Answer] = FairStore(max_answer_bytes)

    @property
    def size(self) -> int:
        """Bytes that all takes."""
        return self._clients.size + self._marks.size + self._answers.size

    def admit(self, address: str, client_id: int, request_id: int, now: float) -> Verdict:
        """Judge a request that has arrived from `address` at `now` (seconds, any clock that does not step)."""
        key = (address, client_id)
        kept = self._clients.get(key)
        if kept is not None:
            self._clients.touch(kept)
            if request_id in kept.value.running:
                return Verdict.RUNNING
        if kept is None or request_id <= kept.value.highest:
            self._expire_answers(now)
            if self._answers.get((address, client_id, request_id)) is not None:
                return Verdict.ANSWERED
        if kept is None:
            kept = self._clients.add(address, key, _Client(), _CLIENT_BYTES)
        client = kept.value
        if request_id <= client.floor or not self._mark(client, key, request_id):
            return Verdict.FORGOTTEN
        if len(client.running) >= _FEW:
            self._clients.grow(kept, _RUNNING_BYTES)
        client.running.add(request_id)
        self._clients.hold(kept)
        while (gone := self._clients.give_way()) is not None:
            if gone.value.marks is not None:
                self._marks.remove(gone.value.marks)
                gone.value.marks = None
        return Verdict.EXECUTE

    def finish(self, address: str, client_id: int, request_id: int, datagrams: Sequence[Datagram], now: float) -> None:
        """Keep the answer to an admitted request, which is sent at `now`, for its duplicates."""
        kept = self._clients.get((address, client_id))
        if kept is None or request_id not in kept.value.running:
            return
        running = kept.value.running
        running.remove(request_id)
        if len(running) >= _FEW:
            self._clients.grow(kept, -_RUNNING_BYTES)
        elif not running:
            self._clients.release(kept)
        self._expire_answers(now)
        size = _ANSWER_BYTES + len(datagrams) * _DATAGRAM_BYTES + sum(map(len, datagrams))
        answer = _Answer(now, now, tuple(datagrams))
        answers = self._answers
        answers.add(address, (address, client_id, request_id), answer, size)
        while answers.size > answers.limit:
            answers.give_way()

    def answer(
        self, address: str, client_id: int, request_id: int, asked: int, now: float
    ) -> tuple[Datagram, ...] | None:
        """What to send at `now`, after Verdict.ANSWERED, to a repeated request whose payload had `asked` bytes.

        None when the answer is larger than a datagram and than the request, and was sent less than REPEAT_AFTER ago, or
        than REPEAT_RATE lets it: little that is sent to a node must not draw much from it. Raises KeyError when there
        is no answer.
        """
        kept = self._answers.get((address, client_id, request_id))
        if kept is None:
            raise KeyError(f"no answer to request {request_id} of client {client_id} at {address}")
        answer = kept.value
        size = sum(map(len, answer.datagrams)) - len(answer.datagrams) * HEADER_SIZE
        pause = max(REPEAT_AFTER, len(answer.datagrams) / REPEAT_RATE)
        if len(answer.datagrams) > 1 and size > asked and now < answer.sent + pause:
            return None
        answer.sent = now
        return answer.datagrams

    def _mark(self, client: _Client, key: tuple[str, int], request_id: int) -> bool:
        """Remember an id above the floor; whether it was new."""
        kept = client.marks
        if kept is None:
            kept = client.marks = self._marks.add(key[0], key, _Marks(client), _CLIENT_BYTES)
        marks, blocks = kept.value, kept.value.blocks
        block, bit = request_id >> _BLOCK_BITS, 1 << (request_id & (1 << _BLOCK_BITS) - 1)
        marked = blocks.get(block, 0)
        if marked & bit:
            return False
        blocks[block] = marked | bit
        client.highest = max(client.highest, request_id)
        marks.count += 1
        while marks.count > self._window and len(blocks) > 1:
            oldest, forgotten = blocks.popitem(last=False)
            client.floor = max(client.floor, ((oldest + 1) << _BLOCK_BITS) - 1)
            marks.count -= forgotten.bit_count()
            self._marks.grow(kept, -_BLOCK_BYTES)
        if not marked:
            self._marks.grow(kept, _BLOCK_BYTES)
            self._marks.touch(kept)
            while (gone := self._marks.give_way()) is not None:
                owner = gone.value.client
                owner.floor, owner.marks = owner.highest, None
        return True

    def _expire_answers(self, now: float) -> None:
        while (oldest := self._answers.oldest()) is not None and now >= oldest.value.finished + self._answer_lifetime:
            self._answers.remove(oldest)
