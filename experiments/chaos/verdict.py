"""What the faults of a run cost, from its raw rows (pure): each loss is explained by a fault, or it is not.

Faults come one at a time. A request belongs to the fault during which it was under way, from the fault's beginning to a
moment after its recovery; a request that belongs to none belongs to the quiet time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from experiments.chaos.kinds import KINDS, Cost
from experiments.migration.records import FAILED, LOST, OK, Execution, Request

QUIET = "(quiet)"
"""The time without a fault, in place of a kind."""
SETTLED_NS = 400_000_000
"""A fault's requests are those until so long after its recovery: less than the shortest pause before the next."""
WORKER_LOST = 502
"""The gateway's answer to a request whose worker has ended (`greengrass_agent.gateway.dispatch`)."""
FOLLOWING_NS = 100_000_000
"""A supervisor's workers follow it within this time, and may take a request until then."""
OUTAGE_NS = 10_000_000_000
"""A node that does not serve for longer is no longer explained by the process that was killed, where it is alone."""


@dataclass(slots=True)
class Fault:
    """A fault as it happened. Times are ns of the monotonic clock."""

    number: int
    kind: str
    node: str
    target: str
    began_ns: int
    ended_ns: int = 0
    """The cause is gone."""
    recovered_ns: int | None = None
    """Everything is as it was; None if that took too long."""
    inside: int = 0
    """How many requests the processes that were killed may have had in hand."""
    outage_ns: int = OUTAGE_NS
    """For so long at most what comes to a node may be lost after what served there was killed."""
    wrong: list[str] = field(default_factory=list)
    """What did not come out as it must, beside requests."""

    @property
    def settled_ns(self) -> int:
        """The end of the time whose requests are this fault's."""
        last = self.ended_ns + int(KINDS[self.kind].recovery_s * 1e9)
        return (last if self.recovered_ns is None else self.recovered_ns) + SETTLED_NS


@dataclass(frozen=True, slots=True)
class Trouble:
    """A request that did not go well: what it was, when, and the fault that explains it, if one does."""

    request: Request
    what: str
    fault: int | None
    """The number of the fault that it belongs to."""
    explained: bool


@dataclass(slots=True)
class Row:
    """The line of the table for one kind of fault."""

    kind: str
    faults: int = 0
    requests: int = 0
    lost: int = 0
    failed: int = 0
    duplicated: int = 0
    explained: int = 0
    unexplained: int = 0
    wrong: int = 0
    recovery_ms: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float | None:
        """Median time to recover, from the end of the cause."""
        return round(median(self.recovery_ms), 1) if self.recovery_ms else None

    @property
    def longest_ms(self) -> float | None:
        """Longest time to recover."""
        return round(max(self.recovery_ms), 1) if self.recovery_ms else None


def troubles(
    requests: Sequence[Request], executions: Sequence[Execution], faults: Sequence[Fault], patience_ns: int
) -> list[Trouble]:
    """Every request that was lost, failed, or was executed or answered twice. A lost one was awaited `patience_ns`."""
    executed = Counter((one.client_id, one.request_id) for one in executions)
    refused = {(one.client_id, one.request_id): one.status for one in executions}
    spent: Counter[int] = Counter()
    found = []
    for one in requests:
        key = (one.client, one.id)
        fault = _owner(one, faults, patience_ns)
        number = None if fault is None else fault.number
        if executed[key] > 1 or one.answers > 1:
            found.append(Trouble(one, "duplicated", number, explained=False))
        if one.outcome != OK:
            explained = fault is not None and _explains(fault, one, refused.get(key), spent, patience_ns)
            found.append(Trouble(one, one.outcome, number, explained))
    return found


def _explains(fault: Fault, request: Request, status: int | None, spent: Counter[int], patience_ns: int) -> bool:
    """Whether a request that failed was inside what the fault killed. `spent` counts what each fault has explained."""
    in_hand = request.sent_ns <= fault.began_ns <= _end(request, patience_ns)
    match KINDS[fault.kind].cost:
        case Cost.NOTHING:
            return False
        case Cost.WORKER:
            # The gateway lives and has a row of it; without one the request was not with the worker.
            held = request.sent_ns - FOLLOWING_NS <= fault.began_ns <= _end(request, patience_ns)
            if not held or status != WORKER_LOST or spent[fault.number] >= fault.inside:
                return False
            spent[fault.number] += 1
            return True
        case Cost.NODE:
            back = fault.settled_ns if fault.recovered_ns is None else fault.recovered_ns
            return in_hand or fault.began_ns <= request.sent_ns <= min(back, fault.began_ns + fault.outage_ns)


def _owner(request: Request, faults: Sequence[Fault], patience_ns: int) -> Fault | None:
    """The first fault during which a request was under way. `faults` are in order of time and do not overlap."""
    position = bisect_left(faults, request.sent_ns, key=lambda fault: fault.settled_ns)
    if position < len(faults) and faults[position].began_ns <= _end(request, patience_ns):
        return faults[position]
    return None


def _end(request: Request, patience_ns: int) -> int:
    return request.sent_ns + patience_ns if request.received_ns is None else request.received_ns


def rows(requests: Sequence[Request], found: Iterable[Trouble], faults: Sequence[Fault], patience_ns: int) -> list[Row]:
    """The table: the kinds that came, in the order of `KINDS`, and the quiet time last."""
    kind_of = {fault.number: fault.kind for fault in faults}
    table = {name: Row(name) for name in (*KINDS, QUIET)}
    for fault in faults:
        row = table[fault.kind]
        row.faults += 1
        row.wrong += len(fault.wrong)
        if fault.recovered_ns is not None:
            row.recovery_ms.append((fault.recovered_ns - fault.ended_ns) / 1e6)
    for request in requests:
        owner = _owner(request, faults, patience_ns)
        table[QUIET if owner is None else owner.kind].requests += 1
    for trouble in found:
        row = table[QUIET if trouble.fault is None else kind_of[trouble.fault]]
        row.lost += trouble.what == LOST
        row.failed += trouble.what == FAILED
        row.duplicated += trouble.what == "duplicated"
        row.explained += trouble.explained
        row.unexplained += not trouble.explained
    return [row for row in table.values() if row.faults or row.kind == QUIET]


def passed(table: Iterable[Row]) -> bool:
    """Whether nothing was lost that could have been saved, and all came out as it must."""
    return not any(row.unexplained or row.wrong for row in table)


def described(fault: Fault) -> Iterator[str]:
    """What was wrong with a fault, a sentence each."""
    for text in fault.wrong:
        yield f"fault {fault.number} ({fault.kind}, {fault.target} on {fault.node}): {text}"


def document(row: Row) -> Mapping[str, object]:
    """A row as summary.json has it."""
    return {
        "kind": row.kind,
        "faults": row.faults,
        "requests": row.requests,
        "lost": row.lost,
        "failed": row.failed,
        "duplicated": row.duplicated,
        "explained": row.explained,
        "unexplained": row.unexplained,
        "wrong": row.wrong,
        "recovery_ms": {"p50": row.median_ms, "max": row.longest_ms},
    }
