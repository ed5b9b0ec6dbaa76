"""The policy experiment: what is drawn, perfect knowledge, the figures, and one small cell on a real switch."""

import asyncio
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from experiments.policies import perfect, table, trace
from experiments.policies.cells import INTERVALS, NODES, POLICIES, Cell, cells
from experiments.policies.figures import BATCHES, TooFew, figures, half_width
from experiments.policies.run import OUTCOME, Options, calm, judge, judged_again, run
from experiments.policies.trace import Trace
from topologies import targets

EQUAL, MIXED = NODES["equal"], NODES["half at half speed"]


def test_a_trace_is_poisson_at_the_load_and_the_same_again() -> None:
    drawn = trace.draw(100_000, MIXED, seed=3)
    assert drawn.start[-1] == pytest.approx(100_000 / (0.9 * 6), rel=0.02), "four nodes and four of half their speed"
    assert np.mean(drawn.service) == pytest.approx(1, rel=0.02)
    assert np.std(np.diff(drawn.start)) == pytest.approx(1 / (0.9 * 6), rel=0.02), "as wide as an exponential"
    assert np.array_equal(trace.draw(100_000, MIXED, seed=3).start, drawn.start)
    assert not np.array_equal(trace.draw(100_000, MIXED, seed=4).start, drawn.start)


def test_a_trace_is_written_as_pairs_of_nanoseconds(tmp_path: Path) -> None:
    trace.write(Trace(np.array([0.5, 2.0]), np.array([1.0, 0.25])), tmp_path / "trace", 0.002)
    assert np.fromfile(tmp_path / "trace", np.uint64).tolist() == [1_000_000, 2_000_000, 4_000_000, 500_000]


def test_perfect_knowledge_takes_the_shortest_queue_and_waits_in_it() -> None:
    drawn = Trace(np.array([0.0, 0.1, 0.2, 0.3]), np.array([3.0, 1.0, 1.0, 1.0]))
    assert perfect.responses(drawn, (1.0, 1.0)).tolist() == pytest.approx([3, 1, 3.8, 1.8])


def test_perfect_knowledge_counts_a_slow_node_as_slow() -> None:
    drawn = Trace(np.array([0.0, 0.1, 0.2]), np.array([1.0, 1.0, 1.0]))
    assert perfect.responses(drawn, (1.0, 4.0)).tolist() == pytest.approx([1, 4, 1.8])


def test_perfect_knowledge_comes_to_the_known_figures() -> None:
    """The shortest of eight queues at load 0.9: mean 2.2, p99 8.9; with half the nodes half as fast 2.9, 11.5."""
    for slowdowns, mean, p99 in ((EQUAL, 2.2, 8.9), (MIXED, 2.9, 11.5)):
        found = figures(perfect.responses(trace.draw(200_000, slowdowns, seed=1), slowdowns))
        assert found.mean.value == pytest.approx(mean, rel=0.08)
        assert found.p99.value == pytest.approx(p99, rel=0.12)


def test_figures_leave_the_warm_up_out() -> None:
    found = figures(np.concatenate([np.full(100, 1000.0), np.full(900, 2.0)]))
    assert (found.mean.value, found.mean.half_width) == (2, 0)
    assert (found.p99.value, found.p99.half_width) == (2, 0)


def test_an_interval_holds_the_true_mean_in_95_of_100_cases() -> None:
    chance = np.random.default_rng(1)
    runs = [figures(chance.exponential(3.0, 4000)).mean for _ in range(400)]
    held = sum(abs(one.value - 3) <= one.half_width for one in runs)
    assert 0.91 * 400 <= held <= 0.99 * 400


def test_the_half_width_is_students() -> None:
    values = [float(value) for value in range(BATCHES)]
    assert half_width(values) == pytest.approx(2.093 * np.std(values, ddof=1) / BATCHES**0.5)


def test_each_policy_is_in_the_table_once_an_interval_or_once_if_it_does_not_listen() -> None:
    every = list(cells(list(POLICIES), INTERVALS))
    assert len(every) == len(set(every)) == len({cell.name for cell in every}) == 2 * (3 * len(INTERVALS) + 2)
    assert {cell.policy for cell in every if cell.interval is None} == {"round_robin", "random"}


