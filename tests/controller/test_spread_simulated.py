"""`spread` in a simulated fabric: queues, sparse and unsynchronised reports, the response times of the contract."""

import heapq
import random
from collections import deque
from statistics import quantiles

import pytest

from hitless.steering.policies import Spread
from hitless.steering.service import ServiceSteering
from hitless.steering.settings import InstanceSettings, Settings
from hitless.wire.report import Report

NODES = 8
SERVICE = 10_000
"""Mean service time, µs."""
LOAD = 0.9


def response_times(every: int, requests: int, *, round_robin: bool = False) -> list[float]:
    """Response times, in service times, of requests to first-come-first-served nodes with exponential service.

    `every`: service times between two reports of a node.
    """
    chance = random.Random(1)
    instances = {member: InstanceSettings(1) for member in range(NODES)}
    steering = ServiceSteering(Settings(Spread(), instances, stale_after=3_600_000_000))
    free = [0.0] * NODES
    queued: list[deque[float]] = [deque() for _ in range(NODES)]
    received = [0] * NODES
    arrivals = 0.0
    events: list[tuple[float, int, int]] = [
        (1 + every * SERVICE * member / NODES, 0, member) for member in range(NODES)
    ]
    heapq.heapify(events)
    heapq.heappush(events, (every * SERVICE + 2.0, 1, 0))
    responses: list[float] = []
    sequence = 0
    while len(responses) < requests:
        now, kind, member = heapq.heappop(events)
        if kind == 0:
            sequence += 1
            while queued[member] and queued[member][0] <= now:
                queued[member].popleft()
            # What the node knows: how many wait and that the one in service takes a mean time more.
            backlog = len(queued[member]) * SERVICE
            told = Report(
                service_id=1,
                node_id=member + 1,
                epoch=1,
                sequence=sequence,
                ready=True,
                backlog=backlog,
                service_interval=SERVICE,
                received=received[member],
            )
            steering.report(int(now), member, told)
            heapq.heappush(events, (now + every * SERVICE, 0, member))
            continue
        arrivals += 1
        chosen = int(arrivals) % NODES if round_robin else steering.request(int(now)).member
        assert chosen is not None
        finish = max(free[chosen], now) + chance.expovariate(1 / SERVICE)
        free[chosen] = finish
        queued[chosen].append(finish)
        received[chosen] += 1
        responses.append((finish - now) / SERVICE)
        heapq.heappush(events, (now + chance.expovariate(NODES * LOAD / SERVICE), 1, 0))
    return responses[requests // 10 :]


def mean(times: list[float]) -> float:
    return sum(times) / len(times)


def p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98]


@pytest.mark.parametrize(("every", "at_most"), [(1, (2.7, 10.5)), (5, (3.5, 12.5)), (20, (4.4, 16.5))])
def test_the_earliest_start_is_as_fast_as_the_contract_says(every: int, at_most: tuple[float, float]) -> None:
    """The contract: 2.4/9.1, 3.1/10.4, 3.7/12.4 (mean and p99); perfect knowledge of queue lengths 2.2/8.9."""
    times = response_times(every, 50_000)
    assert (mean(times) < at_most[0]) and (p99(times) < at_most[1]), (mean(times), p99(times))


def test_the_simulation_itself_is_right() -> None:
    """Round-robin to eight queues at load 0.9: 5.9 and 27 by the contract."""
    times = response_times(5, 50_000, round_robin=True)
    assert 5 < mean(times) < 7
    assert 22 < p99(times) < 33
