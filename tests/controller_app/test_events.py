"""Events: numbered, bounded, followed without a gap, told in words, and read back as what they were."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from controller.observe.events import (
    ClaimEvent,
    CommandEvent,
    ComponentEvent,
    DeploymentEvent,
    DigestEvent,
    EndpointEvent,
    Event,
    EventError,
    PinEvent,
    PresenceEvent,
    ShareEvent,
    SwitchEvent,
    decode,
)
from controller.observe.findings import Finding
from controller.observe.log import EventLog
from controller.operator import sentences
from tests.patience import PATIENCE

CHANGE: dict[str, Any] = {"reason": "BETTER", "from_node": "edge1", "to_node": "edge2"}
CHANGE |= {"from_rank": 64000, "to_rank": 65000, "node": "edge1", "epoch": 3, "sequence": 812}
CHANGE_JSON: dict[str, Any] = {"reason": "BETTER", "from": "edge1", "to": "edge2"}
CHANGE_JSON |= {"from_rank": 64000, "to_rank": 65000, "node": "edge1", "epoch": 3, "sequence": 812}
CONTRADICTED = (
    "contradicted: in 3.1 s said it received 88 and did what it does not hold; 2 packets of answers seen, "
    "at least 70 missing; a last resort for 10 s"
)
MOVED = "BETTER edge1 -> edge2 (rank 64000 -> 65000), by report 3/812 of edge1"

EVENTS: list[tuple[Event, dict[str, Any], str]] = [
    (
        DigestEvent(time_ns=7, switch="s1", service="web", switch_time_us=12, **CHANGE),
        {"kind": "digest", "switch": "s1", "service": "web", "switch_time_us": 12, **CHANGE_JSON},
        f"web on s1: {MOVED}",
    ),
    (
        DigestEvent(
            time_ns=7,
            switch="s1",
            service="web",
            switch_time_us=12,
            **(CHANGE | {"reason": "FIRST", "from_node": None, "node": None}),
        ),
        {
            "kind": "digest",
            "switch": "s1",
            "service": "web",
            "switch_time_us": 12,
            **(CHANGE_JSON | {"reason": "FIRST", "from": None, "node": None}),
        },
        "web on s1: FIRST nobody -> edge2 (rank 64000 -> 65000)",
    ),
    (
        EndpointEvent(service="web", term=2, version=5, address="10.0.0.12", port=80, **CHANGE),
        {"kind": "endpoint", "service": "web", "term": 2, "version": 5, "address": "10.0.0.12", "port": 80}
        | CHANGE_JSON,
        f"web: endpoint 2.5 is 10.0.0.12:80: {MOVED}",
    ),
    (
        ClaimEvent(
            service="web",
            node="edge2",
            finding=Finding.CONTRADICTED,
            seconds=3.1,
            sent=90,
            received=88,
            answered=2,
            missing=70,
            bounded_s=10,
        ),
        {
            "kind": "claim",
            "service": "web",
            "node": "edge2",
            "what": CONTRADICTED,
            "finding": "contradicted",
            "seconds": 3.1,
            "sent": 90,
            "received": 88,
            "answered": 2,
            "missing": 70,
            "bounded_s": 10,
        },
        f"claims of web on edge2: {CONTRADICTED}",
    ),
    (
        ClaimEvent(service="web", node="edge2", finding=None),
        {
            "kind": "claim",
            "service": "web",
            "node": "edge2",
            "what": "relied on again",
            "finding": None,
            "seconds": 0,
            "sent": 0,
            "received": 0,
            "answered": 0,
            "missing": 0,
            "bounded_s": None,
        },
        "claims of web on edge2: relied on again",
    ),
    (
        PinEvent(service="web", node="edge2", reason="BROKEN: it died"),
        {
            "kind": "pin",
            "service": "web",
            "node": "edge2",
            "what": "it cannot serve: BROKEN: it died",
            "reason": "BROKEN: it died",
        },
        "pin of web to edge2: it cannot serve: BROKEN: it died",
    ),
    (
        DeploymentEvent(node="edge1", deployment="ab12", status="FAILED", reason="no such artefact"),
        {
            "kind": "deployment",
            "node": "edge1",
            "deployment": "ab12",
            "status": "FAILED",
            "reason": "no such artefact",
        },
        "deployment ab12 on edge1: FAILED: no such artefact",
    ),
    (
        CommandEvent(command="drain", service="web", node="edge1", outcome="takes no new work"),
        {"kind": "command", "command": "drain", "service": "web", "node": "edge1", "outcome": "takes no new work"},
        "drain web edge1: takes no new work",
    ),
    (
        CommandEvent(command="release", service="web", node=None, outcome="let go"),
        {"kind": "command", "command": "release", "service": "web", "node": None, "outcome": "let go"},
        "release web: let go",
    ),
    (
        SwitchEvent(switch="s1", connected=True, target="10.0.0.1:9559", error=None),
        {
            "kind": "switch",
            "switch": "s1",
            "what": "connected at 10.0.0.1:9559",
            "connected": True,
            "target": "10.0.0.1:9559",
            "error": None,
        },
        "switch s1: connected at 10.0.0.1:9559",
    ),
    (
        SwitchEvent(switch="s1", connected=False, target="10.0.0.1:9559", error="s1 (10.0.0.1:9559): refused"),
        {
            "kind": "switch",
            "switch": "s1",
            "what": "lost: s1 (10.0.0.1:9559): refused",
            "connected": False,
            "target": "10.0.0.1:9559",
            "error": "s1 (10.0.0.1:9559): refused",
        },
        "switch s1: lost: s1 (10.0.0.1:9559): refused",
    ),
    (
        ShareEvent(switch="s1", service="web", nearly_full=True, taken=0.81),
        {
            "kind": "share",
            "switch": "s1",
            "service": "web",
            "what": "share of the flow store is nearly full: of the slots that new flows looked at, 81% were taken",
            "nearly_full": True,
            "taken": 0.81,
        },
        "web on s1: share of the flow store is nearly full: of the slots that new flows looked at, 81% were taken",
    ),
    (
        PresenceEvent(node="edge1", online=False, epoch=4),
        {"kind": "node", "node": "edge1", "what": "offline", "online": False, "epoch": 4},
        "node edge1: offline",
    ),
    (
        ComponentEvent(node="edge1", component="org.example.Web", version="1.0.0", status="BROKEN", details="it died"),
        {
            "kind": "node",
            "node": "edge1",
            "what": "org.example.Web 1.0.0 BROKEN: it died",
            "component": "org.example.Web",
            "version": "1.0.0",
            "status": "BROKEN",
            "details": "it died",
        },
        "node edge1: org.example.Web 1.0.0 BROKEN: it died",
    ),
]


def log(path: Path | None = None, capacity: int = 100) -> EventLog:
    return EventLog(sentences.describe, path, capacity)


def of_edge1(epoch: int) -> PresenceEvent:
    return PresenceEvent(node="edge1", online=True, epoch=epoch)


@pytest.mark.parametrize(("event", "fields", "words"), EVENTS, ids=[words for _, _, words in EVENTS])
def test_an_event_has_one_form_in_json_and_one_in_words(event: Event, fields: dict[str, Any], words: str) -> None:
    recorded = log().add(event)
    stamped = json.loads(recorded.encode())
    assert stamped.pop("seq") == 1
    assert stamped.pop("time_ns") == event.time_ns or event.time_ns == 0
    assert stamped == fields
    assert sentences.sentence(event) == words

    read = decode(recorded.encode())
    assert read == recorded
    assert type(read) is type(event)
    assert sentences.sentence(read) == words


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "event: expected JSON, but"),
        ("[]", "expected an object of kind digest"),
        ('{"kind": "party"}', "expected an object of kind digest"),
        ('{"kind": "command", "command": "drain", "service": "web", "node": null}', r"outcome: expected, but missing"),
        ('{"kind": "digest", "reason": "BORED"}', "expected one of UNHEARD, FIRST, BETTER"),
    ],
)
def test_a_line_that_is_no_event_is_told_with_what_was_expected(text: str, named: str) -> None:
    with pytest.raises(EventError, match=named):
        decode(text)


def test_the_ring_is_bounded_and_numbers_go_on() -> None:
    events = log(capacity=3)
    for number in range(5):
        events.add(of_edge1(number))
    assert [event.seq for event in events.since(0)] == [3, 4, 5]
    assert [event.epoch for event in events.since(4) if isinstance(event, PresenceEvent)] == [4]
    assert events.last == 5


def test_every_event_is_a_line_of_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "events.ndjson"
    with log(path) as events:
        first = events.add(of_edge1(1))
        assert decode(path.read_text()) == first
    with log(path) as events:
        events.add(of_edge1(2))
    assert len(path.read_text().splitlines()) == 2, "a restarted controller appends"


def test_a_follower_gets_what_was_and_what_comes_without_a_gap() -> None:
    async def scenario() -> list[int]:
        events = log()
        seen: list[int] = []

        async def follow() -> None:
            async for event in events.follow(1):
                seen.append(event.seq)
                if event.seq == 2:
                    events.add(of_edge1(4))
                if event.seq == 6:
                    return

        for epoch in range(3):
            events.add(of_edge1(epoch))
        follower = asyncio.create_task(follow())
        await asyncio.sleep(0)
        for epoch in range(2):
            events.add(of_edge1(epoch))
        await asyncio.wait_for(follower, PATIENCE)
        return seen

    assert asyncio.run(scenario()) == [2, 3, 4, 5, 6]
