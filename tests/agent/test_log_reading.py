"""A component's log as it is read from afar: whole lines, each once, across rotation, restarts and slow readers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greengrass_agent.log_reading import WAITING, LogReading
from greengrass_agent.logs import cursor as cursors
from greengrass_agent.logs import times
from greengrass_agent.logs.cursor import CursorError, Part, Place, Stamp
from greengrass_agent.logs.lines import LEVELS, LONGEST, Line, parse, split
from greengrass_agent.logs.reader import BEHIND, STILL_S, Piece, Question, read
from greengrass_agent.logs.rotation import Limits
from greengrass_agent.logs.times import StampedFile, times_of
from hitless.mqtt.messages import LogsAsked, LogsTold, Message
from tests.patience import until_async

WRITTEN = 1_700_000_000_000
FILES = 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", Line(WRITTEN, "INFO", "plain")),
        ("", Line(WRITTEN, "INFO", "")),
        (
            "[WARNING]\t2026-11-30T20:00:00.250Z\tid-1\tdisk\tfull",
            Line(1_796_068_800_250, "WARNING", "disk\tfull", "id-1"),
        ),
        ("[ERROR] ValueError: no\tnumber", Line(WRITTEN, "ERROR", "ValueError: no\tnumber")),
        (
            "[LOUD]\t2026-11-30T20:00:00.250Z\tid-1\tx",
            Line(WRITTEN, "INFO", "[LOUD]\t2026-11-30T20:00:00.250Z\tid-1\tx"),
        ),
        (
            '{"timestamp": "2026-11-30T20:00:00Z", "level": "warn", "message": "m", "requestId": "r"}',
            Line(1_796_068_800_000, "WARNING", "m", "r"),
        ),
        (
            '{"level":"INFO","location":"f:1","message":"m","timestamp":"2026-11-30 21:00:00,000+0100"}',
            Line(
                1_796_068_800_000,
                "INFO",
                '{"level":"INFO","location":"f:1","message":"m","timestamp":"2026-11-30 21:00:00,000+0100"}',
            ),
        ),
        ('{"level": 3}', Line(WRITTEN, "INFO", '{"level": 3}')),
        ("{", Line(WRITTEN, "INFO", "{")),
    ],
)
def test_a_line_has_its_own_time_and_level_or_those_of_its_writing(text: str, line: Line) -> None:
    assert parse(text, WRITTEN) == line


@settings(max_examples=50)
@given(st.text(max_size=80), st.integers(0, 1 << 45))
def test_every_line_is_some_line(text: str, written: int) -> None:
    line = parse(text, written)
    assert line.level in LEVELS.values() and line.time_ms >= 0


@given(st.lists(st.binary(max_size=40).map(lambda one: one.replace(b"\n", b"")), max_size=12), st.data())
def test_output_in_pieces_has_the_lines_of_the_whole(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    found, begin = [], 0
    for end in (*cuts, len(whole)):
        pieces, taken = split(whole[begin:end], ended=False)
        for offset, line in pieces:
            assert whole[begin + offset :].startswith(line + b"\n")
            found.append(line)
        begin += taken
    assert (found, begin) == (lines, len(whole))


def test_a_line_without_an_end_waits_for_it_unless_it_is_too_long() -> None:
    assert split(b"a\nb", ended=False) == ([(0, b"a")], 2)
    assert split(b"a\nb", ended=True) == ([(0, b"a"), (2, b"b")], 3)
    found, taken = split(b"x" * (2 * LONGEST + 1), ended=False)
    assert [len(line) for _, line in found] == [LONGEST, LONGEST] and taken == 2 * LONGEST


sizes = st.lists(st.integers(0, 50), min_size=1, max_size=4)


@given(sizes, st.data())
def test_a_cursor_is_the_place_that_it_was_made_of(sizes: list[int], data: st.DataObject) -> None:
    parts = [Part(inode=number + 1, began_ms=number, size=size) for number, size in enumerate(sizes)]
    total = sum(sizes)
    passed = data.draw(st.integers(0, total))
    place = cursors.forward(parts, Place(0, 0), passed)
    assert cursors.left(parts, place) == total - passed
    assert cursors.found(parts, cursors.written(parts, place)) == (place, False)
    # The oldest file goes, a new one comes, whose inode is that of the old one.
    later = [*parts[1:], Part(inode=parts[0].inode, began_ms=99, size=50)]
    found, gone = cursors.found(later, cursors.written(parts, place))
    assert gone is (place.part == 0)
    assert cursors.left(later, found) == sum(sizes[1:]) + 50 - (0 if gone else passed - sizes[0])


def test_times_are_those_of_the_stamps() -> None:
    part = Part(1, 1000, 30, (Stamp(0, 1000), Stamp(10, 3000), Stamp(20, 9000)))
    assert [part.time_at(offset) for offset in (0, 9, 10, 25)] == [1000, 1000, 3000, 9000]
    assert [part.offset_at(time) for time in (0, 1000, 3500, 9999)] == [0, 0, 10, 20]
    with pytest.raises(CursorError, match="expected a cursor, got 'x'"):
        cursors.found([part], "x")


class Log:
    """A component's log, written as the agent does; its clock stands until it is told."""

    def __init__(self, folder: Path, size: int = 1000) -> None:
        self.path = folder / "org.example.Greet.log"
        self.limits = Limits(size, FILES)
        self.now = 1_700_000_000.0
        self.restart()

    def restart(self) -> None:
        """Go on with the same files, as another agent does."""
        self.file = StampedFile(self.path, self.limits, clock=lambda: self.now)

    def write(self, *lines: str, end: str = "\n") -> None:
        data = "".join(line + end for line in lines).encode()
        assert self.file.write(data) == len(data)

    def read(self, question: Question) -> Piece:
        return read(self.path, FILES, question, now_s=self.now)


