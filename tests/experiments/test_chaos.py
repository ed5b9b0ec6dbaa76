"""A chaos run is replayable from its seed, and each loss is explained by what was killed, or it is not."""

import random
from itertools import islice, takewhile

import pytest

from experiments.chaos.hostile import connection_kinds, datagram_kinds
from experiments.chaos.kinds import KINDS
from experiments.chaos.load import Configuration, Target, times
from experiments.chaos.processes import Part, gateways, supervisors, workers
from experiments.chaos.schedule import pick, plan
from experiments.chaos.updates import Change, compare
from experiments.chaos.verdict import QUIET, Fault, passed, rows, troubles
from experiments.migration.records import FAILED, LOST, OK, Execution, Request
from hitless.wire.invocation import InvocationError, decode_header

MS = 1_000_000
PATIENCE_NS = 5000 * MS


def request(number: int, at_ms: float, outcome: str = OK, latency_ms: float = 5, service: str = "echo") -> Request:
    at, lost = int(at_ms * MS), outcome == LOST
    received = None if lost else at + int(latency_ms * MS)
    return Request(number, 7, service, at, at, received, "edge1", outcome, int(not lost))


def execution(number: int, status: int) -> Execution:
    return Execution(7, number, "echo", "edge1", 0, status)


def fault(kind: str, began_ms: float, recovered_ms: float | None, inside: int = 0, number: int = 1) -> Fault:
    recovered = None if recovered_ms is None else int(recovered_ms * MS)
    return Fault(number, kind, "edge1", "echo", int(began_ms * MS), int(began_ms * MS), recovered, inside)


def explained(requests: list[Request], executions: list[Execution], faults: list[Fault]) -> list[int]:
    """The requests whose trouble is explained."""
    return [one.request.id for one in troubles(requests, executions, faults, PATIENCE_NS) if one.explained]


def test_the_same_seed_makes_the_same_faults_and_each_kind_comes_in_each_round() -> None:
    first, again, other = (list(islice(plan(seed), 2 * len(KINDS))) for seed in (1, 1, 2))
    assert first == again != other
    for begin in (0, len(KINDS)):
        assert {one.kind for one in first[begin : begin + len(KINDS)]} == set(KINDS)
    assert [one.kind for one in islice(plan(1, ["update"]), 3)] == ["update"] * 3
    assert (pick(0.0, "ab"), pick(0.5, "ab"), pick(1.0, "ab")) == ("a", "b", "b")


def test_a_killed_worker_explains_the_one_request_that_it_had() -> None:
    requests = [request(n, 998, FAILED, latency_ms=3) for n in (1, 2)] + [request(3, 1200, FAILED)]
    executions = [execution(n, 502) for n in (1, 2, 3)]
    assert explained(requests, executions, [fault("kill-worker", 1000, 1100, inside=1)]) == [1]
    assert explained(requests, executions, [fault("kill-supervisor", 1000, 1100, inside=2)]) == [1, 2]


@pytest.mark.parametrize("status", [503, 504, None])
def test_what_the_gateway_refused_was_not_with_the_killed_worker(status: int | None) -> None:
    executions = [] if status is None else [execution(1, status)]
    assert not explained([request(1, 998, FAILED)], executions, [fault("kill-worker", 1000, 1100, inside=1)])


def test_a_killed_gateway_explains_what_came_until_it_is_back_and_nothing_later() -> None:
    requests = [request(n, at, LOST) for n, at in enumerate((990, 1400, 1600, 2500), 1)]
    faults = [fault("kill-gateway", 1000, 1500)]
    assert explained([request(1, 990, FAILED, latency_ms=20), *requests[1:]], [], faults) == [1, 2]


def test_a_gateway_that_never_comes_back_explains_ten_seconds() -> None:
    requests = [request(1, 9000, FAILED), request(2, 12_000, FAILED)]
    assert explained(requests, [], [fault("kill-gateway", 1000, None)]) == [1]


@pytest.mark.parametrize("kind", ["update", "freeze-worker", "kill-emitter", "full-log-disk", "hostile-tcp", "poison"])
def test_what_kills_nothing_explains_nothing(kind: str) -> None:
    assert not explained([request(1, 999, FAILED)], [execution(1, 502)], [fault(kind, 1000, 1100, inside=1)])


