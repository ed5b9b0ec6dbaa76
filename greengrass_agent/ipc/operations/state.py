"""A component says of itself that it runs, or that it cannot go on.

AWS IoT Greengrass, "Interact with component lifecycle": UpdateState.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.ipc.operations.fields import text

State = Literal["RUNNING", "ERRORED"]
Report = Callable[[str, int, State], None]
"""Takes what a launch of a component says. Raises KeyError for a component that is not there."""

_STATES: Final[dict[str, State]] = {"RUNNING": "RUNNING", "ERRORED": "ERRORED"}


def state_operations(report: Report) -> list[Operation]:
    """What components may ask for."""

    async def update(caller: Caller, request: Json, stream: Stream) -> Json:
        state = _STATES.get(text(request, "state"))
        if state is None:
            raise IpcError("InvalidArgumentsError", f"state: expected RUNNING or ERRORED, got {request['state']:.80}")
        try:
            report(caller.component, caller.launch, state)
        except KeyError:
            raise IpcError(
                "ResourceNotFoundError",
                f"the node has no component {caller.component} any more",
                resourceType="Component",
                resourceName=caller.component,
            ) from None
        return {}

    return [Operation("aws.greengrass#UpdateState", update)]
