"""Secrets for components: the operation of Greengrass's secret manager.

AWS IoT Greengrass, "Retrieve secret values". The secrets are the node's own; no account of AWS is asked for them.
"""

from __future__ import annotations

import base64
import logging
from typing import Final, Protocol

from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.secrets.secret import Secret, SecretError
from greengrass_agent.secrets.store import Value
from hitless.files import StateError

log = logging.getLogger(__name__)

SERVICE: Final = "aws.greengrass.SecretManager"


class Secrets(Protocol):
    """What is needed of the node's secrets."""

    def find(self, secret_id: str) -> tuple[str, Secret] | None:
        """Name and secret, by its name or its ARN. Raises StateError."""

    def read(self, secret_id: str, version_id: str | None, stage: str | None, *, afresh: bool = False) -> Value:
        """Decrypt a version of a secret. Raises SecretError, StateError."""


class SecretOperations:
    """The secrets of a node as its components have them."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def operations(self) -> list[Operation]:
        """What components may ask for."""
        return [Operation("aws.greengrass#GetSecretValue", self._get, resource=self._resource, service=SERVICE)]

    async def _get(self, caller: Caller, request: Json, stream: Stream) -> Json:
        secret_id = _secret_id(request)
        version_id, stage = _text(request, "versionId"), _text(request, "versionStage")
        if version_id is not None and stage is not None:
            raise IpcError("ServiceError", "Both versionId and Stage are set in the request")
        try:
            found = self._secrets.read(secret_id, version_id, stage, afresh=request.get("refresh") is True)
        except SecretError as error:
            raise IpcError("ResourceNotFoundError", str(error), resourceType="secret") from error
        except StateError as error:
            raise _unreadable(error) from error
        if found.version.kind == "string":
            value = {"secretString": found.value.decode()}
        else:
            value = {"secretBinary": base64.b64encode(found.value).decode()}
        return {
            "secretId": found.secret.arn,
            "versionId": found.version.id,
            "versionStage": list(found.version.stages),
            "secretValue": value,
        }

    def _resource(self, request: Json) -> str:
        """What `accessControl` calls a secret: its ARN. One that is not there is called as it was asked for, so that
        nobody learns which secrets there are who may have none."""
        secret_id = _secret_id(request)
        try:
            found = self._secrets.find(secret_id)
        except StateError as error:
            raise _unreadable(error) from error
        return found[1].arn if found is not None else secret_id


def _unreadable(error: StateError) -> IpcError:
    log.error("%s", error)
    return IpcError("ServiceError", "the node's secrets cannot be read; the agent's log says why")


def _secret_id(request: Json) -> str:
    secret_id = request.get("secretId")
    if not isinstance(secret_id, str) or not secret_id:
        raise IpcError("ServiceError", "SecretId absent in the request")
    return secret_id


def _text(request: Json, name: str) -> str | None:
    """A field that may be missing; empty is as missing."""
    value = request.get(name)
    if value is not None and not isinstance(value, str):
        raise IpcError("ServiceError", f"{name}: expected a text")
    return value or None
