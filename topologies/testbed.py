"""The whole system of a fabric file, up and running: network, switch, broker, controller, an agent on every node."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from mininet.log import setLogLevel
from mininet.net import Mininet
from pydantic import BaseModel

from controller.authority.plan import Realm, Subject, subjects
from controller.authority.store import AuthorityStore
from controller.fabric.file import Fabric, refuse
from controller.nodes import deployments
from controller.nodes.components import base_url, pack_all
from controller.operator.client import Client, NoControllerError, RefusedError
from controller.operator.invoke import NAMESPACES
from greengrass_agent.config import AgentConfig
from greengrass_agent.settings import CgroupSettings, ReportSettings
from hitless.files import write_atomic
from hitless.modes import IN_NETWORK, RECONFIGURATION, Mode
from hitless.mqtt.access import access_list
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.identities import BROKER, CONTROLLER, client_identity, emitter_identity
from hitless.tls import Identity
from hitless.wire.sealed_event import KEY_BYTES
from topologies import broker, cgroups, layout, leftovers, network
from topologies.processes import Process, start, stop, tail, uninterrupted
from topologies.readiness import GivenUp, given_up, missing, troubled
from topologies.supervision import Ended, Start, Supervision

INVOKE_KEY = "invoke.key"
"""Of Lambda's Invoke API, in the runtime folder."""
LOOK_S = 0.1
"""Seconds between two looks at whether all parts run."""
REPOSITORY_ROOT = Path(__file__).resolve().parent.parent
APPS = (REPOSITORY_ROOT / "apps",)
"""Where the components are unless somebody has others."""


class NotReady(Exception):
    """Something did not come up in time; says what, what was seen last and where the logs are."""


