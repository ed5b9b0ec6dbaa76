"""The emitter's loop: reports on an absolute schedule, and in between when a queue jumps."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import time
from collections.abc import Callable, Iterable

from pydantic import ValidationError

from greengrass_agent.emitter.instance import Instance, Node
from greengrass_agent.emitter.mqtt import MetricPublisher
from greengrass_agent.emitter.schedule import Schedule
from greengrass_agent.emitter.settings import COMMAND, Add, EmitterSettings, Remove, Silent, Tag
from greengrass_agent.emitter.waiting import Waiting
from greengrass_agent.host.cgroup import CgroupError
from greengrass_agent.logs.writer import CLOSE_S
from greengrass_agent.measure.contention import share_of_all
from greengrass_agent.measure.metrics import Share, permille_of
from hitless.faults import faults
from hitless.wire.report import Report, ReportError

log = logging.getLogger(__name__)

HOUSEKEEPING_NS = 1_000_000_000
_READ = 1 << 16


class Emitter:
    """Reports all instances of a node. Commands come on the descriptor `commands`; their end ends it.

    What the agent should know goes to the descriptor `told`.
    """

    def __init__(self, settings: EmitterSettings, commands: int, told: int) -> None:
        """Raises OSError, CgroupError."""
        self._settings = settings
        self._commands = commands
        self._told = told
        self._partial = b""
        group = settings.cgroup.group()
        self._group = group
        self._budget_cores = group.budget_cores()
        self._usage = group.usage()
        self._share = Share(self._budget_cores)
        self._used_ns = -1
        self._all_read_ns = 0
        self._unused_until_ns = 0
        """Between the last reading that showed use and this time, nothing on the node has used CPU time."""
        self._memory = 0
        self._memory_used_ns = -1
        """CPU time used when the memory was looked at."""
        self._kept_ns = -HOUSEKEEPING_NS
        self._instances: dict[str, Instance] = {}
        self._silent: set[str] = set()
        """Services whose gateways stand still, as the agent was told."""
        self._waiting = Waiting()
        self._sending_fails = False
        self._woken = True
        """Whether gateways can wake us."""
        self._notifications = self._notification_socket()
        self._outputs: list[Callable[[Instance, Report], None]] = []
        self._publisher: MetricPublisher | None = None
        self._socket: socket.socket | None = None
        if settings.reports is not None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.bind((settings.node_address, 0))
            self._destination = (settings.reports.address, settings.reports.port)
            self._outputs.append(self._send)
        if settings.broker is not None:
            self._publisher = publisher = MetricPublisher(settings.node, settings.broker)
            self._outputs.append(lambda instance, report: publisher.publish(instance.added.service, report))

    def run(self) -> None:
        """Report until the commands end. Raises CgroupError when the node's own group has gone."""
        schedule = Schedule(self._settings.interval_ms * 1_000_000, time.monotonic_ns())
        notifications = self._notifications.fileno()
        while True:
            wait = max(0, schedule.next_ns - time.monotonic_ns()) / 1e9
            readable, _, _ = select.select((self._commands, notifications), (), (), wait)
            if self._commands in readable and not self._obey():
                return
            notified = self._notified_services() if notifications in readable else set()
            now_ns = time.monotonic_ns()
            if readable:
                schedule.wake(now_ns)
            if schedule.due(now_ns):
                self._measure(now_ns)
                node = self._node()
                self._report(self._due(now_ns, node), now_ns, node)
                if now_ns - self._kept_ns >= HOUSEKEEPING_NS:
                    self._kept_ns = now_ns
                    self._housekeeping(now_ns)
                self._rest(schedule, now_ns)
            elif notified:
                self._measure(now_ns)
                jumped = [self._instances[name] for name in notified if name in self._instances]
                self._report(jumped, now_ns, self._node())

    def close(self) -> None:
        """Write the logs and close everything."""
        end = time.monotonic() + CLOSE_S
        for instance in self._instances.values():
            instance.close(max(0.0, end - time.monotonic()))
        self._usage.close()
        self._notifications.close()
        with contextlib.suppress(OSError):
            self._settings.notify_socket.unlink(missing_ok=True)
        if self._socket is not None:
            self._socket.close()
        if self._publisher is not None:
            self._publisher.close()

    def _notification_socket(self) -> socket.socket:
        path = self._settings.notify_socket
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            path.unlink(missing_ok=True)
            made.bind(str(path))
        except OSError as error:
            self._woken = False
            log.error("%s: %s: queues that jump are reported at the next point of the schedule", path, error.strerror)
        return made

    def _measure(self, now_ns: int) -> None:
        """Read what was used. Every instance is read each time that somebody has used CPU time: shares that are read at
        the same times are smoothed alike, and where the whole has used none, no part has. Now and then each is read
        anyhow, since its group may have gone."""
        used_ns = self._usage.read_ns()
        self._share.add(used_ns, now_ns)
        unused = used_ns == self._used_ns and now_ns - self._all_read_ns < HOUSEKEEPING_NS
        if not unused:
            self._all_read_ns = now_ns
        for instance in list(self._instances.values()):
            if unused and not instance.unread:
                continue
            try:
                instance.read(now_ns, self._unused_until_ns)
            except CgroupError as error:
                log.warning("%s is not reported: %s", instance.added.service, error)
                self._drop(instance.added.service)
                self._waiting.put(instance.added, now_ns, instance.sequence)
        self._used_ns, self._unused_until_ns = used_ns, now_ns

    def _node(self) -> Node:
        felt = share_of_all(one.felt for one in self._instances.values())
        return Node(self._share.permille, self._memory, felt)

    def _due(self, now_ns: int, node: Node) -> list[Instance]:
        """Those to report at this point of the schedule; where all rest, all together, so that we wake seldom."""
        instances = list(self._instances.values())
        due = [one for one in instances if one.due(now_ns, self._unused_until_ns, node)]
        for one in instances:
            if one.silent is not (one.added.service in self._silent):
                self._tell(Silent(service=one.added.service, silent=one.silent))
        return instances if due and all(one.resting for one in instances) else due

    def _rest(self, schedule: Schedule, now_ns: int) -> None:
        """Leave out points of the schedule while all instances rest."""
        until = [one.rests_until() for one in self._instances.values()]
        known = [time_ns for time_ns in until if time_ns is not None]
        if self._woken and len(known) == len(until):
            schedule.rest(min(known, default=now_ns + self._settings.idle_interval_ms * 1_000_000))

    def _report(self, instances: Iterable[Instance], now_ns: int, node: Node) -> None:
        for instance in instances:
            report = instance.report(now_ns, self._unused_until_ns, node)
            for output in self._outputs:
                output(instance, report)

    def _send(self, instance: Instance, report: Report) -> None:
        assert self._socket is not None
        try:
            self._socket.sendto(instance.wire(report), self._destination)
        except OSError as error:
            if not self._sending_fails:
                log.error("reports to %s:%d cannot be sent: %s", *self._destination, error)
            self._sending_fails = True
        else:
            self._sending_fails = False

    def _tell(self, silent: Silent) -> None:
        # An agent that does not read must not hold up the reports: a pipe that can be written to has room for a line,
        # and where it has none, the next look tells.
        if not select.select((), (self._told,), (), 0)[1]:
            return
        (self._silent.add if silent.silent else self._silent.discard)(silent.service)
        with contextlib.suppress(OSError):
            os.write(self._told, silent.model_dump_json().encode() + b"\n")

    def _housekeeping(self, now_ns: int) -> None:
        # Who has not run has no other memory than before.
        if self._memory_used_ns != self._used_ns:
            self._memory_used_ns = self._used_ns
            try:
                self._memory = permille_of(self._group.memory_bytes(), self._settings.memory_bytes)
            except OSError as error:
                log.warning("the node's memory cannot be read: %s", error)
        for added, sequence in self._waiting.due(now_ns):
            self._begin(added, now_ns, sequence)

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
            except (OSError, ReportError) as error:
                log.error("command refused: %s", error)
        return True

    def _command(self, line: bytes) -> None:
        match COMMAND.validate_json(line):
            case Add() as added:
                self._drop(added.service)
                self._begin(added, time.monotonic_ns())
            case Tag(service=service, key=key):
                self._waiting.tag(service, key)
                if service in self._instances:
                    self._instances[service].key = key.key() if key is not None else None
            case Remove(service=service):
                self._drop(service)
            case EmitterSettings():
                raise OSError("the node was told before")

    def _begin(self, added: Add, now_ns: int, sequence: int = 0) -> None:
        """Report an instance; tried again and again where a file of it cannot be opened. Raises ReportError."""
        try:
            self._instances[added.service] = Instance(added, self._settings, self._budget_cores, sequence)
        except (OSError, CgroupError) as error:
            if self._waiting.put(added, now_ns, sequence):
                log.error("%s cannot be reported yet, tried again: %s", added.service, error)
        else:
            if self._waiting.drop(added.service):
                log.info("%s is reported", added.service)

    def _drop(self, service: str) -> None:
        self._waiting.drop(service)
        if service in self._silent:
            self._tell(Silent(service=service, silent=False))
        instance = self._instances.pop(service, None)
        if instance is not None:
            instance.close()
