"""The detection experiment: what it plans, what its raw rows come to, and that what disturbs is undone."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from controller.fabric.file import load as load_fabric
from controller.nodes.components import pack_all
from controller.nodes.deployments import check
from controller.operator.documents import InstanceStatus, ServiceStatus
from experiments import scenario
from experiments.cli import main
from experiments.detection import ground, hog, judge, rows, table
from experiments.detection.causes import prepared
from experiments.detection.experiment import COMPONENTS, FABRIC
from experiments.detection.ground import Ground
from experiments.detection.judge import Outcome, group, grown_since, quantile, steady_p99, summarise
from experiments.detection.kinds import BACK, FRONT, HERE, KINDS, THERE, Need, Throttle, impossible
from experiments.detection.loop import better
from experiments.detection.rows import Depth, Facts, Ran, Rested
from experiments.detection.schedule import LEAD_S, Plan, Rest, Run, seconds, steps
from experiments.detection.variants import VARIANTS, dwell_s, written
from experiments.migration.records import LOST, OK, Execution, Request, write_requests
from experiments.names import chosen
from greengrass_agent.host.cgroup import Group
from hitless.steering.policies import Single
from tests.patience import until
from topologies.testbed import REPOSITORY_ROOT, Testbed

MS = 1_000_000
SECOND = 1000 * MS

# The plan

names = st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True).map(tuple)
plans = st.builds(
    Plan,
    seed=st.integers(0, 1000),
    variants=names,
    kinds=names,
    runs=st.integers(0, 4),
    loads=st.just((30, 50)),
    rest_s=st.sampled_from((0.0, 60.0, 1200.0)),
)


@given(plans)
def test_each_variant_meets_each_kind_once_a_round_and_rests_as_long_as_asked(plan: Plan) -> None:
    found = list(steps(plan))
    assert found == list(steps(plan)), "the same seed, the same experiment"
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    runs = [one for one in found if isinstance(one, Run)]
    a_round = len(plan.variants) * len(plan.kinds)
    for begin in range(0, len(runs), a_round):
        pairs = Counter((one.variant, one.kind) for one in runs[begin : begin + a_round])
        assert set(pairs.values()) == {1}
        assert len(pairs) == a_round
    assert len(runs) == plan.runs * a_round
    assert all(LEAD_S[0] <= one.lead_s <= LEAD_S[1] for one in runs)
    rests = [one for one in found if isinstance(one, Rest)]
    for variant in plan.variants:
        for load in plan.loads:
            mine = [one.seconds for one in rests if (one.variant, one.load) == (variant, load)]
            assert sum(mine) == pytest.approx(plan.rest_s)
    assert found == [*runs, *rests]
    assert seconds(plan, dict.fromkeys(plan.variants, 3.0)) >= 3 * len(runs) + sum(one.seconds for one in rests)


def test_another_seed_is_another_order() -> None:
    plan = Plan(1, ("default",), tuple(KINDS), 3, (), 0)
    assert list(steps(plan)) != list(steps(Plan(2, *(getattr(plan, name) for name in Plan.__slots__[1:]))))


def test_names_are_taken_from_a_list_and_unknown_ones_are_named() -> None:
    assert chosen("b,a b", "abc") == ("b", "a")
    assert chosen("all", "abc") == chosen("", "abc") == ("a", "b", "c")
    with pytest.raises(ValueError, match="d: expected some of a, b, c"):
        chosen("a,d", "abc")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_a_fabric_file_without_a_mistake(name: str, tmp_path: Path) -> None:
    file = tmp_path / "fabric.yaml"
    file.write_text(written(FABRIC.read_text(), VARIANTS[name]))
    fabric = load_fabric(file)
    check(fabric, pack_all([COMPONENTS], "http://10.0.0.100:8080"), at_node_addresses=False)
    for service in (FRONT, BACK):
        policy = fabric.services[service].policy
        assert isinstance(policy, Single)
        assert policy.dwell == dwell_s(VARIANTS[name]) * 1e6
        assert policy.margin == VARIANTS[name].single.get("margin", Single().margin)


def test_a_kind_that_a_machine_cannot_do_is_named_with_the_reason() -> None:
    assert dict(impossible(KINDS, frozenset(Need))) == {}
    left_out = dict(impossible(KINDS, frozenset(Need) - {Need.SECOND_CORE, Need.DISK}))
    assert set(left_out) == {"cpu-outside", "io", "slow-disk"}
    assert "second core" in left_out["cpu-outside"]


# What the raw rows come to


def request(at_ms: float, node: str = HERE, latency_ms: float = 5.0, **changes: Any) -> Request:
    at = round(at_ms * MS)
    values = {"received_ns": at + round(latency_ms * MS), "node": node, "outcome": OK} | changes
    return Request(round(at_ms * 10), 7, FRONT, at, at, values["received_ns"], values["node"], values["outcome"], 1)


def facts(requests: Sequence[Request], runs: Iterable[Ran] = (), rests: Iterable[Rested] = ()) -> Facts:
    options = {"variants": ["default"], "kinds": list(KINDS), "seed": 1, "load": 50, "bound_s": 3.0, "left_out": {}}
    executions = [Execution(7, one.id, FRONT, one.node, one.sent_ns) for one in requests if one.node is not None]
    return Facts({}, options, list(runs), list(rests), list(requests), executions)


def disturbed(kind: str = "stopped", note: str = "") -> Ran:
    """A disturbance from 10 to 11 s, after ten steady ones."""
    return Ran(1, "default", kind, 0, 9 * SECOND, 10 * SECOND, 11 * SECOND, note)


UNREPORTED: dict[str, list[tuple[Depth, ...]]] = {FRONT: [()], BACK: [()]}
"""One run without reports."""


def load(moved_ms: float | None, slow_ms: float = 5.0) -> list[Request]:
    """A request every 5 ms; slow ones from 10 s on until the service moves."""
    found = []
    for at in range(0, 11_000, 5):
        elsewhere = moved_ms is not None and at >= moved_ms
        found.append(request(at, THERE if elsewhere else HERE, slow_ms if at >= 10_000 and not elsewhere else 5.0))
    return found


def judged(kind: str, requests: Sequence[Request], depths: Sequence[Depth] = (), note: str = "") -> dict[str, Any]:
    run = disturbed(kind, note)
    (found,) = summarise(facts(requests, [run]), {FRONT: [depths], BACK: [depths]})["runs"]
    return dict(found)


def test_a_disturbance_is_found_by_the_first_request_that_another_node_served() -> None:
    depths = [Depth(at * 10 * MS, 9 if at >= 1004 else 1) for at in range(1100)]
    found = judged("stopped", load(10_120, slow_ms=100), depths)
    assert (found["found_ms"], found["queue_ms"]) == (120, 80), "and 80 ms after the queue began to grow"
    assert (found["late"], found["requests"]) == (24, 24)
    assert not found["early"]


def test_a_request_that_was_not_answered_is_late() -> None:
    requests = [
        request(one.sent_ns / MS, received_ns=None, node=None, outcome=LOST) if one.sent_ns == 10 * SECOND else one
        for one in load(10_050)
    ]
    assert judged("stopped", requests)["late"] == 1


def test_a_move_before_the_disturbance_tells_nothing_of_it() -> None:
    found = judged("stopped", load(9_500))
    assert (found["early"], found["found_ms"]) == (True, None)


def test_what_is_not_found_is_missed_only_if_it_made_requests_late() -> None:
    runs = [disturbed()]
    for slow_ms, missed, harmless in ((100.0, 1, 0), (5.0, 0, 1)):
        summary = summarise(facts(load(None, slow_ms), runs), UNREPORTED)
        row = summary["variants"]["default"]["kinds"]["stopped"]
        assert (row["found"], row["missed"], row["harmless"]) == (0, missed, harmless)
    assert summary["steady_p99_ms"] == 5


def test_a_slow_called_function_is_found_when_one_of_the_two_moves_and_another_kind_when_its_service_does() -> None:
    moved = [Execution(9, at, BACK, HERE if at < 10_300 else THERE, at * MS) for at in range(0, 11_000, 20)]
    for kind, front_moved_ms, expected in (
        ("downstream", 10_040, 40),
        ("downstream", 10_700, 300),
        ("downstream", None, 300),
        ("stopped", 10_700, 700),
        ("stopped", None, None),
    ):
        found = facts(load(front_moved_ms), [disturbed(kind)])
        rows_of_both = Facts({}, found.options, found.runs, [], found.requests, [*found.executions, *moved])
        assert summarise(rows_of_both, UNREPORTED)["runs"][0]["found_ms"] == expected


def test_a_bad_minute_of_the_machine_does_not_say_what_is_steady() -> None:
    runs = [[5.0] * 280 for _ in range(40)]
    runs[17] = [5.0] * 100 + [1500.0] * 180
    assert steady_p99(runs) == 5.0
    assert steady_p99(runs[:3]) is None


def test_a_run_with_a_note_counts_for_nothing() -> None:
    found = Outcome(1, "default", "stopped", 50.0, 20.0, 3, 10, 1, False, "there was no worker")
    row = group([found])
    assert (row["runs"], row["failed"], row["found"], row["found_ms"]["max"]) == (1, 1, 0, None)


def test_moves_at_rest_are_told_by_the_hour_and_none_with_its_bound() -> None:
    half_an_hour = 1800 * SECOND
    there_and_back = [request(at, THERE if 4000 <= at < 8000 else HERE) for at in range(0, 12_000, 20)]
    rests = [Rested(1, "default", 30, 0, 0, half_an_hour, 29.5)]
    row = summarise(facts(there_and_back, rests=rests), {FRONT: (), BACK: ()})["variants"]["default"]
    assert row["rest"]["30"] == {"hours": 0.5, "used": 29.5, "moves": 2, "an_hour": 4.0, "bound_95": None}
    quiet = [request(at) for at in range(0, 1000, 20)]
    row = summarise(facts(quiet, rests=rests), {FRONT: (), BACK: ()})["variants"]["default"]
    assert row["rest"]["30"]["bound_95"] == 6.0
    assert table.an_hour(row["rest"]["30"]) == "<6"


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 8))
def test_a_queue_grows_since_its_last_normal_report(depths: list[int], normal: int) -> None:
    reports = [Depth(10 * number, depth) for number, depth in enumerate(depths)]
    until_ns = 10 * len(depths) // 2
    since = grown_since(reports, normal, until_ns)
    heard = [one for one in reports if one.emitted_ns <= until_ns]
    if since is None:
        assert not heard or heard[-1].requests <= normal
    else:
        assert all(one.requests > normal for one in heard if one.emitted_ns >= since)
        assert all(one.requests <= normal for one in heard if one.emitted_ns == since - 10)


@given(st.lists(st.floats(0, 1000), max_size=3000), st.sampled_from((0.5, 0.99)))
def test_a_quantile_of_too_few_is_none(values: list[float], q: float) -> None:
    found = quantile(values, q)
    if found is None:
        assert len(values) * (1 - q) < 10
    else:
        assert len(values) * (1 - q) > 9.99
        assert sum(one <= found for one in values) >= q * len(values) - 1e-6
        assert sum(one < found for one in values) <= q * len(values)


# From a folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as an experiment leaves it."""
    found = facts(load(10_120, slow_ms=100), [disturbed()])
    scenario.append(tmp_path / rows.ROWS, "machine", cores=2)
    scenario.append(tmp_path / rows.ROWS, "options", **found.options)
    rows.add(tmp_path, found.runs[0])
    rows.add(tmp_path, Rested(2, "default", 30, 0, 0, 9 * SECOND, 29.5))
    half = len(found.requests) // 2
    for number, some in enumerate((found.requests[half:], found.requests[:half])):
        write_requests(tmp_path / f"load-{number}.csv", some)
    for node in (HERE, THERE):
        (tmp_path / "logs" / "nodes" / node).mkdir(parents=True)
        with (tmp_path / "logs" / "nodes" / node / f"executions-{FRONT}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("client_id", "request_id", "service", "node", "received_ns", "finished_ns", "status"))
            mine = [one for one in found.executions if one.node == node]
            writer.writerows(
                (one.client_id, one.request_id, FRONT, node, one.received_ns, one.received_ns + MS, 200) for one in mine
            )
    with (tmp_path / "logs" / "nodes" / HERE / f"reports-{FRONT}.csv").open("w") as reports:
        reports.write("emitted_ns,queue_depth\n")
        reports.writelines(f"{at * 10 * MS},{9 if at >= 1004 else 1}\n" for at in range(1100))
        reports.write("10990000000,")  # torn
    return tmp_path


def test_table_summary_and_picture_are_made_from_raw_rows_alone(folder: Path) -> None:
    done = CliRunner().invoke(main, ["detection", "--from", str(folder)])
    assert done.exit_code == 0, done.output
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["runs"][0]["found_ms"], summary["runs"][0]["queue_ms"]) == (120, 80)
    assert summary["variants"]["default"]["rest"]["30"]["moves"] == 0
    assert (folder / "detection.svg").read_text().lstrip().startswith("<?xml")
    assert (folder / "detection.png").stat().st_size > 1000
    lines = done.output.splitlines()
    assert any(line.startswith("stopped") and " 120 " in line for line in lines)
    assert max(len(line) for line in lines if not line.startswith("results:")) <= 80