@dataclass
class Testbed:
    """A running fabric. Everything in it ends with the context that made it."""

    __test__ = False  # pytest takes any class named so for one of its own

    fabric: Fabric
    fabric_path: Path
    mode: Mode
    network: Mininet
    logs: Path
    runtime: Path
    authority: AuthorityStore
    hierarchy: cgroups.Hierarchy
    components: Sequence[Path]
    evidence: bool
    either_mode: bool = False
    """Whether the nodes tell the switch and the controller of themselves, so that either of them can steer."""
    processes: list[Process] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        """The controller's API."""
        return self.runtime / "controller.sock"

    def namespace(self, host: str) -> int:
        """A process that holds the host's network namespace."""
        return int(self.network.get(host).pid)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        host: str,
        nice: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a process on a host; its log is ``<logs>/<name>.log``."""
        process = start(
            name,
            command,
            self.logs / f"{name}.log",
            namespace=self.namespace(host),
            nice=nice,
            cwd=REPOSITORY_ROOT,
        )
        self.processes.append(process)
        self.record()
        return process

    def stop(self, process: Process) -> None:
        """End one process that ``start`` started."""
        stop([process])
        self.processes.remove(process)

    def record(self) -> None:
        """Keep the record of our processes for whoever must clean up after us."""
        nodes = network.namespaces(self.network).values()
        switches = [one.process.pid for one in self.network.switches if one.process is not None]
        pids = [*nodes, *switches, *(one.pid for one in self.processes)]
        leftovers.record(pids, self.fabric.nodes, self.runtime)
        (self.runtime / NAMESPACES).write_text(json.dumps(dict(network.namespaces(self.network))))

    def broker_settings(self, identity: str) -> BrokerSettings:
        """Where the broker is, for one who has this name there."""
        tls = self.authority.issued_folder(Realm.BUS, identity)
        return BrokerSettings.of(self.fabric.broker.host, self.fabric.broker.port, tls=tls)

    def competing(self, node: str) -> list[Path]:
        """The control groups that a process joins to compete with the functions of a node for its budget."""
        return list(self.hierarchy.node(node).child(cgroups.OTHER).paths.values())

    def process(self, name: str) -> Process:
        """The running process of that name; raises KeyError."""
        for one in self.processes:
            if one.name == name:
                return one
        raise KeyError(name)

    def parts(self) -> list[Process]:
        """All processes of the system, the switches' among them."""
        return [*self.processes, *(node.process for node in self.network.switches if node.process is not None)]

    def check(self, *, but: Process | None = None) -> None:
        """Raise ProcessEnded if a part of the system, ``but`` excepted, has ended by itself."""
        for one in self.parts():
            if one is not but:
                one.check()

    def start_again(self, ended: Process) -> None:
        """Start a part that has ended, as it was started."""
        started = ended.again()
        self.processes = [started if one is ended else one for one in self.processes]
        for node in self.network.switches:
            if node.process is ended:
                node.process = started
        self.record()

    async def supervise(self, say: Callable[[str], None]) -> NoReturn:
        """Start again what ends by itself, and say so, until cancelled."""
        supervision = Supervision(time.monotonic())
        while True:
            ended = {one.name: (one, end) for one in self.parts() if (end := one.end()) is not None}
            for step in supervision.look(time.monotonic(), ended):
                part, end = ended[step.part]
                match step:
                    case Ended():
                        often = f" ({step.times} times by now)" if step.times > 1 else ""
                        say(f"{end}\n{step.part}{often} is started again in {step.wait_s:g} s")
                    case Start():
                        self.start_again(part)
            await asyncio.sleep(LOOK_S)

    def start_broker(self) -> Process:
        """Start (or start again) mosquitto on the controller's host."""
        host = network.controller_host_name(self.fabric)
        configuration = self.runtime / "broker" / "mosquitto.conf"
        return self.start("broker", ["mosquitto", "-c", str(configuration)], host=host)

    def start_controller(self) -> Process:
        """Start (or start again) the controller."""
        host = network.controller_host_name(self.fabric)
        command = [sys.executable, "-m", "controller", "controller", str(self.fabric_path)]
        command += [word for folder in self.components for word in ("--components", str(folder.absolute()))]
        command += ["--socket", str(self.socket)]
        command += ["--tls", str(self.authority.issued_folder(Realm.BUS, CONTROLLER).parent)]
        command += ["--state", str(self.runtime / "controller"), "--mode", self.mode]
        command += ["--event-log", str(self.logs / "events.ndjson")]
        return self.start("controller", command, host=host)

    async def steer_by(self, mode: Mode, progress: Callable[[str], None]) -> None:
        """Have new work steered another way from now on: start the controller again in that mode, and wait for it.

        The nodes and the switches go on meanwhile. For a fabric with ``either_mode``. Raises what ``ready`` raises.
        """
        self.stop(self.process("controller"))
        self.mode = mode
        self.start_controller()
        await self.ready(progress)

    def start_agent(self, node: str) -> Process:
        """Start (or start again) the agent of a node."""
        configuration = self.runtime / "agents" / f"{node}.json"
        command = [sys.executable, "-m", "greengrass_agent", "--node", node, "--config", str(configuration)]
        return self.start(f"agent-{node}", command, host=node, nice=-5)

    def controller(self, timeout_s: float = 2.0) -> Client:
        """The controller, which may be silent for so long in a call."""
        return Client(self.socket, timeout_s=timeout_s)

    async def ready(self, progress: Callable[[str], None], timeout_s: float = 60.0) -> None:
        """Wait until the switch is programmed and every service runs and is seen on each of its nodes.

        Raises NotReady, as soon as a node gives up a component, and ProcessEnded.
        """
        deadline = time.monotonic() + timeout_s
        awaited = told = ""
        while time.monotonic() < deadline:
            self.check()
            try:
                failed, awaited = await asyncio.to_thread(self._look, self.controller())
            except (NoControllerError, RefusedError):
                failed, awaited = None, "the controller to answer"
            if failed is not None:
                log = self._log_of(failed)
                raise NotReady(f"{failed}; the end of {log}:\n{tail(log)}")
            if not awaited:
                return
            if awaited != told:
                progress(f"waiting for {awaited}")
                told = awaited
            await asyncio.sleep(0.1)
        raise NotReady(f"after {timeout_s:.0f} s still waiting for {awaited}; see the logs in {self.logs}")

    def _look(self, client: Client) -> tuple[GivenUp | None, str]:
        """What a node has given up to bring up, and the first thing that is not up yet."""
        status = client.status()
        failed = given_up(self.fabric, status, client.events) if troubled(status) else None
        return failed, missing(self.fabric, self.mode, status)

    def _log_of(self, failed: GivenUp) -> Path:
        if failed.component is None:
            return self.logs / f"agent-{failed.node}.log"
        return self.logs / "nodes" / failed.node / f"{failed.component}.log"


