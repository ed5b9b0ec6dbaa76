"""The congestion experiment: its plan, what its rows come to, and the load balancers that it compares with."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.fabric.file import load as load_fabric
from controller.nodes.components import pack_all
from controller.nodes.deployments import check
from experiments import scenario
from experiments.cli import main
from experiments.congestion import judge, rows
from experiments.congestion.command import CONGESTING, SIZES
from experiments.congestion.experiment import COMPONENTS, FABRIC
from experiments.congestion.following import Queues, Said
from experiments.congestion.rows import STEADY_US, WINDOW_US, Answer, Depth, Done, Window
from experiments.congestion.schedule import LEAD_S, STEADY_S, Plan, seconds, segments
from experiments.congestion.ways import WAYS, WORK, written
from experiments.detection.kinds import HERE, THERE
from experiments.migration.records import FAILED, LOST, OK, Request
from experiments.peers import proxies
from experiments.peers.agent import COLUMNS, answering
from experiments.peers.judgement import Judgement
from greengrass_agent.emitter.instance import COLUMNS as REPORT_COLUMNS
from greengrass_agent.logs.evidence import REPORTS
from hitless.steering.policies import Single
from hitless.wire.report import Report
from tests.ports import free_port

MS = 1_000
SECOND = 1_000 * MS

# The plan

plans = st.builds(
    Plan,
    seed=st.integers(0, 1000),
    ways=st.lists(st.sampled_from(sorted(WAYS)), min_size=1, unique=True).map(tuple),
    kinds=st.lists(st.sampled_from(CONGESTING), min_size=1, unique=True).map(tuple),
    rounds=st.integers(1, 5),
    windows=st.integers(1, 3),
)


@given(plans)
def test_each_round_has_each_way_once_and_all_of_them_meet_the_same(plan: Plan) -> None:
    found = list(segments(plan))
    assert found == list(segments(plan))
    assert [one.number for one in found] == list(range(1, plan.rounds * len(plan.ways) + 1))
    for at in range(plan.rounds):
        mine = found[at * len(plan.ways) :][: len(plan.ways)]
        assert sorted(one.way for one in mine) == sorted(plan.ways)
        assert len({(one.round, one.kind, one.leads_s) for one in mine}) == 1
        assert all(LEAD_S[0] <= lead <= LEAD_S[1] for lead in mine[0].leads_s)
    often = [sum(one.kind == kind for one in found[:: len(plan.ways)]) for kind in plan.kinds]
    assert max(often) - min(often) <= 1


def test_no_steady_request_was_sent_before_the_service_was_let_go() -> None:
    assert LEAD_S[0] >= STEADY_S


@pytest.mark.parametrize(("size", "minutes"), [("short", 10), ("full", 120)])
def test_a_size_takes_no_longer_than_it_may(size: str, minutes: float) -> None:
    assert seconds(Plan(1, tuple(WAYS), tuple(CONGESTING), *SIZES[size])) < 0.9 * minutes * 60


@pytest.mark.parametrize("name", WAYS)
def test_each_way_has_a_fabric_that_can_be_brought_up(name: str, tmp_path: Path) -> None:
    library = pack_all([COMPONENTS], "http://10.0.0.100:8080")
    for nodes in (WAYS[name].nodes, (THERE,)) if WAYS[name].redeploys else (WAYS[name].nodes,):
        file = tmp_path / "fabric.yaml"
        file.write_text(written(FABRIC.read_text(), WAYS[name], nodes))
        fabric = load_fabric(file)
        assert tuple(fabric.services[WORK].instances) == nodes
        check(fabric, library, at_node_addresses=False)


# The peers


def test_the_peers_are_configured_for_the_fabric() -> None:
    fabric = load_fabric(FABRIC)
    port = fabric.services[WORK].port
    assert str(fabric.hosts["proxy"].address) == proxies.ADDRESS
    for name, proxy in proxies.PROXIES.items():
        text = proxy.text()
        assert f"{proxies.ADDRESS}:{proxies.PORT}" in text
        assert f"{{$NODE}}:{port}" in text or all(
            f"{fabric.hosts[node].address}:{port}" in text for node in fabric.nodes
        )
        if proxy.program == "haproxy":
            agents = dict(re.findall(r"server (\w+) \S+ agent-port (\d+)", text))
            assert agents == {node: str(at) for node, at in proxies.AGENT_PORTS.items()}, name
            assert f"agent-addr {fabric.broker.host}" in text


def report(contention: int, backlog: int = 0) -> Report:
    numbers = {"service_id": 1, "node_id": 1, "epoch": 1, "sequence": 1, "concurrency": 3}
    return Report(**numbers, ready=True, contention=contention, backlog=backlog)


@given(st.lists(st.tuples(st.integers(0, 1000), st.sampled_from([10, 500, 4000])), max_size=60))
def test_a_node_is_congested_by_lasting_evidence_and_calm_after_the_dwell(felt: list[tuple[int, int]]) -> None:
    judgement, policy = Judgement((HERE, THERE)), Single()
    congested, evidence, now, last = False, 0, 0, 0
    for contention, after_ms in felt:
        now += after_ms * MS
        # A permille of contention is two of load: `single`'s own scoring.
        evidence = min(
            max(evidence + min(2 * contention, 3 * policy.margin) - policy.margin, 0), policy.enough_evidence
        )
        before = congested
        if evidence == policy.enough_evidence:
            congested, last = True, now
        elif evidence == 0 and now - last >= policy.dwell:
            congested = False
        assert judgement.report(now, HERE, report(contention)) == (before != congested)
        assert judgement.congested == ({HERE} if congested else set())


def test_a_node_without_work_stays_congested_until_the_dwell_is_over() -> None:
    judgement, dwell = Judgement((HERE, THERE)), Single().dwell
    judgement.report(0, HERE, report(0, backlog=2 * SECOND))
    assert not judgement.report(dwell - 1, HERE, report(0))
    assert judgement.congested == {HERE}
    assert judgement.report(dwell, HERE, report(0))
    assert judgement.congested == set()


def test_work_that_would_start_too_late_is_congestion_at_once() -> None:
    judgement = Judgement((HERE, THERE))
    assert judgement.report(0, HERE, report(0, backlog=2 * SECOND))
    assert judgement.answer(HERE) == b"drain\n"
    assert judgement.answer(THERE).startswith(b"ready")


def test_where_all_are_congested_the_first_of_them_drains_until_it_is_calm() -> None:
    judgement, dwell = Judgement((HERE, THERE)), Single().dwell
    for at, node in enumerate((HERE, THERE)):
        judgement.report(at, node, report(0, backlog=2 * SECOND))
        assert (judgement.answer(HERE), judgement.answer(THERE)) == (b"drain\n", b"ready up 100%\n")
    judgement.report(dwell, HERE, report(0))
    assert judgement.congested == {THERE}
    judgement.report(dwell, THERE, report(0, backlog=2 * SECOND))
    assert (judgement.answer(HERE), judgement.answer(THERE)) == (b"ready up 100%\n", b"drain\n")


def test_the_agent_answers_for_each_node_at_its_port() -> None:
    judgement = Judgement((HERE, THERE))
    judgement.report(0, HERE, report(0, backlog=2 * SECOND))

    async def asked() -> list[bytes]:
        ports = {HERE: free_port(), THERE: free_port()}
        servers = await answering(judgement, "127.0.0.1", ports)
        found = []
        for port in ports.values():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            found.append(await reader.read())
            writer.close()
        for server in servers:
            server.close()
        return found

    assert asyncio.run(asked()) == [b"drain\n", b"ready up 100%\n"]


def test_what_the_agent_says_of_nodes_is_heard_as_it_says_it(tmp_path: Path) -> None:
    log = tmp_path / "agent.csv"
    said = Said(log)
    assert not said.begun()
    assert said.congested() == set()
    log.write_text(f"{','.join(COLUMNS)}\n1,{HERE},1\n2,{THERE},1\n3,{HERE},")
    assert said.begun()
    assert said.congested() == {HERE, THERE}
    with log.open("a") as file:
        file.write("0\n")
    assert said.congested() == {THERE}


def test_queues_are_taken_from_the_reports_of_the_service(tmp_path: Path) -> None:
    (tmp_path / HERE).mkdir()
    one, line = Window(7, 10 * SECOND * 1000, 13 * SECOND * 1000), [0] * len(REPORT_COLUMNS)
    for name, depth in ((WORK, 4), ("another", 9)):
        line[REPORT_COLUMNS.index("emitted_ns")], line[REPORT_COLUMNS.index("queue_depth")] = one.began_ns, depth
        text = f"{','.join(REPORT_COLUMNS)}\n{','.join(map(str, line))}\n1,2,torn"
        REPORTS.path(tmp_path / HERE, name).write_text(text)
    queues = Queues(tmp_path)
    assert queues.of([one]) == {7: {HERE: [Depth(0, 4)]}}
    assert queues.of([one]) == {7: {HERE: []}}


# The judge


def answered(at_us: int, latency_ms: float, node: str = HERE) -> Answer:
    return Answer(at_us, 50, round(latency_ms * MS), node, OK)


def window(
    after_us: int | None, congested_ms: float = 300.0, steady_ms: float = 5.0, every_us: int = 20 * MS
) -> list[Answer]:
    """Requests of a window: from the disturbance on they take longer, until they go to the other node."""
    found = []
    for at in range(-STEADY_US, WINDOW_US, every_us):
        moved = after_us is not None and at >= after_us
        slow = at >= 0 and not moved
        found.append(answered(at, congested_ms if slow else steady_ms, THERE if moved else HERE))
    return found


def folder_of(folder: Path, ways: dict[str, Callable[[int], list[Answer]]], rounds: int = 4) -> Path:
    """An experiment's folder with two windows a round of each way, which gives a window's requests by its number."""
    folder.mkdir(parents=True, exist_ok=True)
    scenario.append(folder / rows.RUN, "machine", cores=2, commit="abc")
    scenario.append(
        folder / rows.RUN,
        "options",
        seed=1,
        ways=list(ways),
        kinds=["cpu-inside"],
        rounds=rounds,
        windows=2,
        target="",
        load=50,
    )
    scenario.append(folder / rows.RUN, "cost", ns=4_000_000)
    number = windows = 0
    for at in range(1, rounds + 1):
        for name, made in ways.items():
            number += 1
            some = (Window(windows + 1, SECOND, 4 * SECOND), Window(windows + 2, SECOND, 4 * SECOND))
            windows += 2
            rows.add(
                folder,
                Done(number, at, name, "cpu-inside", some, 0.0, 0.1, 0.0, (0, 0)),
                {one.number: made(one.number) for one in some},
                {one.number: {HERE: [Depth(-STEADY_US, 0), Depth(SECOND, 7), Depth(2 * SECOND, 0)]} for one in some},
            )
    return folder


def test_what_stands_in_the_rows_is_what_was_written(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"steered": lambda _: window(SECOND), "static": lambda _: window(None)})
    facts = rows.read(folder)
    assert [one.number for one in facts.done] == list(range(1, 9))
    assert facts.answers[1] == window(SECOND)
    assert facts.answers[3] == window(None)
    assert facts.depths[16][HERE][1] == Depth(SECOND, 7)
    assert facts.cost_ns == 4_000_000


def test_a_segment_that_was_not_ended_leaves_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"steered": lambda _: window(SECOND)})
    before = rows.read(folder)
    rows.add_table(folder / rows.REQUESTS, rows.REQUEST_COLUMNS, [(9, 1, 1, 1, HERE, OK)])
    rows.cut(folder, before.done)
    assert rows.read(folder) == before
    rows.cut(folder, [])
    assert (folder / rows.REQUESTS).stat().st_size == 0


def test_a_window_has_the_requests_that_were_to_be_sent_in_it() -> None:
    one = Window(1, 10_000 * SECOND, 10_003 * SECOND)

    def request(at_us: int, latency_us: int | None = 3) -> Request:
        intended = one.began_ns + at_us * 1000
        received = None if latency_us is None else intended + latency_us * 1000
        return Request(1, 1, WORK, intended, intended + 2000, received, HERE, OK if received else LOST, 1)

    asked = [request(WINDOW_US), request(0), request(-STEADY_US), request(-STEADY_US - 1), request(WINDOW_US - 1, None)]
    assert list(rows.answers(one, asked)) == [
        Answer(-STEADY_US, 2, 3, HERE, OK),
        Answer(0, 2, 3, HERE, OK),
        Answer(WINDOW_US - 1, 2, None, HERE, LOST),
    ]


@given(st.lists(st.tuples(st.integers(-3_000, 6_000), st.integers(0, 3)), max_size=40).map(sorted))
def test_a_queue_is_told_whenever_it_changes(reported: list[tuple[int, int]]) -> None:
    one = Window(1, 10 * SECOND * 1000, 13 * SECOND * 1000)
    found = list(rows.depths(one, ((one.began_ns + at * MS * 1000, queue) for at, queue in reported)))
    assert all(before.queue != after.queue for before, after in pairwise(found))
    inside = [(at * MS, queue) for at, queue in reported if -STEADY_US <= at * MS < WINDOW_US]
    for at, queue in dict(inside).items():
        assert [one.queue for one in found if one.at_us <= at][-1] == queue


@settings(max_examples=30)
@given(st.integers(1, 240), st.floats(20, 4000))
def test_a_window_tells_when_the_node_was_left_and_what_it_cost(moved: int, congested_ms: float) -> None:
    after_us = moved * 20 * MS
    one = judge.judged("steered", 1, window(after_us, congested_ms), {})
    assert not one.early
    left = one.left_ms
    # Fewer requests than it takes to tell are left at the end of the window.
    assert left == pytest.approx(after_us / 1000, abs=20.1) if moved <= 230 else left is None
    excess = congested_ms - 5
    assert judge.area(one.inside, 5.0) == pytest.approx(excess * after_us / SECOND, rel=1e-3)


def test_a_node_that_still_gets_one_request_of_five_was_not_left() -> None:
    # The last one of them, at 1.9 s, is one of twenty from 1.82 s on.
    some = [
        replace(one, node=HERE) if one.at_us < 2 * SECOND and one.at_us // (20 * MS) % 5 == 0 else one
        for one in window(SECOND)
    ]
    assert judge.judged("steered", 1, some, {}).left_ms == 1820


def test_a_request_that_nobody_answered_counts_as_one_that_took_all_patience() -> None:
    broken = [replace(one, latency_us=None, outcome=LOST) if one.at_us == 0 else one for one in window(None, 5.0)]
    broken = [replace(one, outcome=FAILED) if one.at_us == SECOND else one for one in broken]
    one = judge.judged("static", 1, broken, {})
    assert (one.lost, one.failed) == (1, 1)
    assert sorted(one.inside)[-2:] == [judge.PATIENCE_MS, judge.PATIENCE_MS]
    assert judge.area(one.inside, 5.0) == pytest.approx(2 * (judge.PATIENCE_MS - 5) * 5 / 250)


def test_a_window_that_began_elsewhere_counts_where_one_node_has_all_requests() -> None:
    elsewhere = [replace(one, node=THERE) if one.at_us == -20 * MS else one for one in window(SECOND)]
    assert judge.judged("steered", 1, elsewhere, {}).early
    assert not judge.judged("haproxy", 1, elsewhere, {}).early


def test_the_longest_queue_of_a_window_is_that_of_any_node() -> None:
    depths = {HERE: [Depth(-STEADY_US, 30), Depth(-MS, 0), Depth(SECOND, 9)], THERE: [Depth(2 * SECOND, 12)]}
    assert judge.judged("static", 1, window(None), depths).peak == 12
    found = judge.longest_by_bin(depths[HERE])
    assert found[0] == 30
    assert found[STEADY_US // judge.BIN_US] == 0
    assert set(found[(STEADY_US + SECOND) // judge.BIN_US :]) == {9}


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=2000), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_one_of_the_values_and_needs_enough_of_them(values: list[float], q: float) -> None:
    found = judge.quantile(np.array(values), q)
    if len(values) * (1 - q) < 10 - 1e-9:
        assert found is None
    else:
        assert found == sorted(values)[ceil(q * len(values) - 1e-9) - 1]


def test_a_way_is_compared_with_the_steered_one_round_by_round() -> None:
    mine = {at: [np.full(600, 10.0 * at)] for at in (1, 2, 3, 4)}
    base = {at: [np.full(600, 5.0 * at)] for at in (1, 2, 3, 4, 5)}
    found = judge.ratio(mine, base, 0.99)
    assert found is not None
    # However rounds are drawn, each of them is twice as slow.
    assert found == (2.0, (2.0, 2.0))


def test_the_command_judges_rows_alone(tmp_path: Path) -> None:
    ways = {
        "steered": lambda number: window((100 + 20 * (number % 3)) * MS),
        "static": lambda number: window(None, 300.0 + number),
    }
    folder = folder_of(tmp_path / "run", ways)
    found = CliRunner().invoke(main, ["congestion", "--from", str(folder)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert "INVALID" not in found.output
    summary = json.loads((folder / "summary.json").read_text())
    assert summary == judge.summarise(rows.read(folder))
    steered, static = summary["ways"]["steered"], summary["ways"]["static"]
    assert steered["windows"] == static["windows"] == 8
    assert steered["left_ms"] == pytest.approx(120, abs=21)
    assert static["left_ms"] is None
    assert static["late"] == static["window_ms"]["requests"] == 2000
    assert static["p99_to_steered"] == pytest.approx(static["window_ms"]["p99"] / steered["window_ms"]["p99"], rel=1e-3)
    assert static["queue"] == {"p50": 7, "max": 7}
    low, high = static["area_interval"]
    assert low <= static["area_ms_s"] <= high
    assert (folder / "congestion.svg").stat().st_size > 10_000


def test_a_run_in_which_nothing_was_congested_is_invalid(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"static": lambda _: window(None, 6.0)})
    assert [one for one in judge.summarise(rows.read(folder))["invalid"] if "nothing was congested" in one]


def test_a_run_whose_requests_left_late_is_invalid(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"steered": lambda _: [replace(one, late_us=6 * MS) for one in window(SECOND)]})
    summary = judge.summarise(rows.read(folder))
    assert [one for one in summary["invalid"] if "6 ms late" in one]


def test_what_is_no_experiment_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / rows.RUN).write_text('{"row": "else"}\n')
    found = CliRunner().invoke(main, ["congestion", "--from", str(tmp_path)])
    assert found.exit_code == 1
    assert "line 1" in found.output
