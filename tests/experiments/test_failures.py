"""What a fault cost is told from the requests around it alone, and a run that tells nothing says so."""

import csv
import dataclasses
import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from experiments import scenario
from experiments.chaos.faults import FAULTS
from experiments.chaos.verdict import Fault, troubles
from experiments.cli import main
from experiments.failures import judge, page, rows
from experiments.failures.measure import BEFORE_NS, WINDOW_NS, Cost, as_before_ns, cost, from_text
from experiments.failures.plan import MADE, Plan, round_s, rounds
from experiments.failures.rows import Done, Facts
from experiments.migration import records
from experiments.migration.records import FAILED, LOST, OK, Request

MS = 1_000_000
BEGAN = 10_000 * MS
EVERY_MS, LATENCY_MS, SETTLED_MS = 5, 2.0, 2000
LENGTHS_MS = st.integers(0, 1500)


def fault(kind: str = "kill-gateway") -> Fault:
    return Fault(1, kind, "edge1", "echo", BEGAN, BEGAN, BEGAN + SETTLED_MS * MS)


def request(number: int, at_ms: float, outcome: str = OK, latency_ms: float = LATENCY_MS) -> Request:
    """A request whose intended start is `at_ms` after the fault."""
    at, lost = BEGAN + int(at_ms * MS), outcome == LOST
    received = None if lost else at + int(latency_ms * MS)
    return Request(number, 7, "echo", at, at, received, "edge1", outcome, int(not lost))


