"""What became of requests, and where new work went, is told from raw rows alone, null where they do not tell."""

from hypothesis import given
from hypothesis import strategies as st

from experiments.migration import measure
from experiments.migration.measure import Move, Served, describe_move, duplicated, moves, new_work, rows_missing
from experiments.migration.records import LOST, Decision, Execution, Request
from tests.experiments.migration_rows import MS, request


def moved_run(move_ms: float = 1200, until_ms: float = 6000) -> list[Request]:
    """A request every 10 ms; new work goes to edge2 from move_ms on."""
    times = [10.0 * step for step in range(int(until_ms / 10))]
    return [request(step, at, "edge1" if at < move_ms else "edge2") for step, at in enumerate(times)]


def the_move(requests: list[Request]) -> tuple[Move, list[Served]]:
    work = new_work(requests, [])["preprocess"]
    (move,) = moves("preprocess", work)
    return move, work


def test_a_request_executed_on_two_nodes_or_answered_twice_is_duplicated() -> None:
    executions = [Execution(1, 1, "preprocess", node, 0) for node in ("edge1", "edge2")]
    assert duplicated([request(1, 0), request(2, 1, answers=2), request(3, 2)], executions) == 2


def test_rows_that_the_nodes_dropped_are_counted() -> None:
    requests = [request(number, number) for number in range(3)]
    requests += [request(3, 3, received_ns=None, outcome=LOST, answers=0)]
    executions = [Execution(1, number, "preprocess", "edge1", 0) for number in (0, 2)]
    emissions = {
        ("edge1", "preprocess"): dict.fromkeys([(7, 1), (7, 2), (7, 5), (8, 1), (8, 2)], 0),
        ("edge2", "preprocess"): {(7, 900): 0},
    }
    assert rows_missing(requests, executions, emissions) == {"executions": 1, "reports": 2}


def test_a_migration_is_found_and_timed_from_trigger_and_report() -> None:
    move, work = the_move(moved_run())
    decision = Decision("preprocess", "edge1", "edge2", "BETTER", 1195 * MS, "edge1", 7, 42)
    told = describe_move(move, work, 1000 * MS, [decision], {("edge1", "preprocess"): {(7, 42): 1185 * MS}})
    assert (told["from"], told["to"], told["reason"]) == ("edge1", "edge2", "BETTER")
    assert told["report_to_first_steered_ms"] == 15
    assert told["trigger_to_first_steered_ms"] == 200
    assert told["trigger_to_last_on_old_ms"] == 190
    assert told["longest_gap_ms"] == 10
    assert told["requests_after_report_on_old_node"] == 1


def test_without_a_digest_the_migration_is_seen_all_the_same() -> None:
    told = describe_move(*the_move(moved_run()), 1000 * MS, [], {})
    assert told["reason"] is None and told["report_to_first_steered_ms"] is None
    assert told["trigger_to_first_steered_ms"] == 200


def test_a_straggler_on_the_old_node_is_no_migration_back() -> None:
    work = [Served(step * MS, "edge1" if step < 50 or step == 52 else "edge2", None) for step in range(100)]
    (move,) = moves("preprocess", work)
    assert (move.first_ns, move.last_on_old_ns) == (50 * MS, 52 * MS)


def test_a_service_that_only_functions_call_is_followed_by_its_executions() -> None:
    executions = [Execution(9, step, "detect", "edge1" if step < 50 else "edge2", step * MS) for step in range(100)]
    (move,) = moves("detect", new_work([request(1, 0)], executions)["detect"])
    assert move.to == "edge2"


def test_how_late_the_generator_was_counts_from_the_intended_start() -> None:
    late = [request(step, step, sent_ns=int((step + 50) * MS)) for step in range(1000)]
    assert measure.late_p99_ms(late) == 50


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
