"""The migration experiment: its plan, what its rows come to, and a small run of it."""

import csv
import dataclasses
import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from experiments import scenario
from experiments.cli import main
from experiments.moves import page, reduced, rows
from experiments.moves.judge import WRONGS, Ordered, Tally, figures, interval, invalid, quantile, take
from experiments.moves.plan import Plan, segments
from experiments.moves.rows import Facts
from experiments.moves.ways import WAYS
from tests.experiments.moves_rows import PERIODS, a_run, done, facts


@given(st.integers(0, 100), st.lists(st.sampled_from(sorted(WAYS)), min_size=1, unique=True), st.integers(1, 5))
def test_each_round_has_each_way_once_in_an_order_that_the_seed_makes(seed: int, ways: list[str], rounds: int) -> None:
    found = list(segments(Plan(seed, ways, rounds, 20, 2000)))
    assert found == list(segments(Plan(seed, ways, rounds, 20, 2000)))
    assert [one.number for one in found] == list(range(1, rounds * len(ways) + 1))
    for at in range(rounds):
        assert sorted(one.way for one in found[at * len(ways) :][: len(ways)]) == sorted(ways)


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


def test_lost_failed_doubled_and_overtaken_requests_are_counted() -> None:
    found = facts(keep=lambda number: number != 20)
    found.arrived[0].append((found.arrived[0][30][0] + 10, found.arrived[0][30][1]))
    found.requests[40] = dataclasses.replace(found.requests[40], failed=1, member=-1)
    one, two = found.arrived[0][5], found.arrived[0][6]
    found.arrived[0][5:7] = [(one[0], two[1]), (two[0], one[1])]
    tally = judged(found)
    assert {name: tally.total(name) for name in WRONGS} == {"lost": 1, "failed": 1, "duplicated": 1, "reordered": 1}


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=400).map(sorted), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_its_interval_and_needs_samples_beyond_it(ordered: list[float], q: float) -> None:
    value, bounds = quantile(ordered, q), interval(ordered, q)
    assert (value is None) == (bounds is None) == (len(ordered) * (1 - q) < 5 - 1e-9)
    if value is not None and bounds is not None:
        assert bounds[0] <= value <= bounds[1]


@given(st.lists(st.integers(0, 50), max_size=60))
def test_counted_values_are_what_a_sorted_list_of_them_is(values: list[int]) -> None:
    found = Ordered(Counter(values))
    assert list(found) == [value / 1000 for value in sorted(values)]
    assert len(found) == len(values)
    if values:
        assert found[-1] == max(values) / 1000


def test_a_run_is_judged_alike_from_its_raw_rows_and_from_what_is_kept_of_them(tmp_path: Path) -> None:
    run = tmp_path / "run"
    a_run(run, ["in-network", "route"])
    first = CliRunner().invoke(main, ["migration", "--from", str(run)], catch_exceptions=False)
    summary = json.loads((run / page.SUMMARY).read_text())
    assert summary["all"]["moves"] == 2 * 2 * PERIODS
    assert summary["all"]["bound_95"] == pytest.approx(3 / summary["all"]["requests"])
    for one in (one for one in run.iterdir() if one.is_dir()):
        shutil.rmtree(one)
    (run / page.SUMMARY).unlink()
    again = CliRunner().invoke(main, ["migration", "--from", str(run)], catch_exceptions=False)
    assert again.output == first.output
    assert json.loads((run / page.SUMMARY).read_text()) == summary


def test_a_run_that_was_gone_on_with_at_another_commit_tells_nothing(tmp_path: Path) -> None:
    a_run(tmp_path, ["route"])
    scenario.append(tmp_path / rows.RUN, "machine", **{**rows.read(tmp_path)[0][0], "commit": "other"})
    found = CliRunner().invoke(main, ["migration", "--from", str(tmp_path), "--publish", str(tmp_path / "page")])
    assert found.exit_code == 1
    assert "INVALID: the run was gone on with on another commit" in found.output
    assert not (tmp_path / "page").exists()


def test_what_is_no_experiment_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / rows.RUN).write_text('{"row": "else"}\n')
    found = CliRunner().invoke(main, ["migration", "--from", str(tmp_path)])
    assert found.exit_code == 1
    assert "line 1" in found.output


HAPROXY = pytest.param(
    "haproxy", 2, marks=pytest.mark.skipif(not shutil.which("haproxy", path="/usr/sbin"), reason="needs HAProxy")
)


@pytest.mark.root("it lays network namespaces")
@pytest.mark.parametrize(("way", "moves"), [("mqtt", 2), HAPROXY, ("restart", 1)])
def test_a_controller_moves_the_service_by_what_others_have_made(tmp_path: Path, way: str, moves: int) -> None:
    words = ["migration", "--only", way, "--rounds", "1", "--moves", str(moves), "--results", str(tmp_path / "run")]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "run" / page.SUMMARY).read_text())["ways"][way]
    assert found["moves"] >= 1, done.output
    assert found["requests"] > 1000
    assert found["lost"] == found["duplicated"] == 0, done.output
    # Nobody serves from the end of the process to the start of the other: what cannot wait so long fails.
    assert found["failed"] == 0 or way == "restart"


@pytest.mark.root("it lays network namespaces")
def test_a_small_run_moves_the_service_and_goes_on_where_it_was_ended(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["migration", "--only", "in-network,route", "--rounds", "1", "--moves", "2", "--results", str(folder)]
    first = CliRunner().invoke(main, words, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    summary = json.loads((folder / page.SUMMARY).read_text())
    for name in ("in-network", "route"):
        way = summary["ways"][name]
        assert way["moves"] >= 1, first.output
        assert way["lost"] == way["failed"] == way["duplicated"] == 0
        assert way["requests"] > 1000
    moves = list(csv.DictReader(gzip.decompress((folder / reduced.MOVES).read_bytes()).decode().splitlines()))
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
