"""What became of a load's requests, and where new work went, from raw rows alone. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from experiments.migration.records import OK, Decision, Execution, Request

SECOND = 1_000_000_000
# A straggler of the old node is not a migration back: this many of the next requests must agree.
AGREE, OF_NEXT = 3, 5
NOISY_LATE_MS = 5.0
"""A generator as late as this at its 99th percentile tells of itself."""


@dataclass(frozen=True)
class Served:
    """One piece of new work: when it was sent (for work within the fabric: arrived), when answered, and by whom."""

    time_ns: int
    node: str
    answered_ns: int | None


@dataclass(frozen=True)
class Move:
    """New work of a service going elsewhere: the first piece that the new node served, and the last on the old one."""

    service: str
    origin: str
    to: str
    first_ns: int
    last_on_old_ns: int
    longest_gap_ns: int | None


def serving_nodes(requests: Iterable[Request], executions: Iterable[Execution]) -> list[Request]:
    """The requests with the node that served each, joined by (client, id) where the answer itself did not say."""
    node = {(one.client_id, one.request_id): one.node for one in executions}
    return [
        one
        if one.node is not None
        else Request(
            one.id,
            one.client,
            one.service,
            one.intended_ns,
            one.sent_ns,
            one.received_ns,
            node.get((one.client, one.id)),
            one.outcome,
            one.answers,
        )
        for one in requests
    ]


def new_work(requests: Iterable[Request], executions: Iterable[Execution]) -> dict[str, list[Served]]:
    """The work of each service in order of time: the load's requests; executions where only functions call it."""
    work: dict[str, list[Served]] = {}
    for request in requests:
        if request.node is not None:
            work.setdefault(request.service, []).append(Served(request.sent_ns, request.node, request.received_ns))
    called_from_outside = set(work)
    for one in executions:
        if one.service not in called_from_outside:
            work.setdefault(one.service, []).append(Served(one.received_ns, one.node, None))
    for served in work.values():
        served.sort(key=lambda one: one.time_ns)
    return work


def moves(service: str, work: Sequence[Served]) -> list[Move]:
    """Each change of the node that serves new work, in order of time."""
    if not work:
        return []
    changes = [0]
    for position, one in enumerate(work):
        following = work[position : position + OF_NEXT]
        agreeing = sum(other.node == one.node for other in following)
        if one.node != work[changes[-1]].node and agreeing >= min(AGREE, len(following)):
            changes.append(position)
    found = []
    for before, change, after in zip(changes, changes[1:], [*changes[2:], len(work)], strict=False):
        origin, first = work[before].node, work[change]
        last = max(one.time_ns for one in work[before:after] if one.node == origin)
        found.append(Move(service, origin, first.node, first.time_ns, last, longest_gap(work, first.time_ns)))
    return found


def longest_gap(work: Sequence[Served], around_ns: int) -> int | None:
    """The longest time without an answer within a second before and after; None if answers are not known."""
    answered = sorted(one.answered_ns for one in work if one.answered_ns is not None)
    low, high = bisect_left(answered, around_ns - SECOND), bisect_left(answered, around_ns + SECOND)
    near = answered[low:high]
    return max((b - a for a, b in pairwise(near)), default=None)


def decision_of(move: Move, decisions: Iterable[Decision]) -> Decision | None:
    """The decision that told of a move: the nearest in time to the same node, at most 5 s away."""
    near = [
        one
        for one in decisions
        if one.service == move.service and one.to == move.to and abs(one.time_ns - move.first_ns) < 5 * SECOND
    ]
    return min(near, key=lambda one: abs(one.time_ns - move.first_ns), default=None)


def describe_move(
    move: Move,
    work: Sequence[Served],
    trigger_ns: int | None,
    decisions: Iterable[Decision],
    emissions: Mapping[tuple[str, str], Mapping[tuple[int, int], int]],
) -> dict[str, object]:
    """A move and its times in ms; null where a time is not known (no trigger before it, no digest heard)."""
    decision = decision_of(move, decisions)
    emitted = None
    if decision is not None and decision.node is not None:
        emitted = emissions.get((decision.node, move.service), {}).get((decision.epoch, decision.sequence))
    after_report = None
    if emitted is not None:
        after_report = sum(
            emitted < one.time_ns and one.node == move.origin for one in work if one.time_ns <= move.last_on_old_ns
        )
    triggered = trigger_ns if trigger_ns is not None and trigger_ns <= move.first_ns else None
    return {
        "service": move.service,
        "from": move.origin,
        "to": move.to,
        "reason": decision.reason if decision else None,
        "report_to_first_steered_ms": milliseconds(emitted, move.first_ns),
        "trigger_to_first_steered_ms": milliseconds(triggered, move.first_ns),
        "trigger_to_last_on_old_ms": milliseconds(triggered, move.last_on_old_ns),
        "longest_gap_ms": None if move.longest_gap_ns is None else round(move.longest_gap_ns / 1e6, 3),
        "requests_after_report_on_old_node": after_report,
    }


def milliseconds(since_ns: int | None, until_ns: int) -> float | None:
    """A span in ms; None if its start is not known."""
    return None if since_ns is None else round((until_ns - since_ns) / 1e6, 3)


def duplicated(requests: Iterable[Request], executions: Iterable[Execution]) -> int:
    """Requests that were executed or answered more than once."""
    executed = Counter((one.client_id, one.request_id) for one in executions)
    twice = {identity for identity, count in executed.items() if count > 1}
    twice |= {(one.client, one.id) for one in requests if one.answers > 1}
    return len(twice)


def rows_missing(
    requests: Iterable[Request],
    executions: Iterable[Execution],
    emissions: Mapping[tuple[str, str], Iterable[tuple[int, int]]],
) -> dict[str, int]:
    """How many rows of evidence the nodes must have dropped, as told by those that are there.

    Of executions: requests that were answered and that no row knows of (a function's own calls cannot be told). Of
    reports: gaps in the sequence numbers of an instance's epoch.
    """
    noted = {(one.client_id, one.request_id) for one in executions}
    gaps = 0
    for reports in emissions.values():
        sequences: dict[int, list[int]] = {}
        for epoch, sequence in reports:
            sequences.setdefault(epoch, []).append(sequence)
        gaps += sum(max(one) - min(one) + 1 - len(one) for one in sequences.values())
    answered = (one for one in requests if one.outcome == OK)
    return {"executions": sum((one.client, one.id) not in noted for one in answered), "reports": gaps}


def late_p99_ms(requests: Sequence[Request]) -> float:
    """How late the generator was at its 99th percentile, in ms."""
    late = sorted(one.sent_ns - one.intended_ns for one in requests)
    return round(late[min(len(late) - 1, int(len(late) * 0.99))] / 1e6, 3)


def count(requests: Iterable[Request], outcome: str) -> int:
    """How many requests ended so."""
    return sum(one.outcome == outcome for one in requests)
