"""Logs as the operator reads them: several nodes in the order of time, gaps told, nothing asked for in advance."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.operator import durations, logs, reading
from controller.operator.documents import LogEntry, LogGap, LogLine
from hitless.mqtt.messages import LogLine as Told
from hitless.mqtt.messages import LogsAsked, LogsTold

Lines = list[tuple[int, str]]


class Node:
    """A node with a log, of which it gives two lines at a time."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.asked = 0
        self.problem: str | None = None
        self.missed = 0

    def answer(self, asked: LogsAsked) -> LogsTold:
        self.asked += 1
        if self.problem is not None:
            return LogsTold(client_token="", cursor="", problem=self.problem)
        begin = int(asked.cursor or 0)
        lines = tuple(Told(time=time, level="INFO", text=text) for time, text in self.lines[begin : begin + 2])
        end, missed, self.missed = begin + len(lines), self.missed, 0
        return LogsTold(client_token="", lines=lines, cursor=str(end), more=end < len(self.lines), missed=missed)


async def collect(nodes: dict[str, Node], count: int | None = None, *, follow: bool = False) -> list[LogEntry]:
    async def ask(node: str, asked: LogsAsked) -> LogsTold:
        await asyncio.sleep(0)
        return nodes[node].answer(asked)

    found: list[LogEntry] = []
    async for entry in logs.read(ask, list(nodes), since_s=None, tail=None, follow=follow):
        found.append(entry)
        if len(found) == count:
            break
    return found


times = st.lists(st.integers(0, 50), max_size=9).map(sorted)


@given(times, times)
def test_lines_of_several_nodes_come_in_the_order_of_time_each_once(first: list[int], second: list[int]) -> None:
    nodes = {
        name: Node([(time, f"{name} {number}") for number, time in enumerate(given)])
        for name, given in (("edge1", first), ("edge2", second))
    }
    found = asyncio.run(collect(nodes))
    assert [entry.time for entry in found if isinstance(entry, LogLine)] == [
        logs.written(time) for time in sorted([*first, *second])
    ]
    for name, node in nodes.items():
        own = [entry.text for entry in found if isinstance(entry, LogLine) and entry.node == name]
        assert own == [text for _, text in node.lines]


def test_nothing_is_asked_for_before_it_is_taken() -> None:
    async def story() -> int:
        node = Node([(number, "x") for number in range(100)])

        async def ask(_: str, asked: LogsAsked) -> LogsTold:
            return node.answer(asked)

        read = logs.read(ask, ["edge1"], since_s=None, tail=None, follow=True)
        for _ in range(4):
            await anext(read)
        return node.asked

    assert asyncio.run(story()) == 2


def test_a_follower_is_told_of_gaps_and_of_a_node_that_goes_and_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FOLLOWED_S", 0)
    node = Node([(1, "a")])

    async def story() -> list[LogEntry]:
        async def ask(_: str, asked: LogsAsked) -> LogsTold:
            await asyncio.sleep(0)
            if node.asked == 3:
                node.problem = "offline"
            if node.asked == 6:
                node.problem, node.missed = None, 7
                node.lines.append((2, "b"))
            return node.answer(asked)

        read = logs.read(ask, ["edge1"], since_s=None, tail=None, follow=True)
        return [await anext(read) for _ in range(4)]

    first, offline, gap, second = asyncio.run(story())
    assert isinstance(first, LogLine) and first.text == "a"
    assert offline == LogGap(node="edge1", missed=None, what="offline")
    assert isinstance(gap, LogGap) and gap.missed == 7
    assert isinstance(second, LogLine) and second.text == "b"


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 9999))
def test_a_length_of_time_is_the_sum_of_its_parts(days: int, hours: int, minutes: int, rest: int) -> None:
    assert durations.seconds(f"{days}d{hours}h{minutes}m{rest}s") == ((days * 24 + hours) * 60 + minutes) * 60 + rest
    assert durations.seconds(f"{rest}") == rest


@pytest.mark.parametrize("text", ["", "m", "10 m", "5m3h", "-1s", "1.5h", "\u0663s", "9" * 40])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a length of time such as 90s, 10m"):
        durations.seconds(text)


def test_a_line_for_people_cannot_steer_their_terminal() -> None:
    line = LogLine(node="edge1", time="2026-11-30T20:00:00.000Z", level="INFO", text="a\tb\x1b[2J\x9b")
    assert reading.sentence(line) == "2026-11-30T20:00:00.000Z edge1 INFO     a\tb\ufffd[2J\ufffd"
    assert reading.sentence(LogGap(node="edge2", missed=3, what="3 lines are left out here")) == (
        "(edge2: 3 lines are left out here)"
    )
    assert logs.written(1_796_068_800_250) == "2026-11-30T20:00:00.250Z"
    assert logs.written(1 << 60).startswith("9999-12-31"), "a node's clock may say anything"
