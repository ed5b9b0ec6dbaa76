"""Components hear of an update before it begins and after it has ended, and may put it off.

AWS IoT Greengrass, "Interact with component lifecycle": SubscribeToComponentUpdates and DeferComponentUpdate. How
long an update waits is deployment/deferral.py's.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from greengrass_agent.deployment.deferral import Deferral, Step
from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.ipc.operations.fields import number, text
from greengrass_agent.ipc.operations.listening import Listening, news_or_time

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Update:
    """The one that may be put off now."""

    deployment_id: str
    deferral: Deferral
    news: asyncio.Event = field(default_factory=asyncio.Event)


class UpdateOperations:
    """The components that want to know of updates."""

    def __init__(self) -> None:
        self._listening = Listening(self._left)
        self._update: _Update | None = None
        self._told: dict[str, str] = {}
        """Deployments that components were told of and not yet of the end, by job."""

    def operations(self) -> list[Operation]:
        """What components may ask for."""
        return [
            Operation(
                "aws.greengrass#SubscribeToComponentUpdates",
                self._subscribe,
                event="aws.greengrass#ComponentUpdatePolicyEvents",
            ),
            Operation("aws.greengrass#DeferComponentUpdate", self._defer),
        ]

    async def agree(self, job: str, deployment_id: str, timeout_s: float) -> None:
        """Tell of an update, and return when no component puts it off."""
        now = asyncio.get_running_loop().time
        update = self._update = _Update(deployment_id, Deferral(timeout_s))
        try:
            while (step := update.deferral.step(self._listening.components, now())) is not Step.GO:
                if step is Step.ASK:
                    self._told[job] = deployment_id
                    self._tell({"preUpdateEvent": {"deploymentId": deployment_id, "isGgcRestarting": False}})
                else:
                    await news_or_time(update.news, update.deferral.deadline)
        finally:
            if self._update is update:
                self._update = None

    def ended(self, job: str) -> None:
        """Tell those that were told of the update that it is over, whatever came of it."""
        if (deployment_id := self._told.pop(job, None)) is not None:
            self._tell({"postUpdateEvent": {"deploymentId": deployment_id}})

    def _tell(self, event: Json) -> None:
        for component in sorted(self._listening.components):
            self._listening.send(event, component)

    async def _subscribe(self, caller: Caller, request: Json, stream: Stream) -> Json:
        self._listening.add(caller.component, stream)
        return {}

    async def _defer(self, caller: Caller, request: Json, stream: Stream) -> Json:
        deployment_id = text(request, "deploymentId")
        recheck_ms = number(request, "recheckAfterMs", 0)
        if caller.component not in self._listening.components:
            message = f"{caller.component} is not subscribed to component updates, so it cannot put one off"
            raise IpcError("InvalidArgumentsError", message)
        update, now = self._update, asyncio.get_running_loop().time()
        if update is None or update.deployment_id != deployment_id:
            raise IpcError("InvalidArgumentsError", f"deployment {deployment_id} cannot be put off, or no more")
        if not update.deferral.answer(caller.component, recheck_ms / 1000, now):
            message = f"{caller.component} has answered to deployment {deployment_id} already, or its time was up"
            raise IpcError("ServiceError", message)
        if recheck_ms:
            reason = f": {request['message']}" if request.get("message") else ""
            log.info("%s puts deployment %s off for %g ms%s", caller.component, deployment_id, recheck_ms, reason)
        update.news.set()
        return {}

    def _left(self) -> None:
        if self._update is not None:
            self._update.news.set()
