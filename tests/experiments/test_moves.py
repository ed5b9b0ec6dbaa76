"""The migration experiment: its plan, what its rows come to, and a small run of it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from experiments.cli import main
from experiments.moves import rows
from experiments.moves.judge import Tally, figures, interval, invalid, quantile, take
from experiments.moves.plan import PERIOD_NS, Plan, segments
from experiments.moves.rows import Changed, Done, Facts, Request, Told
from experiments.moves.ways import WAYS

MS = 1_000_000
START = 1000 * MS
PERIODS = 4


@given(st.integers(0, 100), st.lists(st.sampled_from(sorted(WAYS)), min_size=1, unique=True), st.integers(1, 5))
def test_each_round_has_each_way_once_in_an_order_that_the_seed_makes(seed: int, ways: list[str], rounds: int) -> None:
    found = list(segments(Plan(seed, ways, rounds, 20, 2000)))
    assert found == list(segments(Plan(seed, ways, rounds, 20, 2000)))
    assert [one.number for one in found] == list(range(1, rounds * len(ways) + 1))
    for at in range(rounds):
        assert sorted(one.way for one in found[at * len(ways) :][: len(ways)]) == sorted(ways)


def done(way: str = "route") -> Done:
    return Done(1, 1, way, f"001-{way}", START, PERIOD_NS, PERIODS)


def facts(
    after_ms: Callable[[int], float | None] = lambda _: 5.0, keep: Callable[[int], bool] = lambda _: True
) -> Facts:
    """Requests a millisecond apart. In each period the host is busy from its first report on, 3 ms after its beginning,
    and the service leaves it `after_ms` later (None: it stays). `keep` tells which requests arrive."""
    host, requests, arrived = 0, list[Request](), [list[tuple[int, int]](), list[tuple[int, int]]()]
    told, changed = [list[Told](), list[Told]()], list[Changed]()
    moved = [
        None if (ms := after_ms(period)) is None else period_begin(period) + round((3 + ms) * MS)
        for period in range(PERIODS)
    ]
    for period in range(PERIODS):
        told[period % 2].append(Told(period_begin(period) + 3 * MS, True))
        told[1 - period % 2].append(Told(period_begin(period) + 4 * MS, False))
        if (at := moved[period]) is not None:
            changed.append(Changed(1 - period % 2, at - 2 * MS, at - MS))
    for number, at in enumerate(range(START - 500 * MS, START + PERIODS * PERIOD_NS, MS)):
        passed = [period for period in range(PERIODS) if (moment := moved[period]) is not None and moment <= at]
        host = 1 - passed[-1] % 2 if passed else 0
        answered = keep(number)
        requests.append(
            Request(number, at, at + 1000, at + 200_000 if answered else 0, int(answered), host if answered else -1)
        )
        if answered:
            arrived[host].append((at + 100_000, number))
    return Facts(requests, arrived, told, changed)


def period_begin(period: int) -> int:
    return START + period * PERIOD_NS


def judged(found: Facts) -> Tally:
    tally = Tally()
    take(tally, done(), found)
    return tally


def test_a_move_is_from_the_first_report_of_a_busy_host_to_the_first_request_elsewhere() -> None:
    tally = judged(facts())
    assert [one.period for one in tally.moves] == [0, 1, 2, 3]
    for one in tally.moves:
        total = one.stage_ms("told_to_first")
        assert total is not None
        # Requests are a millisecond apart.
        assert 5 <= total < 6.2
        assert one.stage_ms("told_to_decided") == 3
        assert one.stage_ms("decided_to_applied") == 1
        assert one.last_ns is not None
        assert one.first_ns is not None
        assert one.last_ns < one.first_ns


def test_a_period_without_a_move_is_missed_and_the_next_one_is_idle() -> None:
    tally = judged(facts(lambda period: None if period == 1 else 5.0))
    found = figures(tally)
    # Period 2 begins with the service at the node that period 1 should have made it leave.
    assert (found["moves"], found["missed"], found["idle_periods"]) == (2, 1, 1)
    assert invalid({"route": found})


def test_lost_doubled_and_overtaken_requests_are_counted() -> None:
    found = facts(keep=lambda number: number != 20)
    found.arrived[0].append((found.arrived[0][30][0] + 10, found.arrived[0][30][1]))
    one, two = found.arrived[0][5], found.arrived[0][6]
    found.arrived[0][5:7] = [(one[0], two[1]), (two[0], one[1])]
    tally = judged(found)
    assert (tally.lost, tally.duplicated, tally.reordered) == (1, 1, 1)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=400).map(sorted), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_its_interval_and_needs_samples_beyond_it(ordered: list[float], q: float) -> None:
    value, bounds = quantile(ordered, q), interval(ordered, q)
    assert (value is None) == (bounds is None) == (len(ordered) * (1 - q) < 5 - 1e-9)
    if value is not None and bounds is not None:
        assert bounds[0] <= value <= bounds[1]


def test_what_is_no_experiment_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / rows.RUN).write_text('{"row": "else"}\n')
    found = CliRunner().invoke(main, ["migration", "--from", str(tmp_path)])
    assert found.exit_code == 1
    assert "line 1" in found.output


@pytest.mark.root("it lays network namespaces")
def test_a_small_run_moves_the_service_and_goes_on_where_it_was_ended(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["migration", "--only", "in-network,route", "--rounds", "1", "--moves", "4", "--results", str(folder)]
    first = CliRunner().invoke(main, words, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    summary = json.loads((folder / "summary.json").read_text())
    for name in ("in-network", "route"):
        way = summary["ways"][name]
        assert way["moves"] >= 3, first.output
        assert way["lost"] == way["duplicated"] == 0
        assert way["requests"] > 1000
    with (folder / "moves.csv").open(newline="") as file:
        moves = list(csv.DictReader(file))
    assert all(int(one["first_ns"]) > int(one["told_ns"]) for one in moves)
    assert all(one["decided_ns"] for one in moves if one["way"] == "route"), "a controller decided"
    assert not any(one["decided_ns"] for one in moves if one["way"] == "in-network"), "nobody but the switch did"
    kept = (folder / rows.RUN).read_text()
    again = CliRunner().invoke(main, words, catch_exceptions=False)
    assert "0 segments" in again.output
    assert (folder / rows.RUN).read_text() == kept
    other = CliRunner().invoke(main, [*words, "--seed", "2"])
    assert other.exit_code == 1
    assert "seed" in other.output
