"""Perfect knowledge, simulated: each request goes where it should start first, by the true queue lengths of its moment.

What nobody knows beforehand, how long each request will take, this does not know either. It is the best that reports
of queue lengths could allow if they took no time at all, and is given the very arrivals and service times of the trace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from experiments.policies.trace import Times, Trace


def responses(trace: Trace, slowdowns: Sequence[float]) -> Times:
    """Response times, in service times, of nodes that serve first come first served.

    A request joins the node where those before it are expected to take least: their number times the node's mean
    service time. Among equals the one that would be done with this one first; then they take turns.
    """
    nodes = len(slowdowns)
    free = [0.0] * nodes
    inside: list[deque[float]] = [deque() for _ in range(nodes)]
    times = np.empty(len(trace.start))
    for number, (now, service) in enumerate(zip(trace.start.tolist(), trace.service.tolist(), strict=True)):
        for queue in inside:
            while queue and queue[0] <= now:
                queue.popleft()
        chosen = min(
            range(nodes),
            key=lambda node: (len(inside[node]) * slowdowns[node], slowdowns[node], (node - number) % nodes),
        )
        finish = max(free[chosen], now) + service * slowdowns[chosen]
        free[chosen] = finish
        inside[chosen].append(finish)
        times[number] = finish - now
    return times