@asynccontextmanager
async def testbed(
    fabric_path: Path,
    logs: Path,
    *,
    target: str | None,
    clients: Sequence[str],
    controllers: Sequence[str] = (CONTROLLER,),
    runtime: Path = leftovers.RUNTIME,
    budget_cores: float = 0.5,
    components: Sequence[Path] = APPS,
    evidence: bool = False,
    either_mode: bool = False,
) -> AsyncIterator[Testbed]:
    """Bring a fabric up; on exit, also by an exception, nothing of it stays.

    ``target`` is the P4 switch's (softswitch, bmv2), None for a learning bridge and migration by reconfiguration.
    ``controllers`` may do at the broker what the controller may.
    ``budget_cores`` is each node's CPU budget, ``components`` the folders that the controller deploys from.
    With ``evidence`` the nodes write down each execution and each report,
    below ``logs``. With ``either_mode`` whoever steers can change (``Testbed.steer_by``). Raises Busy, LocatedError,
    NotReady, ProcessEnded.
    """
    setLogLevel("warning")
    fabric = layout.load(fabric_path, bridged=target is None, target=target or "")
    library = pack_all(components, base_url(fabric))
    try:
        deployments.check(fabric, library, at_node_addresses=target is None)
    except deployments.DeploymentError as error:
        refuse(fabric_path, error.found)
    mode = RECONFIGURATION if target is None else IN_NETWORK
    with leftovers.exclusive(runtime):
        leftovers.clean(runtime)
        logs.mkdir(parents=True, exist_ok=True)
        for name in ("broker", "agents", "controller", "authority", "nodes"):
            shutil.rmtree(runtime / name, ignore_errors=True)
        authority = AuthorityStore(runtime / "authority")
        named = (*map(client_identity, clients), *controllers)
        authority.bring_up_to_date([*(Subject(Realm.BUS, name) for name in named), *subjects(fabric)], time.time())
        net = network.build(fabric, logs, target, authority)
        hierarchy = cgroups.Hierarchy.detect()
        bed = Testbed(
            fabric,
            fabric_path.absolute(),
            mode,
            net,
            logs,
            runtime,
            authority,
            hierarchy,
            components,
            evidence,
            either_mode,
        )
        try:
            bed.record()
            for node in fabric.nodes:
                bed.hierarchy.create(node, budget_cores)
            triggers = {name: service.triggers for name, service in fabric.services.items()}
            write_settings(bed, access_list(fabric.nodes, clients, controllers, triggers))
            bed.start_broker()
            bed.start_controller()
            for node in fabric.nodes:
                bed.start_agent(node)
            yield bed
        finally:
            with uninterrupted():
                stop(list(reversed(bed.processes)))
                net.stop()
                for node in fabric.nodes:
                    bed.hierarchy.remove(node)
                leftovers.forget(runtime)
                (runtime / NAMESPACES).unlink(missing_ok=True)
                shutil.rmtree(runtime / "authority", ignore_errors=True)


def write_settings(bed: Testbed, access: str) -> None:
    """Write the broker's configuration with its access list, and the agents' settings."""
    fabric, runtime = bed.fabric, bed.runtime
    runtime.chmod(0o755)
    identity = Identity(bed.authority.issued_folder(Realm.BUS, BROKER))
    broker.write_configuration(runtime / "broker", fabric.broker.host, fabric.broker.port, identity, access)
    if not (key := runtime / INVOKE_KEY).exists():
        write_atomic(key, secrets.token_hex(KEY_BYTES).encode(), mode=0o600)
    for name in fabric.nodes:
        write_private(runtime / "agents" / f"{name}.json", agent_config(bed, name))


def agent_config(bed: Testbed, node: str) -> AgentConfig:
    """The configuration of a node's agent."""
    fabric = bed.fabric
    return AgentConfig(
        thing=node,
        node_id=fabric.nodes[node].node_id,
        node_address=str(fabric.hosts[node].address),
        gateway_address=str(fabric.gateway_for(node).address),
        broker=bed.broker_settings(node),
        reports=ReportSettings(
            address=str(fabric.reports.address),
            port=fabric.reports.port,
            interval_ms=fabric.reports.interval_ms,
            idle_interval_ms=fabric.reports.idle_interval_ms,
        ),
        root=bed.runtime / "nodes" / node,
        log_dir=bed.logs / "nodes" / node,
        evidence=bed.evidence,
        invoke_key=bed.runtime / INVOKE_KEY,
        cgroup=CgroupSettings.of(bed.hierarchy.node(node)),
        metrics_broker=bed.broker_settings(emitter_identity(node))
        if bed.either_mode or bed.mode == RECONFIGURATION
        else None,
        trigger_identities=bed.authority.issued_folder(Realm.BUS, node).parents[1],
        mode=bed.mode,
    )


def write_private(path: Path, content: BaseModel) -> None:
    """Write JSON that only root may read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(path, content.model_dump_json(indent=1).encode(), mode=0o600)
