"""A node as the controller meets it: over MQTT it does what the contract says, on the link it sends reports."""

import asyncio
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiomqtt

from controller.fabric.file import Fabric
from hitless.mqtt import topics
from hitless.mqtt.messages import (
    ComponentHealth,
    DeploymentDocument,
    DeploymentInformation,
    Health,
    JobStatusDetails,
    JobUpdate,
    LogLine,
    LogsAsked,
    LogsTold,
    Metrics,
    NextJob,
    Presence,
    Restart,
    RestartEnded,
    ShadowDelta,
    ShadowState,
    StartNext,
)
from hitless.wire.report import Report


@dataclass(eq=False)
class FakeNode:
    """One node. It carries a deployment out by remembering it."""

    fabric: Fabric
    name: str
    epoch: int = 1
    carries_out: bool = True
    """Whether it tells that a job succeeded."""
    jobs: list[str] = field(default_factory=list)
    """Ids of the jobs it was given, each once."""
    deployment: DeploymentDocument | None = None
    fails: str | None = None
    """Why it tells that a job failed."""
    prints: dict[str, list[str]] = field(default_factory=dict)
    """The lines of each component's log."""
    restarts: list[str] = field(default_factory=list)
    """Components that it was asked to launch anew."""
    cannot_restart: str | None = None
    """Why it does not."""
    shadows: dict[str, ShadowState] = field(default_factory=dict)
    """The newest state of each component."""
    _versions: dict[str, int] = field(default_factory=dict)
    _sequence: int = 0

    async def __aenter__(self) -> Self:
        broker = self.fabric.broker
        self._client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=self.name,
            password="secret",
            will=aiomqtt.Will(
                topics.PRESENCE.of(node=self.name), Presence(online=False, epoch=self.epoch).encode(), 1, True
            ),
        )
        await self._client.__aenter__()
        await self._client.subscribe(f"{topics.PREFIX}things/{self.name}/#", qos=1)
        self._listening = asyncio.create_task(self._listen())
        presence = Presence(online=True, epoch=self.epoch)
        await self._client.publish(topics.PRESENCE.of(node=self.name), presence.encode(), 1, True)
        await self.tell_health()
        question = StartNext(client_token="start").encode()
        await self._client.publish(topics.JOBS_START_NEXT.of(node=self.name), question, 1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.cancel()
        with suppress(aiomqtt.MqttError, TimeoutError):  # the broker has gone
            presence = Presence(online=False, epoch=self.epoch)
            await self._client.publish(topics.PRESENCE.of(node=self.name), presence.encode(), 1, True)
            async with asyncio.timeout(0.3):
                await self._client.__aexit__(None, None, None)

    def role(self, component: str) -> str | None:
        """The role that it was told last."""
        return self.shadows[component].role if component in self.shadows else None

    def drains(self, component: str) -> bool | None:
        """Whether it was told to drain; None if it was told nothing."""
        return self.shadows[component].draining if component in self.shadows else None

    async def tell_health(self) -> None:
        """Say what it runs."""
        deployment = self.deployment
        components = deployment.components if deployment else {}
        message = Health(
            ggc_version="0.1.0",
            architecture="amd64",
            thing=self.name,
            overall_device_status="HEALTHY",
            sequence_number=1,
            timestamp=0,
            trigger="DEPLOYMENT",
            components=tuple(
                ComponentHealth(component_name=name, version=one.component_version, status="RUNNING")
                for name, one in components.items()
            ),
            deployment_information=DeploymentInformation(deployment_id=deployment.deployment_id, status="SUCCEEDED")
            if deployment
            else None,
        )
        await self._client.publish(topics.HEALTH.of(node=self.name), message.encode(), 1, True)

    async def tell_metrics(self, service: str, *, cpu: int) -> None:
        """Publish metrics of its instance of a service."""
        message = Metrics.of(self.report(service, cpu=cpu))
        await self._client.publish(topics.METRICS.of(node=self.name, service=service), message.encode(), 0)

    def report(self, service: str, *, cpu: int) -> Report:
        """The next report of its instance of a service."""
        self._sequence += 1
        return Report(
            service_id=self.fabric.services[service].service_id,
            node_id=self.fabric.nodes[self.name].node_id,
            epoch=self.epoch,
            sequence=self._sequence,
            ready=True,
            cpu=cpu,
        )

    def frame(self, service: str, *, cpu: int) -> bytes:
        """The next report as an Ethernet frame to the gateway: IPv4, UDP."""
        payload = self.report(service, cpu=cpu).encode()
        host, reports = self.fabric.hosts[self.name], self.fabric.reports
        udp = struct.pack("!HHHH", 9600, reports.port, 8 + len(payload), 0)
        ip = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, host.address.packed, reports.address.packed
        )
        words = sum(struct.unpack("!10H", ip))
        checksum = ~(words + (words >> 16)) & 0xFFFF
        ip = ip[:10] + struct.pack("!H", checksum) + ip[12:]
        macs = bytes.fromhex((self.fabric.gateway.mac + host.mac).replace(":", ""))
        return macs + b"\x08\x00" + ip + udp + payload

    async def _listen(self) -> None:
        async for message in self._client.messages:
            topic, payload = message.topic.value, message.payload
            assert isinstance(payload, bytes)
            if topics.JOBS_NOTIFY_NEXT.match(topic) or topics.JOBS_START_NEXT_ACCEPTED.match(topic):
                await self._carry_out(NextJob.decode(payload))
            elif levels := topics.RESTART.match(topic):
                self.restarts.append(levels["component"])
                ended = RestartEnded(client_token=Restart.decode(payload).client_token, reason=self.cannot_restart)
                await self._client.publish(topics.RESTART_ENDED.of(**levels), ended.encode(), 1)
            elif levels := topics.LOGS.match(topic):
                await self._tell_log(levels["component"], LogsAsked.decode(payload))
            elif levels := topics.SHADOW_UPDATE_DELTA.match(topic):
                delta = ShadowDelta.decode(payload)
                if delta.version > self._versions.get(levels["component"], -1):
                    self._versions[levels["component"]] = delta.version
                    self.shadows[levels["component"]] = delta.state

    async def _tell_log(self, component: str, asked: LogsAsked) -> None:
        lines = self.prints.get(component, [])
        begin = int(asked.cursor or max(0, len(lines) - (asked.tail or len(lines))))
        told = LogsTold(
            client_token=asked.client_token,
            lines=tuple(LogLine(time=number, level="INFO", text=text) for number, text in enumerate(lines[begin:])),
            cursor=str(len(lines)),
        )
        await self._client.publish(topics.LOGS_TOLD.of(node=self.name, component=component), told.encode(), 1)

    async def _carry_out(self, job: NextJob) -> None:
        execution = job.execution
        if execution is None or execution.job_id in self.jobs:
            return
        self.jobs.append(execution.job_id)
        if not self.carries_out:
            return
        if self.fails is not None:
            details = JobStatusDetails(detailed_status="FAILED_ROLLBACK_COMPLETE", reason=self.fails)
            failed = JobUpdate(status="FAILED", client_token=execution.job_id, status_details=details)
            await self._client.publish(topics.JOB_UPDATE.of(node=self.name, job=execution.job_id), failed.encode(), 1)
            return
        self.deployment = execution.job_document
        done = JobUpdate(status="SUCCEEDED", client_token=execution.job_id)
        await self._client.publish(topics.JOB_UPDATE.of(node=self.name, job=execution.job_id), done.encode(), 1)
        await self.tell_health()
