"""What a run shows is judged from its rows alone: INVALID where they tell of the machine, null where they are few."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from experiments.cli import main
from experiments.migration import folder, records, report, samples, table
from experiments.migration.figures import QUANTILES, figures, interval, samples_for
from experiments.migration.judge import AFTER, STEADY, WINDOW, judge_cycle, judged_cycles, summarise
from experiments.migration.measure import SECOND
from experiments.migration.records import FAILED, LOST, Load
from experiments.migration.samples import MachineSample
from experiments.migration.verdict import broken, verdict
from tests.experiments.migration_rows import CYCLE_MS, MS, TRIGGER_MS, cycles, evidence, request, steered

SWITCH, UNSTEERED = ["in-network"] * 10, ["unsteered"] * 10


def latency(summary: dict[str, Any], way: str, phase: str) -> dict[str, Any]:
    found: dict[str, Any] = summary["ways"][way]["latency_ms"]["preprocess"][phase]
    return found


def printed(summary: dict[str, Any]) -> str:
    output = io.StringIO()
    table.show(summary, Console(file=output, width=80, highlight=False))
    return output.getvalue()


def test_windows_of_all_cycles_pool_into_one_distribution_of_each_way() -> None:
    summary = summarise(evidence(SWITCH + UNSTEERED, steered(SWITCH + UNSTEERED)))
    assert summary["valid"] is True
    window = latency(summary, "in-network", WINDOW)
    # 200 of each second's 1000 ms passed before the move.
    assert (window["n"], window["p50"], window["p90"], window["p99"], window["max"]) == (1000, 5, 80, 80, 80)
    assert latency(summary, "unsteered", WINDOW)["p50"] == 80
    assert latency(summary, "in-network", AFTER)["max"] == 5
    assert latency(summary, "in-network", STEADY)["n"] == 10 * (TRIGGER_MS - 300) / 10
    ms = {"in-network": 80, "unsteered": 80}
    assert summary["headline"] == {
        "quantile": "p99",
        "ms": ms,
        "interval_95_ms": {way: [80, 80] for way in ms},
    }


def test_the_verdict_is_a_sentence_with_the_highest_quantile_that_every_way_can_tell() -> None:
    ways = ["in-network"] * 4 + ["unsteered"] * 4 + ["reconfiguration"] * 4
    requests = steered(ways, moved_ms=1210, gap_ms=10)
    said = verdict(summarise(evidence(ways, requests)))
    assert said == (
        "p95 in the second after a disturbance: 5 ms (5 to 5) steered by the switch, 5 ms (5 to 5) by reconfiguration, "
        "80 ms (80 to 80) unsteered; "
        "of 3,600 requests 0 were lost (at 95 % confidence fewer than 0.08% are)."
    )


def test_a_move_is_counted_and_timed_from_its_own_disturbance() -> None:
    summary = summarise(evidence(SWITCH + UNSTEERED, steered(SWITCH + UNSTEERED)))
    assert (summary["ways"]["in-network"]["moved"], summary["ways"]["unsteered"]["moved"]) == (10, 0)
    times = summary["ways"]["in-network"]["trigger_to_first_steered_ms"]
    assert (times["min"], times["max"], times["n"], times["p50"]) == (200, 200, 10, None)
    assert {move["cycle"] for move in summary["migrations"]} == set(range(1, 11))


def test_a_cycle_whose_application_left_before_the_disturbance_counts_as_a_false_move_and_for_no_latency() -> None:
    ways = ["in-network"] * 3
    requests = [replace(one, node="edge2") if 600 <= one.intended_ns / MS < 1300 else one for one in steered(ways)]
    summary = summarise(evidence(ways, requests))
    way = summary["ways"]["in-network"]
    assert (way["cycles"], way["counted"], way["undisturbed_moves"]) == (3, 2, {"preprocess": 1})
    assert latency(summary, "in-network", WINDOW)["n"] == 200
    assert "undis" in printed(summary)


def test_what_comes_after_begins_with_the_applications_own_move() -> None:
    (cycle,) = cycles(["in-network"])
    ((late,),) = [judged_cycles(evidence(["in-network"], steered(["in-network"], moved_ms=2300)))]
    assert late.phase(2250 * MS) is None and late.phase(2300 * MS) == AFTER
    never = judge_cycle(cycle, "edge1", [])
    assert [never.phase(at * MS) for at in (100, 400, 1199, 1200, 2199, 2200, 2600)] == [
        None, STEADY, STEADY, WINDOW, WINDOW, AFTER, None,
    ]  # fmt: skip


@given(st.lists(st.floats(0.001, 5000), max_size=2500))
def test_a_quantile_is_told_only_with_ten_samples_beyond_it_and_is_one_of_them(values: list[float]) -> None:
    told = figures(values)
    rounded = {round(value, 3) for value in values}
    for name, q in QUANTILES.items():
        assert (told[name] is not None) == (len(values) >= samples_for(q))
        if told[name] is not None:
            assert told[name] in rounded
            assert sum(value <= told[name] + 0.0005 for value in values) >= q * len(values) - 1e-6  # type: ignore[operator]
    assert (told["n"], told["max"] is None) == (len(values), not values)


@settings(max_examples=20)
@given(st.lists(st.lists(st.floats(1, 1000), min_size=30, max_size=30), min_size=2, max_size=8))
def test_an_interval_holds_what_the_groups_have(groups: list[list[float]]) -> None:
    limits = interval(groups, 0.5)
    assert limits is not None
    medians = [sorted(group)[14] for group in groups]
    assert min(medians) <= limits[0] <= limits[1] <= max(sorted(group)[15] for group in groups)


def test_an_interval_is_as_wide_as_cycles_differ() -> None:
    alike = interval([[1.0, 2.0, 3.0] * 10] * 5, 0.9)
    apart = interval([[float(number)] * 30 for number in range(1, 6)], 0.9)
    assert alike == (3, 3) and apart is not None and apart[0] <= 4 and apart[1] == 5
    assert interval([[1.0] * 1000], 0.5) is None


def test_the_samples_that_a_quantile_needs() -> None:
    assert [samples_for(q) for q in QUANTILES.values()] == [20, 100, 200, 1000, 10000]


def change(of: str) -> dict[str, Any]:
    """What makes a good run's rows those of a bad machine."""
    ways = SWITCH + UNSTEERED
    good = evidence(ways, steered(ways))
    busy = MachineSample(10 * SECOND, 20_000, 9000, 0, 100_000, 4_000_000)
    stolen = MachineSample(10 * SECOND, 20_000, 9000, 3000, 100_000, 0)
    starved = {key: [replace(one, cpu=600) for one in loads] for key, loads in good.loads.items()}
    late = [replace(one, sent_ns=one.sent_ns + 9 * MS) for one in good.requests]
    drifted = [
        replace(one, received_ns=(one.received_ns or 0) + 20 * MS) if one.intended_ns > 10 * CYCLE_MS * MS else one
        for one in good.requests
    ]
    return {
        "1 core": {"run": {**good.run, "machine": {**good.run["machine"], "cores": 1}}},
        "the switch waited for a core 40%": {"machine": [good.machine[0], busy]},
        "the hypervisor took 15%": {"machine": [good.machine[0], stolen]},
        "got 60% of its CPU budget": {"loads": starved},
        "left up to 9.0 ms late": {"requests": late},
        "the machine changed meanwhile": {"requests": drifted},
    }[of]


