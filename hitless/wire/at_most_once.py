"""At-most-once execution: a request id is executed at most once per client, however often it arrives. Sans-I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from hitless.wire.invocation import Datagram


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
    REFUSED = "refused"
    """More clients at a time than the table can hold: refuse it."""


@dataclass(slots=True)
class _Client:
    last_heard: float
    floor: int = -1
    """No id up to this one is executed any more."""
    seen: OrderedDict[int, bool] = field(default_factory=OrderedDict)
    """Admitted ids above the floor or not yet forgotten, oldest first; True when finished."""


class _Answer(NamedTuple):
    finished: float
    datagrams: tuple[Datagram, ...]
    size: int


class RequestTable:
    """Which requests have been executed, and the latest answers.

    Bounded without weakening the promise: a client's ids increase, and when more than `window` of them are remembered,
    the oldest is forgotten and every id up to it is refused from then on (the way of an anti-replay window). A client
    is forgotten only after `client_lifetime` seconds of silence.
    """

    def __init__(
        self,
        *,
        window: int = 4096,
        max_clients: int = 4096,
        client_lifetime: float = 600.0,
        answer_lifetime: float = 10.0,
        max_answer_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self._window = window
        self._max_clients = max_clients
        self._client_lifetime = client_lifetime
        self._answer_lifetime = answer_lifetime
        self._max_answer_bytes = max_answer_bytes
        self._clients: OrderedDict[int, _Client] = OrderedDict()
        self._answers: OrderedDict[tuple[int, int], _Answer] = OrderedDict()
        self._answer_bytes = 0

    def admit(self, client_id: int, request_id: int, now: float) -> Verdict:
        """Judge a request that has arrived at `now` (seconds, any clock that does not step)."""
        client = self._clients.get(client_id)
        if client is None:
            client = self._new_client(client_id, now)
            if client is None:
                return Verdict.REFUSED
        else:
            client.last_heard = now
            self._clients.move_to_end(client_id)
        finished = client.seen.get(request_id)
        if finished is None:
            if request_id <= client.floor:
                return Verdict.FORGOTTEN
            client.seen[request_id] = False
            if len(client.seen) > self._window:
                oldest, _ = client.seen.popitem(last=False)
                client.floor = max(client.floor, oldest)
            return Verdict.EXECUTE
        if not finished:
            return Verdict.RUNNING
        self._expire_answers(now)
        return Verdict.ANSWERED if (client_id, request_id) in self._answers else Verdict.FORGOTTEN

    def finish(self, client_id: int, request_id: int, datagrams: Sequence[Datagram], now: float) -> None:
        """Keep the answer to an admitted request for its duplicates."""
        client = self._clients.get(client_id)
        if client is None or client.seen.get(request_id) is not False:
            return
        client.seen[request_id] = True
        self._expire_answers(now)
        size = sum(map(len, datagrams))
        while self._answers and self._answer_bytes + size > self._max_answer_bytes:
            self._drop_oldest_answer()
        self._answers[client_id, request_id] = _Answer(now, tuple(datagrams), size)
        self._answer_bytes += size

    def answer(self, client_id: int, request_id: int) -> tuple[Datagram, ...]:
        """The kept answer, after Verdict.ANSWERED. Raises KeyError when there is none."""
        return self._answers[client_id, request_id].datagrams

    def _new_client(self, client_id: int, now: float) -> _Client | None:
        if len(self._clients) >= self._max_clients:
            silent_id, silent = next(iter(self._clients.items()))
            if now - silent.last_heard < self._client_lifetime:
                return None
            del self._clients[silent_id]
        client = self._clients[client_id] = _Client(now)
        return client

    def _expire_answers(self, now: float) -> None:
        while self._answers:
            oldest = next(iter(self._answers.values()))
            if now - oldest.finished < self._answer_lifetime:
                return
            self._drop_oldest_answer()

    def _drop_oldest_answer(self) -> None:
        _, answer = self._answers.popitem(last=False)
        self._answer_bytes -= answer.size
