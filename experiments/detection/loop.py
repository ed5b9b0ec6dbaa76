"""What an orchestrator does in the switch's place: at fixed times it looks at the same metrics, and moves a service.

The deciding is pure; what asks the controller is a thin shell around it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from controller.operator.client import Client, NoControllerError, RefusedError
from controller.operator.documents import ServiceStatus
from hitless.steering.policies import Single


def better(service: ServiceStatus, margin: int = Single().margin) -> str | None:
    """The node that a service is to move to: the best of those that can serve, if it is better by more than a margin
    of rank than the one that serves; None to stay, also while nobody serves."""
    if service.host is None:
        return None
    ranks = {node: one.rank for node, one in service.instances.items() if one.eligible}
    held = ranks.get(service.host, -1)
    best = max(ranks, key=ranks.__getitem__, default=service.host)
    return best if best != service.host and ranks[best] > held + margin else None


async def loop(controller: Callable[[], Client], services: Sequence[str], period_s: float, first_s: float) -> None:
    """Look every `period_s`, for the first time after `first_s`, and move what is better elsewhere, until cancelled."""
    due = time.monotonic() + first_s
    while True:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due += period_s
        await asyncio.to_thread(_look, controller(), services)


def _look(api: Client, services: Sequence[str]) -> None:
    try:
        status = api.status()
        for name in services:
            node = better(status.services[name])
            if node is not None:
                api.migrate(name, node, hold=True)
    except (NoControllerError, RefusedError):
        return  # as an orchestrator does: the next time round
