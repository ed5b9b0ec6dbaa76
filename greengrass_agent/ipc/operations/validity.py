"""Components say whether they take the configuration that a deployment would give them.

AWS IoT Greengrass, "Interact with component configuration": SubscribeToValidateConfigurationUpdates and
SendConfigurationValidityReport. What comes of the answers is deployment/validation.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from greengrass_agent.deployment.configuration import Configuration
from greengrass_agent.deployment.validation import Validation
from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.ipc.operations.fields import text
from greengrass_agent.ipc.operations.listening import Listening, news_or_time


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of components now."""

    deployment_id: str
    validation: Validation
    news: asyncio.Event = field(default_factory=asyncio.Event)


class ValidityOperations:
    """The components that want to be asked."""

    def __init__(self) -> None:
        self._listening = Listening(self._left)
        self._question: _Question | None = None

    def operations(self) -> list[Operation]:
        """What components may ask for."""
        return [
            Operation(
                "aws.greengrass#SubscribeToValidateConfigurationUpdates",
                self._subscribe,
                event="aws.greengrass#ValidateConfigurationUpdateEvents",
            ),
            Operation("aws.greengrass#SendConfigurationValidityReport", self._report),
        ]

    async def validate(
        self, deployment_id: str, configurations: Mapping[str, Configuration], timeout_s: float
    ) -> str | None:
        """Ask those of the components that listen; None, or why the deployment cannot be merged."""
        asked = self._listening.components & configurations.keys()
        now = asyncio.get_running_loop().time
        question = self._question = _Question(deployment_id, Validation(now() + timeout_s, set(asked)))
        for name in sorted(asked):
            event = {"configuration": configurations[name], "deploymentId": deployment_id}
            self._listening.send({"validateConfigurationUpdateEvent": event}, name)
        try:
            while (problem := self._problem(question)) is None and question.validation.waits:
                await news_or_time(question.news, question.validation.deadline)
            return problem
        finally:
            if self._question is question:
                self._question = None

    def _problem(self, question: _Question) -> str | None:
        return question.validation.problem(self._listening.components, asyncio.get_running_loop().time())

    async def _subscribe(self, caller: Caller, request: Json, stream: Stream) -> Json:
        self._listening.add(caller.component, stream)
        return {}

    async def _report(self, caller: Caller, request: Json, stream: Stream) -> Json:
        report = request.get("configurationValidityReport")
        if not isinstance(report, Mapping):
            raise IpcError("InvalidArgumentsError", f"configurationValidityReport: expected one, got {report!r:.80}")
        status, deployment = text(dict(report), "status"), text(dict(report), "deploymentId")
        if status not in ("ACCEPTED", "REJECTED"):
            raise IpcError("InvalidArgumentsError", f"status: expected ACCEPTED or REJECTED, got {status:.80}")
        refusal = str(report.get("message") or "it has given no reason") if status == "REJECTED" else None
        question = self._question
        if (
            question is None
            or question.deployment_id != deployment
            or not question.validation.report(caller.component, refusal)
        ):
            message = f"{caller.component} is not asked about its configuration by deployment {deployment}, or no more"
            raise IpcError("InvalidArgumentsError", message)
        question.news.set()
        return {}

    def _left(self) -> None:
        if self._question is not None:
            self._question.news.set()