def load(outage_ms: int, outcome: str = LOST, latency_ms: float = LATENCY_MS) -> list[Request]:
    """A request every 5 ms around a fault; those of its first `outage_ms` end otherwise."""
    times = range(-(BEFORE_NS // MS), SETTLED_MS + 400, EVERY_MS)
    return [
        request(number, at, outcome, latency_ms) if 0 <= at < outage_ms else request(number, at)
        for number, at in enumerate(times, 1)
    ]


def cost_of(requests: list[Request]) -> Cost:
    return cost(3, fault(), fault().settled_ns, requests, troubles(requests, [], [fault()], 5000 * MS))


@given(LENGTHS_MS)
def test_an_outage_costs_the_requests_in_it_and_ends_in_its_last_window(outage_ms: int) -> None:
    found = cost_of(load(outage_ms))
    missed = -(-outage_ms // EVERY_MS)
    assert (found.lost, found.failed, found.unexplained) == (missed, 0, 0)
    assert found.gap_ms == (missed + 1) * EVERY_MS
    assert found.as_before_ms is not None
    assert 0 <= found.as_before_ms - outage_ms <= WINDOW_NS / MS + EVERY_MS or outage_ms == 0 == found.as_before_ms


@given(LENGTHS_MS, st.floats(1.0, 50.0))
def test_the_longer_an_outage_the_later_all_is_as_before(outage_ms: int, factor: float) -> None:
    shorter, longer = (as_before_ns(load(length), fault()) for length in (int(outage_ms / factor), outage_ms))
    assert shorter is not None
    assert longer is not None
    assert shorter <= longer


def test_slow_answers_are_not_as_before_and_what_never_ends_has_no_time() -> None:
    assert as_before_ns(load(700, OK, latency_ms=3 * LATENCY_MS), fault()) == 700 * MS
    assert as_before_ns(load(700, OK, latency_ms=1.5 * LATENCY_MS), fault()) == 0
    assert as_before_ns(load(SETTLED_MS + 400, FAILED), fault()) is None
    assert as_before_ns([one for one in load(0) if one.intended_ns >= BEGAN], fault()) is None


def test_a_fault_is_not_charged_with_what_went_wrong_before_it() -> None:
    found = cost_of([request(0, -100, FAILED), *load(0)])
    assert (found.lost, found.failed, found.as_before_ms) == (0, 0, 0)


@pytest.mark.parametrize("gap", [None, 12.5])
def test_a_cost_is_read_as_it_was_written(gap: float | None, tmp_path: Path) -> None:
    one = dataclasses.replace(cost_of(load(100)), gap_ms=gap, wrong="not recovered, after 20 s")
    file = tmp_path / "faults.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(dataclasses.asdict(one)))
        writer.writeheader()
        writer.writerow(dataclasses.asdict(one))
    with file.open(newline="") as written:
        assert [from_text(row) for row in csv.DictReader(written)] == [one]


def facts(**changes: object) -> Facts:
    quiet = dataclasses.replace(cost_of(load(0)), kind="nothing")
    done = Done(1, "round-001", 1, 0.4, 0, {})
    values = {"machines": [{"commit": "a"}], "options": {"rounds": 1}, "rounds": [done], "costs": [quiet]}
    return Facts(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": {"rounds": 2}}, "1 of 2 rounds are done"),
        ({"rounds": [Done(1, "round-001", 1, 7.5, 0, {})]}, "late at its p99 in round 1"),
        ({"rounds": [Done(1, "round-001", 1, 0.4, 2, {})]}, "went wrong without a fault in round 1"),
        ({"costs": [dataclasses.replace(cost_of(load(20)), kind="nothing")]}, "where nothing was done in round 3"),
        ({"machines": [{"commit": "a"}, {"commit": "b"}]}, "ran at different commits"),
    ],
)
def test_a_run_that_tells_nothing_says_why(changes: dict[str, object], reason: str) -> None:
    assert not judge.invalid(facts())
    (found,) = judge.invalid(facts(**changes))
    assert reason in found


def test_a_median_needs_twenty_faults_and_a_time_without_an_end_is_counted() -> None:
    assert judge.spread([1.0] * 19) == {"p50": None, "max": 1.0, "never": 0}
    assert judge.spread([*range(1, 21), None]) == {"p50": 10, "max": 20, "never": 1}


def test_a_full_run_takes_less_than_two_hours_and_every_kind_can_be_made() -> None:
    full, short = (Plan(1, MADE, number, 200, 100) for number in (30, 2))
    assert len({one.seed for one in rounds(full)}) == 30
    assert 30 * round_s(full) < 2 * 3600
    assert 2 * round_s(short) < 600
    assert set(MADE) <= set(FAULTS)


def a_run(folder: Path, late_ms: float = 0.4) -> Path:
    """A run of one round with one fault; returns the round's folder."""
    done = dataclasses.replace(facts().rounds[0], late_p99_ms=late_ms)
    (folder / done.name / "logs" / "nodes").mkdir(parents=True)
    records.write_requests(folder / done.name / "requests.csv", load(100))
    (folder / done.name / "faults.json").write_text(json.dumps([dataclasses.asdict(fault())]))
    scenario.append(folder / rows.RUN, "machine", commit="a", cores=2, cpu="x", kernel="6.1")
    options = {"rounds": 1, "kinds": ["kill-gateway"], "seed": 1, "target": "softswitch"}
    scenario.append(folder / rows.RUN, "options", **options)
    scenario.append(folder / rows.RUN, rows.ROUND, **dataclasses.asdict(done))
    return folder / done.name


def test_a_page_is_made_of_the_rows_beside_it_and_outlives_the_rounds(tmp_path: Path) -> None:
    run, published, again = tmp_path / "run", tmp_path / "page", tmp_path / "again"
    raw = a_run(run)
    done = CliRunner().invoke(main, ["failures", "--from", str(run), "--publish", str(published)])
    assert done.exit_code == 0, done.output
    hashes = json.loads((published / rows.MANIFEST).read_text())
    assert hashes == {f"{raw.name}/{name}": sha256((raw / name).read_bytes()).hexdigest() for name in rows.RAW}
    again.mkdir()
    for name in (rows.RUN, rows.FAULTS):
        shutil.copyfile(published / name, again / name)
    done = CliRunner().invoke(main, ["failures", "--from", str(again)])
    assert done.exit_code == 0, done.output
    summary = json.loads((again / page.SUMMARY).read_text())
    assert summary["kinds"]["kill-gateway"]["lost"] == 20
    for name in (page.SUMMARY, "failures.svg"):
        assert (again / name).read_text() == (published / name).read_text()
    for part in page.parts(summary):
        assert page.printed(part) in (published / page.PAGE).read_text()


def test_a_run_that_tells_nothing_is_not_published(tmp_path: Path) -> None:
    a_run(tmp_path / "run", late_ms=9)
    done = CliRunner().invoke(main, ["failures", "--from", str(tmp_path / "run"), "--publish", str(tmp_path / "page")])
    assert done.exit_code != 0
    assert "INVALID" in done.output
    assert not (tmp_path / "page").exists()
