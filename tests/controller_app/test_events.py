"""Events: numbered, bounded, followed without a gap, and still told when the file cannot be written."""

import asyncio
import json
from pathlib import Path

from controller.observe.events import EventLog, describe
from tests.patience import PATIENCE


def test_the_ring_is_bounded_and_numbers_go_on() -> None:
    events = EventLog(capacity=3)
    for number in range(5):
        events.add("node", node="edge1", what=str(number))
    assert [event["seq"] for event in events.since(0)] == [3, 4, 5]
    assert [event["what"] for event in events.since(4)] == ["4"]
    assert events.last == 5


def test_every_event_is_a_line_of_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "events.ndjson"
    with EventLog(path) as events:
        first = events.add("switch", switch="s1", what="lost")
        assert json.loads(path.read_text()) == first
    with EventLog(path) as events:
        events.add("switch", switch="s1", what="back")
    assert len(path.read_text().splitlines()) == 2, "a restarted controller appends"


def test_a_follower_gets_what_was_and_what_comes_without_a_gap() -> None:
    async def scenario() -> list[int]:
        events = EventLog()
        seen: list[int] = []

        async def follow() -> None:
            async for event in events.follow(1):
                seen.append(event["seq"])
                if event["seq"] == 2:
                    events.add("node", node="edge1", what="while it was told")
                if event["seq"] == 6:
                    return

        for _ in range(3):
            events.add("node", node="edge1", what="before")
        follower = asyncio.create_task(follow())
        await asyncio.sleep(0)
        for _ in range(2):
            events.add("node", node="edge1", what="after")
        await asyncio.wait_for(follower, PATIENCE)
        return seen

    assert asyncio.run(scenario()) == [2, 3, 4, 5, 6]


def test_words_for_a_move_say_who_and_why() -> None:
    events = EventLog()
    moved = events.add(
        "digest",
        switch="s1",
        service="web",
        reason="BETTER",
        **{"from": "edge1"},
        to="edge2",
        from_rank=64000,
        to_rank=65000,
        node="edge1",
        epoch=3,
        sequence=812,
    )
    assert describe(moved) == "web on s1: BETTER edge1 -> edge2 (rank 64000 -> 65000), by report 3/812 of edge1"
