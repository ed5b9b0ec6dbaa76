"""What a run shows is computed from its raw rows alone, and says null where it does not know."""

from hypothesis import given
from hypothesis import strategies as st

from experiments.migration import measure
from experiments.migration.measure import SECOND, Served, moves
from experiments.migration.records import FAILED, LOST, OK, Decision, Execution, Request

MS = 1_000_000


def request(number: int, at_ms: float, node: str | None = "edge1", latency_ms: float = 5, **changes: object) -> Request:
    intended = int(at_ms * MS)
    values: dict[str, object] = {
        "id": number,
        "client": 1,
        "service": "preprocess",
        "intended_ns": intended,
        "sent_ns": intended,
        "received_ns": intended + int(latency_ms * MS),
        "node": node,
        "outcome": OK,
        "answers": 1,
    }
    return Request(**{**values, **changes})  # type: ignore[arg-type]


def run(requests: list[Request], executions: list[Execution] | None = None, **other: object) -> dict[str, object]:
    values: dict[str, object] = {
        "decisions": [],
        "emissions": {},
        "trigger_ns": None,
        "application": "preprocess",
    }
    return measure.summarise(requests, executions or [], **{**values, **other})  # type: ignore[arg-type]


def moved_run(trigger_ms: float = 1000, move_ms: float = 1200, until_ms: float = 6000) -> list[Request]:
    """A request every 10 ms; new work goes to edge2 from move_ms on."""
    times = [10.0 * step for step in range(int(until_ms / 10))]
    return [request(step, at, "edge1" if at < move_ms else "edge2") for step, at in enumerate(times)]


def test_a_quiet_run_loses_nothing_and_says_so_with_its_bound() -> None:
    summary = run([request(step, 10 * step) for step in range(3000)])
    assert (summary["lost"], summary["failed"], summary["duplicated"]) == (0, 0, 0)
    assert summary["lost_rate_bound_95"] == 0.001
    assert summary["migrations"] == []


def test_losses_and_failures_are_counted_and_a_loss_has_no_bound() -> None:
    summary = run(
        [request(1, 0), request(2, 1, received_ns=None, outcome=LOST, answers=0), request(3, 2, outcome=FAILED)]
    )
    assert (summary["lost"], summary["failed"], summary["lost_rate_bound_95"]) == (1, 1, None)


def test_a_request_executed_on_two_nodes_or_answered_twice_is_duplicated() -> None:
    executions = [Execution(1, 1, "preprocess", node, 0) for node in ("edge1", "edge2")]
    assert run([request(1, 0), request(2, 1, answers=2), request(3, 2)], executions)["duplicated"] == 2


def test_rows_that_the_nodes_dropped_are_counted() -> None:
    requests = [request(number, number) for number in range(3)]
    requests += [request(3, 3, received_ns=None, outcome=LOST, answers=0)]
    executions = [Execution(1, number, "preprocess", "edge1", 0) for number in (0, 2)]
    emissions = {
        ("edge1", "preprocess"): dict.fromkeys([(7, 1), (7, 2), (7, 5), (8, 1), (8, 2)], 0),
        ("edge2", "preprocess"): {(7, 900): 0},
    }
    missing = run(requests, executions, emissions=emissions)["evidence_rows_missing"]
    assert missing == {"executions": 1, "reports": 2}


def test_a_migration_is_found_and_timed_from_trigger_and_report() -> None:
    decision = Decision("preprocess", "edge1", "edge2", "BETTER", 1195 * MS, "edge1", 7, 42)
    summary = run(
        moved_run(),
        trigger_ns=1000 * MS,
        decisions=[decision],
        emissions={("edge1", "preprocess"): {(7, 42): 1185 * MS}},
    )
    (move,) = summary["migrations"]  # type: ignore[misc]
    assert (move["from"], move["to"], move["reason"]) == ("edge1", "edge2", "BETTER")  # type: ignore[index]
    assert move["report_to_first_steered_ms"] == 15  # type: ignore[index]
    assert move["trigger_to_first_steered_ms"] == 200  # type: ignore[index]
    assert move["trigger_to_last_on_old_ms"] == 190  # type: ignore[index]
    assert move["longest_gap_ms"] == 10  # type: ignore[index]
    assert move["requests_after_report_on_old_node"] == 1  # type: ignore[index]


def test_without_a_digest_the_migration_is_seen_all_the_same() -> None:
    (move,) = run(moved_run(), trigger_ns=1000 * MS)["migrations"]  # type: ignore[misc]
    assert move["reason"] is None and move["report_to_first_steered_ms"] is None  # type: ignore[index]
    assert move["trigger_to_first_steered_ms"] == 200  # type: ignore[index]


def test_a_straggler_on_the_old_node_is_no_migration_back() -> None:
    work = [Served(step * MS, "edge1" if step < 50 or step == 52 else "edge2", None) for step in range(100)]
    (move,) = moves("preprocess", work)
    assert (move.first_ns, move.last_on_old_ns) == (50 * MS, 52 * MS)


def test_a_service_that_only_functions_call_is_followed_by_its_executions() -> None:
    executions = [Execution(9, step, "detect", "edge1" if step < 50 else "edge2", step * MS) for step in range(100)]
    (move,) = run([request(1, 0)], executions)["migrations"]  # type: ignore[misc]
    assert (move["service"], move["to"]) == ("detect", "edge2")  # type: ignore[index]


def test_phases_split_at_the_trigger_and_two_seconds_after_the_first_migration() -> None:
    summary = run(moved_run(), trigger_ns=1000 * MS)
    assert summary["phases"] == {"start_s": 0.0, "trigger_s": 1.0, "window_end_s": 3.2, "end_s": 5.99}
    counts = {name: row["n"] for name, row in summary["latency_ms"].items()}  # type: ignore[attr-defined]
    assert counts == {"steady": 100, "window": 220, "after": 280}


def test_the_window_is_five_seconds_where_nothing_moves() -> None:
    summary = run([request(step, 10 * step) for step in range(1000)], trigger_ns=1 * SECOND)
    assert summary["phases"]["window_end_s"] == 6.0  # type: ignore[index]


def test_a_quantile_of_too_few_samples_is_null() -> None:
    steady = run([request(step, 10 * step) for step in range(999)])["latency_ms"]["steady"]  # type: ignore[index]
    assert abs(steady["p50"] - 5) < 0.01 and steady["p99"] is None and steady["p999"] is None and steady["max"] == 5
    steady = run([request(step, 10 * step) for step in range(1000)])["latency_ms"]["steady"]  # type: ignore[index]
    assert abs(steady["p99"] - 5) < 0.01 and steady["p999"] is None


def test_latency_counts_from_the_intended_start() -> None:
    late = [
        request(step, step, sent_ns=int((step + 50) * MS), received_ns=int((step + 55) * MS)) for step in range(1000)
    ]
    summary = run(late)
    assert abs(summary["latency_ms"]["steady"]["p50"] - 55) < 0.1  # type: ignore[index]
    assert summary["generator_late_p99_ms"] == 50 and summary["noisy"] is True


@given(st.lists(st.sampled_from(["edge1", "edge2", "edge3"]), min_size=1, max_size=60))
def test_moves_chain_from_node_to_node_in_time(nodes: list[str]) -> None:
    work = [Served(step, node, None) for step, node in enumerate(nodes)]
    found = moves("s", work)
    host = nodes[0]
    last = -1
    for move in found:
        assert move.origin == host != move.to
        assert move.first_ns > last
        assert nodes[move.first_ns] == move.to and nodes[move.last_on_old_ns] == move.origin
        host, last = move.to, move.first_ns
