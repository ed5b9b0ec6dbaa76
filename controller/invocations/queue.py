"""What becomes of an invocation that was accepted: called, called again, told to others, a dead letter. Pure.

An invocation is called until it has an end: a result, too many errors of the function, or an age at which it is given
up. Then its end is told to those who want to know, and it is settled: removed, kept for its result, or a dead letter.
Each change is a new state; whoever works for the queue writes it to disk before anything is done that depends on it,
and says `saved`. What was under way when the process died is done again: at least once.

Times are seconds since 1970, since they must mean something to the next process.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from pydantic import BaseModel, ConfigDict

_FROZEN = ConfigDict(frozen=True, extra="forbid")
Target = Literal["callback", "mqtt", "service"]
"""Who is told of an end: the caller's own address, and those that the operator wants to know of dead letters."""
Condition = Literal["Success", "RetriesExhausted", "EventAgeExceeded", "Refused"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how long. Times in seconds."""

    retries: tuple[float, ...] = (60.0, 120.0)
    """Pauses before each further execution, after an error of the function; Lambda's."""
    max_age: float = 6 * 3600.0
    """Given up at this age, whatever the reason; Lambda's."""
    first_wait: float = 1.0
    """After nobody could be reached; doubled each time, up to `last_wait`. Lambda's are these two."""
    last_wait: float = 300.0
    tell_for: float = 24 * 3600.0
    """So long others are tried to be told of an end."""
    keep_results: float = 3600.0
    on_failure: tuple[Target, ...] = ()
    max_pending: int = 10_000
    max_bytes: int = 1 << 30
    """Of all payloads that wait."""
    at_a_time: int = 64
    of_one_service: int = 16


class HttpCall(BaseModel):
    """A request over HTTP that is made for a caller who does not wait."""

    model_config = _FROZEN

    method: str
    path: str
    """With the query, as it came."""
    headers: tuple[tuple[str, str], ...]


class Invocation(BaseModel):
    """What was accepted, beside its payload. Never changes."""

    model_config = _FROZEN

    id: str
    """A UUID: the request's id in each execution, and in whatever is told of it."""
    service: str
    accepted_at: float
    size: int
    """Bytes of the payload."""
    version: str = ""
    """The only version of the function that may execute it; empty for any."""
    client_context: str = ""
    trace: str = ""
    http: HttpCall | None = None
    """None: the payload is the event itself."""
    callback: str | None = None
    """A URL that is told the end."""


class End(BaseModel):
    """What came of the calls."""

    model_config = _FROZEN

    condition: Condition
    status: int
    """An HTTP status; 0 where nobody has answered."""
    content_type: str = ""
    """Of the result."""
    reason: str = ""
    """Why it failed, in words."""
    at: float

    @property
    def succeeded(self) -> bool:
        """Whether there is a result."""
        return self.condition == "Success"


class State(BaseModel):
    """How far it is."""

    model_config = _FROZEN

    since: float
    """The age counts from here: from its acceptance, or from when the operator had it tried again."""
    not_before: float
    """Nothing is to be done earlier."""
    failures: int = 0
    """Executions that the function failed."""
    unreached: int = 0
    """Attempts in a row in which nobody answered for the function."""
    problem: str = ""
    """What the last attempt came to, in words."""
    end: End | None = None
    to_tell: tuple[Target, ...] = ()
    not_told: int = 0
    """Attempts in a row to tell that failed."""
    given_up: tuple[Target, ...] = ()
    """Who could not be told."""

    @property
    def trouble(self) -> str:
        """Why it has failed, or has not come further: in words, or empty."""
        return self.problem if self.end is None or self.end.succeeded else self.end.reason


@dataclass(frozen=True, slots=True)
class Succeeded:
    """There is a result."""

    status: int
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Failed:
    """The function did not do it: it raised, died, or took too long."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unreached:
    """Nobody answered for the function: no node, no room, or a connection that was lost."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never be done: it is too large, or no version is the wanted one."""

    status: int
    reason: str


Outcome = Succeeded | Failed | Unreached | Refused


class Place(Enum):
    """Where an invocation goes that is settled."""

    NOWHERE = "removed"
    RESULTS = "results"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Call:
    """Execute it."""

    id: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell its end."""

    id: str
    target: Target


@dataclass(frozen=True, slots=True)
class Settle:
    """It is done: put it where it belongs, then say `settled`."""

    id: str
    place: Place


Work = Call | Tell | Settle


def begin(invocation: Invocation) -> State:
    """The state of one that was just accepted."""
    return State(since=invocation.accepted_at, not_before=invocation.accepted_at)


def called(policy: Policy, invocation: Invocation, state: State, outcome: Outcome, now: float) -> State:
    """The state after a call."""
    match outcome:
        case Succeeded(status, content_type):
            end = End(condition="Success", status=status, content_type=content_type, at=now)
            return _ended(policy, invocation, state, end)
        case Refused(status, reason):
            end = End(condition="Refused", status=status, reason=reason, at=now)
            return _ended(policy, invocation, state, end)
        case Failed(status, reason):
            state = state.model_copy(update={"failures": state.failures + 1, "unreached": 0, "problem": reason})
            if state.failures > len(policy.retries):
                end = End(condition="RetriesExhausted", status=status, reason=reason, at=now)
                return _ended(policy, invocation, state, end)
            wait = policy.retries[state.failures - 1]
        case Unreached(reason):
            status = 0
            state = state.model_copy(update={"unreached": state.unreached + 1, "problem": reason})
            wait = _doubled(policy, state.unreached)
    if now + wait > state.since + policy.max_age:
        end = End(condition="EventAgeExceeded", status=status, reason=reason, at=now)
        return _ended(policy, invocation, state, end)
    return state.model_copy(update={"not_before": now + wait})


def told(policy: Policy, state: State, target: Target, problem: str | None, now: float) -> State:
    """The state after an attempt to tell; `problem` says why that has failed."""
    assert state.end is not None
    rest = tuple(one for one in state.to_tell if one != target)
    if problem is None:
        return state.model_copy(update={"to_tell": rest, "not_told": 0, "not_before": now})
    count = state.not_told + 1
    wait = _doubled(policy, count)
    problem = f"{target}: {problem}"
    if now + wait > state.end.at + policy.tell_for:
        given_up = (*state.given_up, target)
        update = {"to_tell": rest, "not_told": 0, "not_before": now, "given_up": given_up, "problem": problem}
        return state.model_copy(update=update)
    # Whoever answers is told first: one that is away must not keep the others from knowing.
    return state.model_copy(
        update={"to_tell": (*rest, target), "not_told": count, "not_before": now + wait, "problem": problem}
    )


def revived(state: State, now: float) -> State:
    """The state of a dead letter that the operator has tried again."""
    if state.end is not None and state.end.succeeded:
        end = state.end.model_copy(update={"at": now})
        return State(since=now, not_before=now, failures=state.failures, end=end, to_tell=state.given_up)
    return State(since=now, not_before=now)


def place_of(invocation: Invocation, state: State) -> Place:
    """Where one belongs that has nothing left to be done."""
    if state.end is None or not state.end.succeeded or state.given_up:
        return Place.DEAD
    return Place.NOWHERE if invocation.http is None else Place.RESULTS


def _ended(policy: Policy, invocation: Invocation, state: State, end: End) -> State:
    targets: tuple[Target, ...] = () if invocation.callback is None else ("callback",)
    if not end.succeeded:
        targets += policy.on_failure
    return state.model_copy(update={"end": end, "to_tell": targets, "not_before": end.at, "problem": end.reason})


def _doubled(policy: Policy, count: int) -> float:
    return min(policy.first_wait * 2.0 ** min(count - 1, 30), policy.last_wait)


@dataclass(slots=True)
class _Entry:
    invocation: Invocation
    state: State
    busy: str | None = None
    """The lane in which something is under way for it."""


class QueueFullError(Exception):
    """No further invocation can be taken now; the message says which bound is reached."""


class Queue:
    """All invocations that are not settled: what is to be done now, and when there is something next."""

    def __init__(self, policy: Policy, entries: Iterable[tuple[Invocation, State]], now: float) -> None:
        """`entries` are those that an earlier process left."""
        self.policy = policy
        self._entries: dict[str, _Entry] = {}
        self._coming = 0
        """Invocations that are being written to disk."""
        self._bytes = 0
        """Of all payloads, those included."""
        self._timers: list[tuple[float, str]] = []
        self._ready: dict[str, deque[str]] = {}
        """By lane, in the order in which they became due."""
        self._running: dict[str, int] = {}
        """By lane."""
        longest = max((policy.last_wait, *policy.retries))
        for invocation, state in entries:
            # A clock that was set back meanwhile must not make anything wait for ever.
            soon = state.model_copy(update={"not_before": min(state.not_before, now + longest)})
            self._bytes += invocation.size
            self._work_for(invocation, soon)

    def __len__(self) -> int:
        return len(self._entries)

    def reserve(self, size: int) -> None:
        """Make room for one that is to be written to disk; `add` or `give_back` follows. Raises QueueFullError."""
        policy, waiting = self.policy, len(self._entries) + self._coming
        if waiting >= policy.max_pending:
            raise QueueFullError(f"{waiting} invocations wait, which is as many as may (max_pending)")
        if self._bytes + size > policy.max_bytes:
            raise QueueFullError(f"{self._bytes} bytes of invocations wait, nearly as many as may (max_megabytes)")
        self._coming += 1
        self._bytes += size

    def give_back(self, size: int) -> None:
        """One for which there was room is not on disk."""
        self._coming -= 1
        self._bytes -= size

    def add(self, invocation: Invocation, state: State) -> None:
        """Work for one for which there was room, and which is on disk now."""
        self._coming -= 1
        self._work_for(invocation, state)

    def add_again(self, invocation: Invocation, state: State) -> None:
        """Work for one that the operator has tried again, however many wait."""
        self._bytes += invocation.size
        self._work_for(invocation, state)

    def get(self, number: str) -> tuple[Invocation, State] | None:
        """One by its id, if it is not settled."""
        entry = self._entries.get(number)
        return None if entry is None else (entry.invocation, entry.state)

    def due(self, now: float) -> list[Work]:
        """What to do now. Of each invocation one thing at a time, until `saved` or `settled`."""
        while self._timers and self._timers[0][0] <= now:
            number = heapq.heappop(self._timers)[1]
            entry = self._entries.get(number)
            if entry is not None and entry.busy is None:
                self._ready.setdefault(_lane(entry), deque()).append(number)
        works: list[Work] = []
        policy = self.policy
        total = sum(self._running.values())
        progress = True
        while progress and total < policy.at_a_time:
            progress = False
            for lane in list(self._ready):
                if total >= policy.at_a_time or self._running.get(lane, 0) >= policy.of_one_service:
                    continue
                # A lane that has had its turn goes behind the others.
                waiting = self._ready.pop(lane)
                number = waiting.popleft()
                if waiting:
                    self._ready[lane] = waiting
                works.append(self._begin(number, lane))
                total += 1
                progress = True
        return works

    def next_time(self) -> float | None:
        """When `due` has something that it has not now, if nothing else happens; None: never."""
        return self._timers[0][0] if self._timers else None

    def saved(self, number: str, state: State) -> None:
        """What was under way for one has come to this state, which is on disk."""
        entry = self._entries[number]
        self._leave(entry)
        entry.state = state
        heapq.heappush(self._timers, (state.not_before, number))

    def settled(self, number: str) -> None:
        """One is where it belongs."""
        entry = self._entries.pop(number)
        self._leave(entry)
        self._bytes -= entry.invocation.size

    def _work_for(self, invocation: Invocation, state: State) -> None:
        self._entries[invocation.id] = _Entry(invocation, state)
        heapq.heappush(self._timers, (state.not_before, invocation.id))

    def _begin(self, number: str, lane: str) -> Work:
        entry = self._entries[number]
        entry.busy = lane
        self._running[lane] = self._running.get(lane, 0) + 1
        state = entry.state
        if state.end is None:
            return Call(number)
        if state.to_tell:
            return Tell(number, state.to_tell[0])
        return Settle(number, place_of(entry.invocation, state))

    def _leave(self, entry: _Entry) -> None:
        if entry.busy is not None:
            self._running[entry.busy] -= 1
            if not self._running[entry.busy]:
                del self._running[entry.busy]
            entry.busy = None


def _lane(entry: _Entry) -> str:
    """What shares a bound: the calls of one service, all that is to be told, all that is to be settled."""
    if entry.state.end is None:
        return f"call {entry.invocation.service}"
    return "tell" if entry.state.to_tell else "settle"
