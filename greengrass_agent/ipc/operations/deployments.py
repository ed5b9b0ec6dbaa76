"""Local deployments, which there are none of: what runs on a node is said by the fabric file alone.

AWS IoT Greengrass, "Manage local deployments and components". A deployment that a node made for itself would be
undone by the controller, which brings every node to what the fabric file says.
"""

from __future__ import annotations

from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.ipc.operations.components import SERVICE
from greengrass_agent.ipc.operations.fields import text


def deployment_operations() -> list[Operation]:
    """What components may ask for."""
    return [
        Operation("aws.greengrass#CreateLocalDeployment", _create, resource=lambda request: "*", service=SERVICE),
        Operation("aws.greengrass#ListLocalDeployments", _list, resource=lambda request: "*", service=SERVICE),
        Operation("aws.greengrass#GetLocalDeploymentStatus", _find, resource=_deployment, service=SERVICE),
        Operation("aws.greengrass#CancelLocalDeployment", _find, resource=_deployment, service=SERVICE),
    ]


async def _create(caller: Caller, request: Json, stream: Stream) -> Json:
    raise IpcError(
        "ServiceError",
        "local deployments are not made on this node: what runs on it is said by the fabric file, and its controller"
        " would undo anything else; deploy the component there (hitless deploy)",
    )


async def _list(caller: Caller, request: Json, stream: Stream) -> Json:
    return {"localDeployments": []}


async def _find(caller: Caller, request: Json, stream: Stream) -> Json:
    deployment = _deployment(request)
    raise IpcError(
        "ResourceNotFoundError",
        f"the node has no local deployment {deployment}",
        resourceType="LocalDeployment",
        resourceName=deployment,
    )


def _deployment(request: Json) -> str:
    return text(request, "deploymentId")