def texts(piece: Piece) -> list[str]:
    return [line.text for line in piece.lines]


def all_of(log: Log, cursor: str | None, *, live: bool = False) -> tuple[list[str], str, int, bool]:
    """Everything that follows a cursor, piece by piece."""
    found, missed, gone = [], 0, False
    while True:
        piece = log.read(Question(cursor, live=live))
        found += texts(piece)
        cursor, missed, gone = piece.cursor, missed + piece.missed, gone or piece.gone
        if not piece.more:
            return found, cursor, missed, gone


def test_a_follower_gets_every_line_once_across_rotations_and_restarts(tmp_path: Path) -> None:
    log = Log(tmp_path, size=200)
    piece = log.read(Question())
    assert piece == Piece((), "0-0:0", more=False), "nothing was printed yet"
    cursor, heard, told = piece.cursor, [], []
    for number in range(60):
        log.now += 0.7
        told += [f"{number}: {'x' * (number % 30)}", f"{number}!"]
        log.write(*told[-2:])
        if number % 17 == 5:
            log.restart()
        if number % 3 == 0:
            found, cursor, missed, gone = all_of(log, cursor, live=True)
            heard += found
            assert (missed, gone) == (0, False)
    heard += all_of(log, cursor)[0]
    assert heard == told
    assert len(list(tmp_path.glob("*.log*"))) == FILES + 1, "and their stamps"


def test_who_comes_too_late_is_told_that_something_is_gone(tmp_path: Path) -> None:
    log = Log(tmp_path, size=100)
    log.write("first")
    cursor = log.read(Question()).cursor
    for number in range(100):
        log.now += 1
        log.write(f"line {number:03d}")
    found, _, missed, gone = all_of(log, cursor)
    assert gone and not missed
    assert found == [f"line {number:03d}" for number in range(100 - len(found), 100)]


