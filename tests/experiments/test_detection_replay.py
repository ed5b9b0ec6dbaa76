"""What other settings would have made of recorded reports, against what a switch's model makes of them itself."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from experiments import scenario
from experiments.cli import main
from experiments.detection import rows
from experiments.detection.experiment import FABRIC
from experiments.detection.kinds import BACK, FRONT, HERE, KINDS, THERE
from experiments.detection.replay import RUN, WARM_UP_NS, Span, Told, filled, first_move
from experiments.detection.rows import Ran, Rested
from experiments.migration.records import OK, Request, write_requests
from greengrass_agent.emitter.instance import COLUMNS
from hitless.steering.policies import Single
from hitless.steering.settings import InstanceSettings, Settings
from hitless.wire.report import Report

MS = 1_000_000
SECOND = 1000 * MS
INTERVAL = 10 * MS
RELEASED, BEGAN, ENDED = 10 * SECOND, 11 * SECOND, 12 * SECOND
"""A run, whose reports begin with its warm-up."""
REPORTS = range(RELEASED - WARM_UP_NS, ENDED, INTERVAL)


def told(contention: Callable[[int], int]) -> Iterator[Told]:
    """Reports of the member 0 with this contention at each time, and of a member 1 that has none."""
    for number, at in enumerate(REPORTS, 1):
        for member in (0, 1):
            felt = 0 if member else contention(at)
            report = Report(
                service_id=1,
                node_id=member,
                epoch=1,
                sequence=number,
                ready=True,
                service_interval=1000,
                contention=felt,
            )
            yield at + member, member, report


def busy(since: int) -> Callable[[int], int]:
    return lambda at: 400 if at >= since else 0


def move(contention: Callable[[int], int], policy: Single) -> int | None:
    span = Span(RUN, 0, 0, RELEASED, ENDED, list(told(contention)))
    return first_move(span, Settings(policy=policy, instances={0: InstanceSettings(1), 1: InstanceSettings(1)}))


@pytest.mark.parametrize("evidence", [0, 5, 20])
def test_a_move_comes_with_as_many_reports_of_a_busy_host_as_the_variant_wants(evidence: int) -> None:
    # Twice 400 permille is 800, twice the margin: each report is a whole piece of evidence.
    found = move(busy(BEGAN), Single(evidence=evidence))
    assert found is not None
    reports = (found - BEGAN) // INTERVAL + 1
    assert reports == max(evidence, 1)


def test_what_comes_before_the_release_moves_nothing_until_then() -> None:
    assert move(busy(RELEASED - SECOND), Single(evidence=0)) == RELEASED
    assert move(lambda at: 400 if at < RELEASED - SECOND else 0, Single()) is None


def test_a_margin_beyond_all_that_was_felt_never_moves() -> None:
    assert move(busy(BEGAN), Single(margin=801)) is None


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), min_size=1, max_size=8).map(sorted),
    st.lists(st.integers(0, 90), max_size=60).map(sorted),
)
def test_each_span_gets_the_reports_of_its_time(times: list[tuple[int, int]], emitted: list[int]) -> None:
    wanted = [Span(RUN, at, 0, begin * SECOND, (begin + length) * SECOND) for at, (begin, length) in enumerate(times)]
    report = Report(service_id=1, node_id=0, epoch=1, sequence=1, ready=True)
    found = {span.number: span for span in filled(((at * SECOND, 0, report) for at in emitted), wanted)}
    for span in wanted:
        inside = [at * SECOND for at in emitted if span.released_ns - WARM_UP_NS <= at * SECOND <= span.ended_ns]
        given_to = [one[0] for one in found[span.number].told] if span.number in found else []
        assert given_to == inside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An experiment of one run and a minute at rest, whose host was busy in the run and once at rest."""
    (tmp_path / "fabric.yaml").write_text(FABRIC.read_text())
    scenario.append(tmp_path / rows.ROWS, "machine", cores=2)
    scenario.append(
        tmp_path / rows.ROWS, "options", seed=1, variants=["default"], kinds=list(KINDS), load=50, left_out={}
    )
    rows.add(tmp_path, Ran(1, "default", "cpu-inside", RELEASED - SECOND, RELEASED, BEGAN, ENDED))
    rows.add(tmp_path, Rested(2, "default", 30, 20 * SECOND, 20 * SECOND, 140 * SECOND, 29.5))
    write_requests(
        tmp_path / "load-1.csv",
        [
            Request(number, 1, service, at, at, at + MS, HERE, OK, 1)
            for number, (service, at) in enumerate(
                (name, at) for name in (FRONT, BACK) for at in (9 * SECOND, 19 * SECOND)
            )
        ],
    )
    for node in (HERE, THERE):
        logs = tmp_path / "logs" / "nodes" / node
        logs.mkdir(parents=True)
        executed = logs / f"executions-{FRONT}.csv"
        executed.write_text("client_id,request_id,service,node,received_ns,finished_ns,status\n")
        if node == HERE:
            with executed.open("a", newline="") as file:
                csv.writer(file).writerows(
                    (1, number, service, HERE, at, at + MS, 200)
                    for number, (service, at) in enumerate(
                        (name, at) for name in (FRONT, BACK) for at in (9 * SECOND, 19 * SECOND)
                    )
                )
        for service in (FRONT, BACK):
            with (logs / f"reports-{service}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, restval=0)
                writer.writeheader()
                for number, at in enumerate(range(5 * SECOND, 141 * SECOND, INTERVAL)):
                    disturbed = node == HERE and service == FRONT and (BEGAN <= at < ENDED or at // SECOND == 100)
                    values = {"ready": 1, "concurrency": 1, "service_interval": 1000, "contention": 400 * disturbed}
                    writer.writerow({"epoch": 1, "sequence": number, "emitted_ns": at, **values})
    return tmp_path


def test_recorded_reports_are_judged_anew_from_the_command_line(folder: Path) -> None:
    found = CliRunner().invoke(
        main, ["detection", "--replay", str(folder), "--variants", "default,evidence-20,queue"], catch_exceptions=False
    )
    assert found.exit_code == 0, found.output
    figures = json.loads((folder / "replay.json").read_text())
    assert figures["default"]["found"] == 1
    assert figures["default"]["found_ms"]["max"] == 40
    assert figures["evidence-20"]["found_ms"]["max"] == 190
    assert figures["queue"]["found"] == 0, "contention is nothing to the queue alone"
    assert figures["default"]["rest"] == {"30": {"minutes": 4, "moved": 1}}
    assert figures["queue"]["rest"] == {"30": {"minutes": 4, "moved": 0}}
    assert "evidence-20" in found.output
    assert "1 of 4" in found.output


def test_what_is_no_experiment_is_said_in_a_sentence(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["detection", "--replay", str(tmp_path)])
    assert found.exit_code == 1
    assert "not an experiment's raw rows" in found.output