def test_the_table_counts_each_request_once_and_a_loss_in_quiet_time_fails_the_run() -> None:
    faults = [fault("update", 1000, 1200, number=1), fault("kill-worker", 3000, 3080, inside=1, number=2)]
    requests = [request(1, 10), request(2, 1100), request(3, 2999, FAILED), request(4, 5000)]
    good = rows(requests, troubles(requests, [execution(3, 502)], faults, PATIENCE_NS), faults, PATIENCE_NS)
    assert [(row.kind, row.requests, row.failed, row.explained) for row in good] == [
        ("kill-worker", 1, 1, 1),
        ("update", 1, 0, 0),
        (QUIET, 2, 0, 0),
    ]
    assert good[0].median_ms == 80
    assert passed(good)
    requests.append(request(5, 5001, LOST))
    bad = rows(requests, troubles(requests, [execution(3, 502)], faults, PATIENCE_NS), faults, PATIENCE_NS)
    assert (bad[-1].lost, bad[-1].unexplained) == (1, 1)
    assert not passed(bad)


def test_a_second_execution_is_never_explained() -> None:
    faults = [fault("kill-gateway", 1000, 1500)]
    (trouble,) = troubles([request(1, 999)], [execution(1, 200)] * 2, faults, PATIENCE_NS)
    assert (trouble.what, trouble.explained) == ("duplicated", False)


def test_what_came_out_wrong_beside_requests_fails_the_run() -> None:
    broken = fault("broken-update", 1000, 1200)
    broken.wrong.append("SUCCEEDED")
    assert not passed(rows([request(1, 10)], [], [broken], PATIENCE_NS))


def test_the_time_after_a_change_is_compared_with_time_that_no_change_was_near() -> None:
    """Requests each 10 ms for 20 s; a change at 5 s and one at 15 s, each 30 ms slower for 100 ms."""
    changes = [Change("echo", "1.0.1", 5000 * MS), Change("echo", "1.0.2", 15_000 * MS)]
    slow = [range(5000, 5100), range(15_000, 15_100)]
    requests = [
        request(n, at, latency_ms=40 if any(at in one for one in slow) else 10)
        for n, at in enumerate(range(0, 20_000, 10))
    ]
    compared = compare("echo", requests, changes)
    assert (compared.changes, compared.after_ms, compared.steady_ms, compared.ratio) == (2, 40, 10, 4)
    assert compare("page", requests, changes).ratio is None


def test_the_load_calls_both_services_at_their_rates_and_the_same_with_the_same_seed() -> None:
    def first_minute(seed: int) -> list[tuple[int, bool]]:
        udp, http = (Target("x", 1, "10.0.0.1", 9000, rate) for rate in (100.0, 25.0))
        return list(takewhile(lambda one: one[0] < 60_000 * MS, times(Configuration("", "", seed, 5, udp, http), 0)))

    found = first_minute(1)
    assert found == first_minute(1) != first_minute(2)
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    over_udp = sum(kind for _, kind in found)
    assert (over_udp, len(found) - over_udp) == (pytest.approx(6000, rel=0.1), pytest.approx(1500, rel=0.1))


def test_processes_of_a_function_are_told_apart() -> None:
    command = ("python3", "-m", "hitless.function", "--handler", "handler.lambda_handler")
    parent, one, other = Part(10, 1, command, "Echo"), Part(11, 10, command, "Echo"), Part(12, 10, command, "Echo")
    alone = Part(20, 1, command, "Page")
    gateway = Part(30, 1, ("python3", "-m", "greengrass_agent.gateway", "/run/n/echo.json"), "")
    parts = [parent, one, other, alone, gateway]
    assert supervisors(parts, "Echo") == [parent]
    assert workers(parts, "Echo") == [one, other]
    assert supervisors(parts, "Page") == workers(parts, "Page") == [alone]
    assert gateways(parts, "echo") == [gateway]
    assert gateways(parts, "page") == []


def test_no_hostile_datagram_is_a_request_and_there_are_ten_kinds_of_harm() -> None:
    assert len(connection_kinds()) == 10
    kinds = datagram_kinds(1)
    assert len(kinds) == 10
    chance = random.Random(1)
    for _ in range(500):
        for kind in kinds:
            try:
                assert decode_header(kind(chance)).fragment_count > 1
            except InvocationError:
                continue