def test_a_follower_that_is_far_behind_is_told_how_many_lines_it_has_missed(tmp_path: Path) -> None:
    log = Log(tmp_path, size=10 * BEHIND)
    log.write("first")
    cursor = log.read(Question()).cursor
    lines = [f"{number:07d} {'x' * 92}" for number in range(2 * BEHIND // 100)]
    log.write(*lines)
    found, _, missed, gone = all_of(log, cursor, live=True)
    assert found == lines[missed:] and not gone
    assert 0 < len(found) < 1000
    assert all_of(log, cursor)[0] == lines, "who reads the past has all of it"


def test_lines_have_the_time_of_their_writing_to_the_second(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for number in range(5):
        log.write(f"{number}")
        log.now += 0.75
    log.restart()
    log.write("after")
    began = 1_700_000_000_000
    assert [line.time_ms - began for line in log.read(Question()).lines] == [0, 0, 1500, 1500, 3000, 3750]
    log.now = 1_700_000_000 + 63.0
    assert texts(log.read(Question(since_s=60))) == ["4", "after"]
    assert texts(log.read(Question(since_s=3600))) == ["0", "1", "2", "3", "4", "after"]
    assert texts(log.read(Question(since_s=1))) == []
    times_of(log.path).unlink()
    assert len(log.read(Question()).lines) == 6, "without stamps there are lines all the same"


def test_stamps_are_bounded_and_tell_of_young_lines_most_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "ROWS", 64)
    log = Log(tmp_path, size=1_000_000)
    cursor = log.read(Question()).cursor
    for number in range(2000):
        log.write(f"{number}")
        log.now += 1
    assert times_of(log.path).stat().st_size <= 64 * 24
    began = 1_700_000_000_000
    lines = log.read(Question(cursor)).lines
    assert [line.text for line in lines] == [str(number) for number in range(2000)]
    off = [number - (line.time_ms - began) // 1000 for number, line in enumerate(lines)]
    assert off[0] == 0 and min(off) >= 0, "none is said to be later than it is"
    assert all(late <= 1 + (2000 - number) for number, late in enumerate(off)), "exact to a part of its age"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(0, 25))
def test_the_last_lines_are_the_last_ones(tmp_path_factory: pytest.TempPathFactory, count: int, wanted: int) -> None:
    log = Log(tmp_path_factory.mktemp("log"), size=60)
    lines = [f"line {number}" for number in range(count)]
    for line in lines:
        log.write(line)
    kept = all_of(log, None)[0]
    assert texts(log.read(Question(tail=wanted))) == (kept[-wanted:] if wanted else [])


def test_an_unfinished_line_counts_once_nothing_is_added_to_it(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write("whole")
    log.write("begun", end="")
    piece = log.read(Question())
    assert texts(piece) == ["whole"]
    log.write(" and ended")
    piece = log.read(Question(piece.cursor))
    assert texts(piece) == ["begun and ended"]
    log.write("prompt:", end="")
    before = log.path.stat().st_mtime - 2 * STILL_S
    os.utime(log.path, (before, before))
    assert texts(log.read(Question(piece.cursor))) == ["prompt:"]


def test_questions_are_answered_once_and_only_so_many_wait(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write("hello", "[ERROR] Fault: x")

    async def story() -> list[tuple[str, Message]]:
        told: list[tuple[str, Message]] = []
        reading = LogReading("edge1", tmp_path, FILES, lambda topic, message: told.append((topic, message)))
        reading.ask("org.example.Greet", b"no JSON")
        for number in range(2 * WAITING):
            question = LogsAsked(client_token=str(number), tail=5).encode()
            reading.ask("org.example.Greet", question)
            reading.ask("org.example.Greet", question)
        await until_async(lambda: len(told) == WAITING, "as many answers as may wait")
        reading.ask("org.example.Greet", LogsAsked(client_token="bad", cursor="x").encode())
        reading.ask("org.example.None", LogsAsked(client_token="none").encode())
        await until_async(lambda: len(told) == WAITING + 2, "the other answers")
        return told

    told = asyncio.run(story())
    answers = [message for _, message in told if isinstance(message, LogsTold)]
    assert {topic for topic, _ in told[:WAITING]} == {"hitless/things/edge1/components/org.example.Greet/logs/told"}
    assert [one.client_token for one in answers] == [*map(str, range(WAITING)), "bad", "none"]
    first, bad, none = answers[0], answers[-2], answers[-1]
    assert [(line.level, line.text) for line in first.lines] == [("INFO", "hello"), ("ERROR", "Fault: x")]
    assert bad.problem == "expected a cursor, got 'x'"
    assert (none.lines, none.problem) == ((), None), "a component that has printed nothing has no log"