CAUSES = (
    "1 core",
    "the switch waited for a core 40%",
    "the hypervisor took 15%",
    "got 60% of its CPU budget",
    "left up to 9.0 ms late",
    "the machine changed meanwhile",
)


@pytest.mark.parametrize("cause", CAUSES)
def test_a_run_that_tells_of_its_machine_has_no_figure_anywhere(cause: str) -> None:
    ways = SWITCH + UNSTEERED
    good = evidence(ways, steered(ways))
    summary = summarise(replace(good, **change(cause)))
    assert summary["valid"] is False
    said = verdict(summary)
    assert said.startswith("INVALID: ") and cause in said
    assert list(times({"ways": summary["ways"], "migrations": summary["migrations"]})) == []
    for text in (printed(summary), report.page(summary, None)):
        rows = re.findall(r"steady[^\n]{0,200}?900", text)
        assert rows and not any(re.search(r"\d\.\d", row) for row in rows)
        assert text.count("INVALID") > 20 and "…" not in text


def times(part: Any, name: str = "") -> Iterator[Any]:
    """Everything in a summary that is a time."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from times(value, f"{name}.{key}")
    elif isinstance(part, list):
        for value in part:
            yield from times(value, name)
    elif "_ms" in name and not name.endswith(".n") and part is not None:
        yield name, part


def test_nothing_printed_is_wider_than_80_columns() -> None:
    ways = ["in-network", "unsteered", "reconfiguration"] * 8
    requests = steered(ways, slow_ms=12345, gap_ms=5)
    requests += [replace(one, id=one.id + 10**6, service="thumbnail") for one in requests]
    text = printed(summarise(evidence(ways, requests)))
    assert max(map(len, text.splitlines())) <= 80 and "12345" in text
    assert "…" not in text, "something is cut off"
    machine = {"cores": 1, "cpu": "", "kernel": "", "python": "", "commit": ""}
    made = evidence(ways, requests)
    text = printed(summarise(replace(made, run={**made.run, "machine": machine})))
    assert "…" not in text and "INVALID" in text


def test_losses_and_failures_are_counted_and_a_loss_has_no_bound() -> None:
    requests = steered(SWITCH)
    requests[0] = replace(requests[0], received_ns=None, outcome=LOST, answers=0)
    requests[1] = replace(requests[1], outcome=FAILED)
    summary = summarise(evidence(SWITCH, requests))
    assert (summary["lost"], summary["failed"], summary["lost_rate_bound_95"]) == (1, 1, None)
    assert "1 were lost, 1 failed" in verdict(summary) and broken(summary)


def test_what_is_lost_unsteered_is_said_and_does_not_break_the_run() -> None:
    ways = SWITCH + UNSTEERED
    requests = steered(ways)
    requests[-1] = replace(requests[-1], received_ns=None, outcome=LOST, answers=0)
    summary = summarise(evidence(ways, requests))
    assert "1 were lost, 1 of them unsteered" in verdict(summary) and not broken(summary)


def test_without_a_disturbance_all_is_steady_and_every_move_is_told() -> None:
    ways = ["in-network"]
    requests = [request(number, number * 10, "edge1" if number < 200 else "edge2") for number in range(300)]
    made = evidence(ways, requests, cycles=cycles(ways, disturbed=False))
    summary = summarise(replace(made, run={**made.run, "disturb": "none"}))
    assert latency(summary, "in-network", STEADY)["n"] == 270 and latency(summary, "in-network", WINDOW)["n"] == 0
    assert "nothing disturbed the nodes, and 1 moves were made" in verdict(summary)


def written(made: Any, to: Path) -> Path:
    """The rows of a run as files."""
    node = to / "logs" / "nodes" / "edge1"
    node.mkdir(parents=True)
    folder.write_run(to, dict(made.run))
    records.write_requests(to / folder.REQUESTS, made.requests)
    for name, kind, rows in (
        (folder.CYCLES, samples.Cycle, made.cycles),
        (folder.RANKS, samples.RankSample, made.ranks),
        (folder.MACHINE, samples.MachineSample, made.machine),
    ):
        samples.write(to / name, kind, rows)
    loads: list[Load] = made.loads["edge1", "preprocess"]
    lines = [f"1,{number},{one.time_ns},{one.cpu},{one.queue}" for number, one in enumerate(loads)]
    (node / "reports-preprocess.csv").write_text(
        "\n".join(["epoch,sequence,emitted_ns,cpu,queue_depth", *lines]) + "\n"
    )
    return to


def test_judge_makes_everything_anew_from_the_rows_alone(tmp_path: Path) -> None:
    ways = SWITCH + UNSTEERED
    run = written(evidence(ways, steered(ways)), tmp_path / "run")
    rows = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = CliRunner().invoke(main, ["judge", str(run)])
    assert done.exit_code == 0, done.output
    assert (run / "table.txt").read_text() == done.output
    assert (run / "latency.pdf").read_bytes().startswith(b"%PDF") and (run / "latency.png").stat().st_size > 10_000
    summary = json.loads((run / "summary.json").read_text())
    assert summary["headline"]["ms"] == {"in-network": 80.0, "unsteered": 80.0}
    page = (run / "report.html").read_text()
    assert "<svg" in page and verdict(summary) in page
    assert not re.search(r'(src|href)="(?!#)', page), "the page needs another file"
    assert rows == {path: path.read_bytes() for path in rows}
    assert json.loads(json.dumps(summarise(folder.read(run)))) == summary


def test_a_run_of_too_few_requests_for_any_quantile_has_no_picture_and_says_so(tmp_path: Path) -> None:
    ways = ["in-network", "unsteered"]
    run = written(evidence(ways, steered(ways, gap_ms=60)), tmp_path / "run")
    (run / "latency.svg").write_text("of another judgement")
    summary = folder.judge(run)
    assert summary["valid"] and summary["headline"] is None
    assert "too few requests" in verdict(summary) and not (run / "latency.svg").exists()
    assert "<svg" not in (run / "report.html").read_text()


def test_judge_says_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["judge", str(tmp_path)])
    assert (done.exit_code, "run.json: there is no such file" in done.output) == (1, True)
    run = written(evidence(SWITCH, steered(SWITCH)), tmp_path / "run")
    (run / folder.CYCLES).write_text(
        "number,round,way,node,placed_ns,trigger_ns,calm_ns,end_ns\n1,1,x,edge1,soon,,,9\n"
    )
    done = CliRunner().invoke(main, ["judge", str(run)])
    assert done.exit_code == 1 and "cycles.csv: line 2" in done.output
