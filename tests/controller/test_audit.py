"""What polls of the switches show of an instance becomes findings, doubts and their end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from controller.fabric.file import load
from controller.observe.findings import Finding
from controller.steering.audit import Audit
from controller.steering.doubts import FIRST_S
from controller.switches.view import Count, MemberState, SwitchCounters, SwitchState
from hitless.wire.report import Report
from hitless.words import MemberStatus

FABRIC = load(Path(__file__).with_name("fabric.yaml"))
HONEST, LIAR = ("detect", "edge1"), ("detect", "edge2")
ROOM = dict.fromkeys(FABRIC.services, 258)
REPORTS = 20


def member(node: str, polls: int, sent: int, received: int) -> MemberState:
    """An instance of `detect` that says it is idle."""
    return MemberState(
        service="detect",
        node=node,
        member=0,
        status=MemberStatus.READY,
        eligible=True,
        rank=65000,
        age_us=1000,
        epoch=1,
        sequence=polls * REPORTS,
        sent=sent,
        own=0,
        received=received,
        held=0,
        host=None,
        best=None,
        best_rank=0,
        now_us=0,
        report=Report(service_id=2, node_id=2, epoch=1, sequence=1, ready=True),
        evidence=0,
        lasted_us=0,
    )


def polled(switch: SwitchState, other: SwitchState | None, polls: int) -> dict[str, SwitchState]:
    """What polls show so far: both instances got 50 requests a second, half of them by another switch; one answers."""
    work = 50 * polls
    switch.connected, switch.polled_at = True, float(polls)
    for service, node in (HONEST, LIAR):
        switch.behind[service, node] = switch.members[service, node] = member(node, polls, work // 2, work)
        if other is not None:
            other.members[service, node] = member(node, polls, work // 2, work)
    steered = {HONEST: Count(work // 2, 60 * work), LIAR: Count(work // 2, 60 * work)}
    if other is not None:
        other.counters = SwitchCounters(steered)
    switch.counters = SwitchCounters(
        steered, answered={HONEST: Count(work, 60 * work)}, reported={HONEST: polls * REPORTS, LIAR: polls * REPORTS}
    )
    return {"s1": switch} | ({} if other is None else {"s2": other})


def until_found(audit: Audit, look: Callable[[int], dict[str, SwitchState]]) -> int:
    """The poll after which the liar is found."""
    for polls in range(1, 20):
        verdicts = audit.look(float(polls), look(polls))
        if verdicts:
            (verdict,) = verdicts
            assert (verdict.service, verdict.node) == LIAR
            assert verdict.doubt is not None
            assert verdict.doubt.evidence.finding is Finding.CONTRADICTED
            assert verdict.doubt.evidence.answered == 0
            assert verdict.doubt.evidence.sent == verdict.doubt.evidence.received, "what every switch sent counts"
            return polls
    raise AssertionError("it was not found")


def test_who_answers_nothing_is_doubted_for_a_while_and_who_answers_is_not() -> None:
    audit = Audit(FABRIC, ROOM)
    switch, other = SwitchState("s1", "one"), SwitchState("s2", "two")
    found = until_found(audit, lambda polls: polled(switch, other, polls))
    assert found <= 5
    assert set(audit.doubts) == {LIAR}
    assert audit.look(found + FIRST_S - 0.1, polled(switch, other, found)) == []
    (verdict,) = audit.look(found + FIRST_S, polled(switch, other, found))
    assert (verdict.service, verdict.node, verdict.doubt) == (*LIAR, None)
    assert audit.doubts == {}


def test_a_poll_is_looked_at_once_and_one_of_a_switch_that_is_away_never() -> None:
    audit, switch = Audit(FABRIC, ROOM), SwitchState("s1", "one")
    for now in range(1, 20):
        assert audit.look(float(now), polled(switch, None, 3)) == []
    away = Audit(FABRIC, ROOM)
    for polls in range(1, 20):
        states = polled(switch, None, polls)
        switch.connected = False
        assert away.look(float(polls), states) == []
