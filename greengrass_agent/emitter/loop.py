"""The emitter's loop: reports on an absolute schedule, and in between when a queue jumps."""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections.abc import Callable, Collection

from pydantic import ValidationError

from greengrass_agent.emitter.instance import Instance
from greengrass_agent.emitter.mqtt import MetricPublisher
from greengrass_agent.emitter.schedule import Schedule
from greengrass_agent.emitter.settings import COMMAND, Add, EmitterSettings, Remove, Tag
from greengrass_agent.host.cgroup import CgroupError
from greengrass_agent.measure.metrics import Share, permille_of
from hitless.faults import faults
from hitless.files import StateError
from hitless.wire.report import Report, ReportError

log = logging.getLogger(__name__)

MEMORY_EVERY_NS = 1_000_000_000
FLUSH_EVERY_NS = 100_000_000
_READ = 1 << 16


class Emitter:
    """Reports all instances of a node. Commands come on the descriptor `commands`; their end ends it."""

    def __init__(self, settings: EmitterSettings, commands: int) -> None:
        """Raises OSError, CgroupError."""
        self._settings = settings
        self._commands = commands
        self._partial = b""
        group = settings.cgroup.group()
        self._group = group
        self._budget_cores = group.budget_cores()
        self._usage = group.usage()
        self._share = Share(self._budget_cores)
        self._memory = 0
        self._memory_read_ns = -MEMORY_EVERY_NS
        self._flushed_ns = 0
        self._instances: dict[str, Instance] = {}
        self._sending_fails = False
        self._notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        settings.notify_socket.unlink(missing_ok=True)
        self._notifications.bind(str(settings.notify_socket))
        self._outputs: list[Callable[[str, Report], None]] = []
        self._publisher: MetricPublisher | None = None
        self._socket: socket.socket | None = None
        if settings.reports is not None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.bind((settings.node_address, 0))
            self._destination = (settings.reports.address, settings.reports.port)
            self._outputs.append(self._send)
        if settings.broker is not None:
            self._publisher = MetricPublisher(settings.node, settings.broker)
            self._outputs.append(self._publisher.publish)

    def run(self) -> None:
        """Report until the commands end."""
        schedule = Schedule(self._settings.interval_ms * 1_000_000, time.monotonic_ns())
        notifications = self._notifications.fileno()
        while True:
            wait = max(0, schedule.next_ns - time.monotonic_ns()) / 1e9
            readable, _, _ = select.select((self._commands, notifications), (), (), wait)
            if self._commands in readable and not self._obey():
                return
            notified = self._notified_services() if notifications in readable else set()
            now_ns = time.monotonic_ns()
            if schedule.due(now_ns):
                self._emit(now_ns, list(self._instances))
                self._housekeeping(now_ns)
            elif notified:
                self._emit(now_ns, notified)

    def close(self) -> None:
        """Write the logs and close everything."""
        for instance in self._instances.values():
            instance.close()
        self._usage.close()
        self._notifications.close()
        self._settings.notify_socket.unlink(missing_ok=True)
        if self._socket is not None:
            self._socket.close()
        if self._publisher is not None:
            self._publisher.close()

    def _emit(self, now_ns: int, services: Collection[str]) -> None:
        self._share.add(self._usage.read_ns(), now_ns)
        # Every instance is read every time: shares that are read at the same times are smoothed alike.
        for instance in list(self._instances.values()):
            try:
                instance.read(now_ns)
            except CgroupError as error:
                log.warning("%s is reported no more: %s", instance.service, error)
                self._drop(instance.service)
        cpu = self._share.permille
        for service in [service for service in services if service in self._instances]:
            report = self._instances[service].report(now_ns, cpu, self._memory)
            for output in self._outputs:
                output(service, report)

    def _send(self, service: str, report: Report) -> None:
        assert self._socket is not None
        try:
            self._socket.sendto(self._instances[service].wire(report), self._destination)
        except OSError as error:
            if not self._sending_fails:
                log.error("reports to %s:%d cannot be sent: %s", *self._destination, error)
            self._sending_fails = True
        else:
            self._sending_fails = False

    def _housekeeping(self, now_ns: int) -> None:
        if now_ns - self._memory_read_ns >= MEMORY_EVERY_NS:
            self._memory_read_ns = now_ns
            self._memory = permille_of(self._group.memory_bytes(), self._settings.memory_bytes)
        if now_ns - self._flushed_ns >= FLUSH_EVERY_NS:
            self._flushed_ns = now_ns
            for instance in self._instances.values():
                instance.flush()

    def _notified_services(self) -> set[str]:
        services = set()
        while True:
            try:
                services.add(self._notifications.recv(256).decode(errors="replace"))
            except BlockingIOError:
                return services

    def _obey(self) -> bool:
        """Carry out the commands that are there; False at their end."""
        data = os.read(self._commands, _READ)
        if not data:
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            try:
                self._command(line)
            except ValidationError as error:  # not quoted: a command may hold a key
                log.error("command refused: %s", faults(error, "command", quoted=False))
            except (OSError, CgroupError, StateError, ReportError) as error:
                log.error("command refused: %s", error)
        return True

    def _command(self, line: bytes) -> None:
        match COMMAND.validate_json(line):
            case Add() as added:
                self._drop(added.service)
                self._instances[added.service] = Instance(added, self._settings.node_id, self._budget_cores)
            case Tag(service=service, key=key):
                if service in self._instances:
                    self._instances[service].key = key.key() if key is not None else None
            case Remove(service=service):
                self._drop(service)
            case EmitterSettings():
                raise OSError("the node was told before")

    def _drop(self, service: str) -> None:
        instance = self._instances.pop(service, None)
        if instance is not None:
            instance.close()
