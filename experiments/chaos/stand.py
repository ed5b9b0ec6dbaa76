"""The fabric under faults: what there is to hit, what is missing, and how a node is given a job."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from controller.fabric.schema import Service
from controller.operator.client import NoControllerError, RefusedError
from controller.operator.documents import Status
from experiments.chaos import processes
from experiments.chaos.processes import Part
from experiments.chaos.releases import REPOSITORY_PORT, Releases
from hitless.component.states import ComponentState
from hitless.mqtt.messages import JobUpdate
from hitless.words import MemberStatus
from topologies import network
from topologies.processes import Process, in_namespace
from topologies.testbed import Testbed

JOBS = "chaos-jobs"
"""Who gives jobs beside the controller, at the broker."""

CLIENT, STRANGER = "client", "stranger"
POLL_S = 0.1
AGREEING = 3
"""Looks in a row that must find everything there: one may come between a cause and its effect."""
REPAIRED_S = 10.0
FILL = "fill"
"""The file that takes up a disk's space."""
CHUNK = bytes(1 << 20)


class NothingToHitError(Exception):
    """A fault whose target is not there, which an earlier fault has to answer for."""


@dataclass
class Stand:
    """A fabric and what is expected of it."""

    bed: Testbed
    releases: Releases
    disk_mb: int
    """Size of a node's log disk; that of its state is fixed."""
    newer: dict[tuple[str, str], int] = field(default_factory=dict)
    """(service, node) whose reports must come from a later epoch than this before all is well again."""
    hosts: dict[str, str] = field(default_factory=dict)
    """The node that serves each service, when last seen."""
    left: dict[tuple[str, str], int] = field(default_factory=dict)
    """Workers of (node, service) that a fault has left for good: they will do as well as those asked for."""

    # What there is

    @property
    def nodes(self) -> list[str]:
        """The nodes' names."""
        return list(self.bed.fabric.nodes)

    def service(self, name: str) -> Service:
        """A service as the fabric file has it."""
        return self.bed.fabric.services[name]

    def services(self, protocol: str | None = None) -> list[str]:
        """The services' names, or of those with this protocol."""
        return [name for name, one in self.bed.fabric.services.items() if protocol in (None, one.protocol)]

    def state_folder(self, node: str) -> Path:
        """What a node's agent keeps."""
        return self.bed.runtime / "nodes" / node

    def log_folder(self, node: str) -> Path:
        """Where a node logs."""
        return self.bed.logs / "nodes" / node

    def parts(self, node: str) -> list[Part]:
        """The processes below a node's agent."""
        try:
            return processes.below(self.bed.process(f"agent-{node}").pid)
        except KeyError:
            return []

    def pid(self, found: Sequence[Part], what: str) -> int:
        """The process that was found. Raises NothingToHitError."""
        if not found:
            raise NothingToHitError(f"there was no {what} to hit")
        return found[0].pid

    async def status(self) -> Status | None:
        """The controller's status; None if it does not answer."""
        try:
            return await asyncio.to_thread(self.bed.controller(timeout_s=1.0).status)
        except (NoControllerError, RefusedError):
            return None

    async def await_new_epoch(self, node: str, services: Sequence[str]) -> None:
        """Take these services of a node as back only when they report in a new epoch."""
        status = await self.status()
        if status is None:
            raise NothingToHitError("the controller did not answer before the fault")
        for service in services:
            self.newer[service, node] = status.services[service].instances[node].epoch

    async def seen(self, node: str, service: str, status: MemberStatus, within_s: float) -> bool:
        """Wait until the switch takes an instance for this, for so long at most; whether it does."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            told = await self.status()
            if told is not None and told.services[service].instances[node].status is status:
                return True
            await asyncio.sleep(POLL_S)
        return False

    # What is missing

    async def recovered(self, within_s: float) -> tuple[int | None, str]:
        """When everything was there (ns), and what was missing last; the time is None if that took too long."""
        deadline, first, agreed, missing = time.monotonic() + within_s, None, 0, ""
        while time.monotonic() < deadline:
            looked_ns = time.monotonic_ns()
            missing = self.what_is_missing(await self.status())
            if missing:
                first, agreed = None, 0
            else:
                first, agreed = first or looked_ns, agreed + 1
                if agreed >= AGREEING:
                    self.newer.clear()
                    return first, ""
            await asyncio.sleep(POLL_S)
        return None, missing

    def what_is_missing(self, status: Status | None) -> str:
        """The first thing that is not as it must be; empty if all is."""
        if status is None:
            return "the controller does not answer"
        self.hosts |= {name: one.host for name, one in status.services.items() if one.host is not None}
        if not status.broker.connected:
            return "the controller has no broker"
        for name, switch in status.switches.items():
            if not switch.connected:
                return f"switch {name} is not provisioned"
        for node in self.nodes:
            if not status.nodes[node].online:
                return f"the agent on {node} is not connected"
            if status.nodes[node].deployment == "under way":
                return f"a deployment is under way on {node}"
            parts = self.parts(node)
            if not processes.emitters(parts):
                return f"there is no emitter on {node}"
            for name in self.services():
                if missing := self._missing_of(name, node, status, parts):
                    return f"{name} on {node}: {missing}"
        return ""

    def _missing_of(self, name: str, node: str, status: Status, parts: list[Part]) -> str:
        component = self.service(name).component
        if (state := status.nodes[node].components.get(component)) != ComponentState.RUNNING:
            return f"its component is {state or 'not deployed'}"
        if not processes.gateways(parts, name):
            return "there is no gateway"
        asked, there = self.releases.wanted[node, name].concurrency, len(processes.workers(parts, component))
        if there not in (asked, self.left.get((node, name))):
            return f"{there} workers in place of {asked}"
        instance = status.services[name].instances[node]
        if instance.status is not MemberStatus.READY:
            return "the switch does not take it for ready"
        if (name, node) in self.newer and instance.epoch <= self.newer[name, node]:
            return "it does not report in a new epoch"
        return ""

    async def repair(self) -> None:
        """Do what an operator would: deploy anew what does not run, and leave it at that.

        What is there then is taken for what should be, so that the next faults are judged by what they do themselves.
        """
        self.newer.clear()
        status = await self.status()
        for node in self.nodes if status is not None else ():
            assert status is not None
            broken = [
                name
                for name in self.services()
                if status.nodes[node].components.get(self.service(name).component) != ComponentState.RUNNING
            ]
            for name in broken:
                self.releases.wanted[node, name].component = self.releases.release(name)
            if broken:
                await self.deploy(node)
                await self.recovered(REPAIRED_S)
        for node in self.nodes:
            parts = self.parts(node)
            for name in self.services():
                self.left[node, name] = len(processes.workers(parts, self.service(name).component))

    # What is done to it

    def kill(self, process: Process) -> None:
        """Kill a process of the fabric itself and take leave of it."""
        process.signal(signal.SIGKILL)
        process.handle.wait()
        self.bed.stop(process)

    async def deploy(self, node: str, patience_s: float = 30.0) -> JobUpdate | None:
        """Have a node brought to what the releases want of it; None if it did not say in time how that ended."""
        job = self.releases.job(node)
        reader, writer = await asyncio.open_unix_connection(self.bed.runtime / "jobs.sock")
        try:
            writer.write(node.encode() + b"\n" + job.encode() + b"\n")
            line = await asyncio.wait_for(reader.readline(), patience_s)
        except TimeoutError:
            return None
        finally:
            writer.close()
        return JobUpdate.decode(line) if line else None

    async def ask(self, node: str, service: str, body: str = "") -> tuple[int, str]:
        """Send a request to an instance at its node's address; returns status and text (0 and why, without one)."""
        spec, address = self.service(service), self.bed.fabric.hosts[node].address
        command = [sys.executable, "-m", "experiments.chaos.ask", spec.protocol, str(address), str(spec.port)]
        command += [str(spec.service_id), body]
        process = await asyncio.create_subprocess_exec(
            *in_namespace(self.bed.namespace(CLIENT), command), stdout=asyncio.subprocess.PIPE
        )
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        status, text = json.loads(output)
        return int(status), str(text)

    def run_on(self, host: str, *command: str) -> str:
        """Run a short command on a host; returns what it printed. Raises CalledProcessError."""
        line = in_namespace(self.bed.namespace(host), command)
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout

    def start_jobs(self) -> Process:
        """Start who gives jobs, on the control host."""
        bed, place = self.bed, self.bed.fabric.repository
        told = {
            "socket": str(bed.runtime / "jobs.sock"),
            "repository": str(self.releases.repository),
            "address": str(place.host),
            "port": REPOSITORY_PORT,
            "broker": bed.broker_settings(JOBS).model_dump(mode="json"),
        }
        (bed.runtime / "jobs.sock").unlink(missing_ok=True)
        file = bed.runtime / "jobs.json"
        file.write_text(json.dumps(told))
        command = [sys.executable, "-m", "experiments.chaos.jobs", str(file)]
        return bed.start("jobs", command, host=network.controller_host_name(bed.fabric))

    def give_disks(self) -> None:
        """Put each node's state and logs on small disks of their own; this process has mounts of its own."""
        for node in self.nodes:
            self.bed.stop(self.bed.process(f"agent-{node}"))
            for folder, size in ((self.state_folder(node), 64), (self.log_folder(node), self.disk_mb)):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                mount("-t", "tmpfs", "-o", f"size={size}m,mode=755", "tmpfs", str(folder))
            self.bed.start_agent(node)

    def keep_logs(self) -> None:
        """Copy the nodes' logs off their disks, and take the disks away."""
        for node in self.nodes:
            folder, kept = self.log_folder(node), self.log_folder(node).with_name(f"{node}.kept")
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns(FILL))
            for mounted in (folder, self.state_folder(node)):
                subprocess.run(["umount", "--lazy", str(mounted)], check=True)
            folder.rmdir()
            kept.rename(folder)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no space on a folder's disk for the time of the block."""
    file = folder / FILL
    try:
        with file.open("wb", buffering=0) as stream:
            for size in (len(CHUNK), 4096, 1):
                with suppress(OSError):
                    while True:
                        stream.write(CHUNK[:size])
        yield
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nothing be written below a folder for the time of the block, except through files that are open already."""
    mount("--bind", str(folder), str(folder))
    try:
        mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def mount(*words: str) -> None:
    """Run mount(8). Raises OSError with what it says."""
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(errno.EIO, f"mount {' '.join(words)}: {done.stderr.strip()}")
