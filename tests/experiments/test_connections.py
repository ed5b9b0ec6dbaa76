"""The connections experiment: its client against a real server, its plan, and what its rows come to."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from experiments import scenario
from experiments.cli import main
from experiments.connections import judge, rows
from experiments.connections.client import DOWNLOAD, FAILED, KEPT, OK, RESET, Client, Configuration, Row, read_head
from experiments.connections.command import SIZES
from experiments.connections.leaving import LEAVING
from experiments.connections.plan import WAYS, WINDOW_S, Plan, seconds, segments
from experiments.connections.rows import Done, Move
from experiments.detection.kinds import HERE, THERE
from experiments.peers.proxies import PROXIES

MS = 1_000_000
AT = 1000 * MS


@given(st.integers(0, 100), st.lists(st.sampled_from(sorted(WAYS)), min_size=1, unique=True), st.integers(1, 4))
def test_each_round_has_each_way_once_in_an_order_that_the_seed_makes(seed: int, ways: list[str], rounds: int) -> None:
    found = list(segments(Plan(seed, tuple(ways), rounds, 3)))
    assert found == list(segments(Plan(seed, tuple(ways), rounds, 3)))
    assert [one.number for one in found] == list(range(1, rounds * len(ways) + 1))
    for at in range(rounds):
        assert sorted(one.way for one in found[at * len(ways) :][: len(ways)]) == sorted(ways)


@pytest.mark.parametrize(("size", "minutes"), [("short", 10), ("full", 120)])
def test_a_size_takes_no_longer_than_it_may(size: str, minutes: float) -> None:
    assert seconds(Plan(1, tuple(WAYS), *SIZES[size])) < 0.9 * minutes * 60


def test_each_way_can_be_carried_out() -> None:
    assert LEAVING.keys() == WAYS.keys()
    assert all(one.proxy is None or one.proxy in PROXIES for one in LEAVING.values())


# The client


class Server(BaseHTTPRequestHandler):
    """Serves two requests a connection, then closes it without a word; cuts a download in the middle."""

    protocol_version = "HTTP/1.1"
    served = 0

    def do_GET(self) -> None:
        """A short answer, or half of a long one."""
        self.served += 1
        self.send_response(200)
        self.send_header("X-Hitless-Node", HERE)
        if self.path != "/":
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"x" * 50_000)
            self.close_connection = True
            return
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
        self.close_connection = self.served == 2

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


def test_a_connection_that_is_closed_between_requests_is_no_error_and_a_cut_download_is() -> None:
    async def called(port: int) -> list[Row]:
        output = StringIO()
        told = Configuration("127.0.0.1", port, "", 1, 1, 0.02, 1, 100_000, 1e9, 5.0)
        running = asyncio.create_task(Client(told, output).run())
        while output.getvalue().count(KEPT) < 6 or DOWNLOAD not in output.getvalue():
            assert not running.done()
            await asyncio.sleep(0.01)
        running.cancel()
        return [rows._row(line.split(",")) for line in output.getvalue().split()[1:]]

    with serving() as port:
        found = asyncio.run(asyncio.wait_for(called(port), 20))
    kept = [one for one in found if one.kind == KEPT]
    assert {one.outcome for one in kept} == {OK}
    assert [one.opened for one in kept[:6]] == [1, 0, 1, 0, 1, 0]
    assert {(one.outcome, one.node) for one in found if one.kind == DOWNLOAD} == {(RESET, HERE)}


def test_what_is_no_answer_of_http_is_no_answer() -> None:
    assert read_head(b"HTTP/1.1 503 Gone\r\nX-A: b\r\n\r\n") == (503, {"x-a": "b"})
    with pytest.raises(ConnectionError, match="SSH"):
        read_head(b"SSH-2.0\r\n\r\n")


# The judge


def row(kind: str, ended_ms: float, node: str, outcome: str = OK, opened: int = 0) -> Row:
    ended = AT + round(ended_ms * MS)
    return Row(kind, ended - MS, ended, node, outcome, opened)


REQUESTS = [
    row(KEPT, -5, HERE),
    row(KEPT, 3, THERE, opened=1),
    row(KEPT, 90, HERE),
    row(KEPT, 95, "", RESET),
    row(KEPT, 200, THERE),
    row(KEPT, 300, THERE, FAILED),
    row(KEPT, WINDOW_S * 1000 + 1, HERE),
    row(DOWNLOAD, 3900, HERE),
    row(DOWNLOAD, 4100, THERE),
    row(DOWNLOAD, 4200, HERE, RESET),
]
MOVE = Move(AT, HERE, THERE)


def test_a_move_tells_when_the_new_node_answered_and_the_old_one_was_empty() -> None:
    assert judge.left(MOVE, REQUESTS) == judge.Left(3, 90, 3900)
    assert judge.left(MOVE, REQUESTS[:1]) == judge.Left(None, None, None)


def test_the_command_judges_rows_alone(tmp_path: Path) -> None:
    scenario.append(tmp_path / rows.RUN, "machine", cores=2, commit="abc")
    scenario.append(tmp_path / rows.RUN, "options", ways=["migrate", "caddy"])
    rows.add(tmp_path, Done(1, 1, "migrate", (MOVE,), AT, 0), REQUESTS)
    rows.add(tmp_path, Done(2, 1, "caddy", (MOVE,), AT, 0), [replace(one, node=HERE) for one in REQUESTS])
    done = rows.read_done(tmp_path)
    rows.cut(tmp_path, done)
    found = CliRunner().invoke(main, ["connections", "--from", str(tmp_path)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert "caddy: only 0 of 1 moves" in " ".join(found.output.split())
    way = json.loads((tmp_path / "summary.json").read_text())["ways"]["migrate"]
    assert {name: way[name] for name in ("requests", "reset", "failed", "lost", "downloads", "broken", "opened")} == {
        "requests": 7,
        "reset": 1,
        "failed": 1,
        "lost": 0,
        "downloads": 3,
        "broken": 1,
        "opened": 1,
    }
    assert way["each"] == [[3, 90, 3900]]
    assert (tmp_path / "connections.svg").stat().st_size > 5_000
    assert way["empty_ms"] == {"p50": 3900, "max": 3900}