OPTIONS = Options("softswitch", 1000, 0.002, 1)


def rows(late: float = 0.0) -> np.ndarray:
    """Outcomes of OPTIONS' trace: each request sent `late` and answered three, in service times."""
    start = trace.draw(OPTIONS.requests, EQUAL, OPTIONS.seed).start
    outcomes = np.zeros(OPTIONS.requests, OUTCOME)
    outcomes["sent_ns"] = (start + late) * 2e6
    outcomes["received_ns"] = (start + 3) * 2e6
    outcomes["answers"] = 1
    outcomes["member"] = 3
    return outcomes


def test_response_times_count_from_the_intended_start_and_a_lost_request_has_none() -> None:
    outcomes = rows(late=0.25)
    outcomes["received_ns"][-1] = outcomes["answers"][-1] = 0
    outcomes["answers"][-2] = 2
    found = judge(Cell("spread", "equal", 1.0), outcomes, OPTIONS, 0.0)
    assert found.figures.mean.value == pytest.approx(3, abs=1e-3)
    assert (found.lost, found.duplicated, found.left_out) == (1, 1, 0)
    assert found.late_p99_ms == pytest.approx(0.5, abs=1e-3)
    assert found.served == (0, 0, 0, OPTIONS.requests - 1, 0, 0, 0, 0)
    ideal = figures(perfect.responses(trace.draw(OPTIONS.requests, EQUAL, OPTIONS.seed), EQUAL))
    assert found.perfect == ideal
    row = found.row()
    assert row["mean_ratio"] == pytest.approx(3 / ideal.mean.value, abs=1e-3)
    assert f"| equal | 1 | spread | 3.00 ± 0.00 | 3.0 ± 0.0 | {row['mean_ratio']:.2f} |" in table.markdown(
        {"cells": [row]}
    )


def test_what_started_around_a_stall_is_left_out_of_both() -> None:
    outcomes = rows()
    outcomes["sent_ns"][500] += 1_100_000
    outcomes["received_ns"][500] += 100_000_000
    found = judge(Cell("spread", "equal", 1.0), outcomes, OPTIONS, 0.0)
    assert found.figures.mean.value == pytest.approx(3, abs=1e-3)
    assert found.late_max_ms == pytest.approx(1.1, abs=1e-3)
    whole = judge(Cell("spread", "equal", 1.0), rows(), OPTIONS, 0.0)
    assert (found.left_out > 0) and (found.perfect != whole.perfect)


def test_of_too_few_requests_there_are_no_figures() -> None:
    assert figures(np.ones(BATCHES + 2)).mean.value == 1
    with pytest.raises(TooFew, match=f"only {BATCHES - 1} requests"):
        figures(np.ones(BATCHES + 1))


def test_calm_is_long_before_and_long_after_a_stall() -> None:
    start = np.array([0.0, 69.0, 71.0, 100.0, 249.0, 251.0, 900.0])
    late = np.array([0.0, 0.4, 0.0, 0.6, 0.0, 0.0, 0.0])
    assert calm(start, late).tolist() == [True, True, False, False, False, True, True]
    assert calm(start, np.zeros(7)).all()


@pytest.mark.root("needs root for network namespaces and raw sockets")
@pytest.mark.skipif(targets.missing("softswitch") is not None, reason="softswitch cannot be started here")
def test_a_small_cell_on_a_real_switch(tmp_path: Path) -> None:
    wanted = [Cell("spread", "half at half speed", 1.0)]
    told = []
    for attempt in range(4):
        results = tmp_path / str(attempt)
        with suppress(TooFew):  # a machine that is held up all the time
            summary = asyncio.run(run(wanted, OPTIONS, results, told.append))
            break
    (row,) = summary["cells"]
    assert (row["lost"], row["duplicated"], sum(row["served"]), len(told)) == (0, 0, OPTIONS.requests, 1)
    fast, slow = sum(row["served"][:4]), sum(row["served"][4:])
    assert 1.4 * slow < fast < 3 * slow, "the switch knows from the reports which nodes are slow"
    assert judged_again([results]) == summary