def test_what_is_no_experiment_and_what_is_no_kind_is_said_in_a_sentence(tmp_path: Path) -> None:
    none = CliRunner().invoke(main, ["detection", "--from", str(tmp_path)])
    assert none.exit_code == 1
    assert "not an experiment's raw rows" in none.output
    unknown = CliRunner().invoke(main, ["detection", "--only", "stopped,cpu"])
    assert unknown.exit_code == 2
    assert "cpu: expected some of cpu-inside" in " ".join(unknown.output.split())


# Disturbing


@pytest.mark.parametrize(
    ("files", "limit", "kept"),
    [
        ({"memory.limit_in_bytes": "500\n", "memory.stat": "cache 7\nrss 1\ntotal_rss 90\n"}, 500, 90),
        ({"memory.max": "600\n", "memory.stat": "anon 80\nfile 9\n"}, 600, 80),
    ],
)
def test_a_memory_limit_and_what_is_kept_are_read(files: dict[str, str], limit: int, kept: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert (hog.limit(tmp_path), hog.kept(tmp_path)) == (limit, kept)


def test_a_replaced_value_comes_back_whatever_happens(tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text("max 100000\n")
    with pytest.raises(KeyboardInterrupt), ground.replaced(file, "1000 100000\n"):
        assert file.read_text() == "1000 100000\n"
        raise KeyboardInterrupt
    assert file.read_text() == "max 100000\n"
    with ground.replaced(file, "1000 100000\n"):
        file.unlink()
        tmp_path.chmod(0o700)


class OnFiles(Ground):
    """A node whose control groups are plain files."""

    place: Group

    def group(self, node: str, service: str) -> Group:
        return self.place


@pytest.mark.parametrize(
    ("version", "before", "during"),
    [
        (
            1,
            {"cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "-1"},
            {"cpu.cfs_period_us": 100_000, "cpu.cfs_quota_us": 8000},
        ),
        (2, {"cpu.max": "max 10000"}, {"cpu.max": "8000 100000"}),
    ],
)
def test_a_throttled_function_gets_a_part_of_what_it_needs_and_all_of_it_again(
    version: int, before: dict[str, str], during: dict[str, Any], tmp_path: Path
) -> None:
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    stage = OnFiles(cast("Testbed", None), per_second=100, cost_ns={FRONT: 2e6})
    stage.place = Group.unified(tmp_path) if version == 2 else Group.split(tmp_path, tmp_path)

    def there() -> dict[str, str]:
        return {name: (tmp_path / name).read_text().strip() for name in before}

    async def disturb() -> None:
        async with prepared(Throttle(of_need=0.4), stage) as begin:
            assert there() == before, "nothing has begun"
            assert await begin() <= time.monotonic_ns()
            assert there() == {name: str(value) for name, value in during.items()}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(disturb())
    assert there() == before


def test_the_functions_files_are_there_for_the_time_of_the_block(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ground.files((HERE, THERE), data):
        assert (data / THERE / "blocks").stat().st_size == ground.BLOCKS
        assert int((data / HERE / "rounds").read_text()) == ground.ROUNDS
    assert not data.exists()


def test_what_disturbs_waits_until_it_is_told_to_and_ends_with_all_its_processes() -> None:
    command = [sys.executable, "-m", "experiments.detection.hog", "cpu", "--processes", "2"]
    process = subprocess.Popen(command, cwd=REPOSITORY_ROOT, stdout=subprocess.DEVNULL)
    stat, children = Path(f"/proc/{process.pid}/stat"), Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it stands still when it is ready")
        assert children.read_text() == ""
        os.kill(process.pid, signal.SIGCONT)
        (child,) = until(lambda: children.read_text().split(), "it has begun")
        process.terminate()
        assert process.wait(10) == 0
        until(lambda: not Path(f"/proc/{child}").exists(), "its processes end with it")
    finally:
        process.kill()
        process.wait()


def test_the_judge_names_what_it_judges() -> None:
    with pytest.raises(ValueError, match="no request"):
        judge.summarise(facts([]), {FRONT: (), BACK: ()})


# The orchestrator's loop


def ranked(host: str | None, **ranks: int) -> ServiceStatus:
    instances = {
        node: InstanceStatus.model_construct(rank=rank, eligible=rank > 0)  # what a loop looks at
        for node, rank in ranks.items()
    }
    return ServiceStatus.model_construct(host=host, instances=instances)


def test_a_loop_moves_a_service_that_is_better_off_elsewhere_by_more_than_the_margin() -> None:
    assert better(ranked("a", a=60_000, b=60_401, c=60_500), margin=400) == "c"
    assert better(ranked("a", a=60_000, b=60_400), margin=400) is None
    assert better(ranked("b", a=60_000, b=60_500), margin=400) is None


def test_a_loop_leaves_a_host_that_cannot_serve_for_whoever_can() -> None:
    assert better(ranked("a", a=0, b=60_000), margin=400) == "b"
    assert better(ranked("a", a=0, b=0), margin=400) is None
    assert better(ranked(None, a=5, b=9), margin=0) is None
