"""The Mininet network of a fabric file: its hosts, and its switches, each in a network namespace of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from mininet.net import Mininet
from mininet.node import Host, Switch

from controller.authority.plan import Realm
from controller.authority.store import AuthorityStore
from controller.fabric.file import Fabric
from topologies import emulation, targets
from topologies.layout import HOSTS_PREFIX, MANAGEMENT_PORT, MANAGEMENT_PREFIX, controller_host
from topologies.processes import Process, in_namespace, start, stop

OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro")


class SteeringSwitch(Switch):  # type: ignore[misc]
    """A P4Runtime target in a namespace of its own; ``target`` is softswitch or bmv2, both take the same arguments."""

    def __init__(
        self,
        name: str,
        *,
        target: str,
        device_id: int,
        p4runtime: str,
        tls: Path,
        log: Path,
        emulation: Sequence[str],
        **parameters: Any,
    ) -> None:
        super().__init__(name, **{**parameters, "inNamespace": True})
        self.target = target
        self.device_id = device_id
        self.p4runtime = p4runtime
        self.tls = tls
        self.log = log
        self.emulation = emulation
        self.process: Process | None = None

    def start(self, controllers: object) -> None:
        """Start the target with every data port; it forwards nothing until a controller pushes a program."""
        ports = {port: intf.name for port, intf in self.intfs.items() if 0 < port < MANAGEMENT_PORT}
        command = targets.command(
            self.target,
            device_id=self.device_id,
            ports=ports,
            p4runtime=self.p4runtime,
            tls=self.tls,
            emulation=self.emulation,
        )
        self.process = start(f"switch {self.name} ({self.target})", command, self.log, namespace=self.pid, nice=-10)

    def stop(self, deleteIntfs: bool = True) -> None:
        """End the target and its interfaces."""
        if self.process is not None:
            stop([self.process])
            self.process = None
        super().stop(deleteIntfs)


class LearningBridge(Switch):  # type: ignore[misc]
    """The kernel's learning bridge in a namespace of its own: a fabric where no P4 switch can steer."""

    process = None

    def __init__(self, name: str, **parameters: Any) -> None:
        super().__init__(name, **{**parameters, "inNamespace": True})

    def start(self, controllers: object) -> None:
        """Bridge every data port."""
        run_in(self, "ip", "link", "add", "name", "bridge", "type", "bridge")
        for port, intf in self.intfs.items():
            if 0 < port < MANAGEMENT_PORT:
                run_in(self, "ip", "link", "set", intf.name, "master", "bridge", "up")
        run_in(self, "ip", "link", "set", "bridge", "up")


def build(fabric: Fabric, logs: Path, target: str | None, authority: AuthorityStore) -> Mininet:
    """Build and start the network of a fabric; ``target`` None puts learning bridges in the switches' place.

    The switches serve P4Runtime with the certificates that ``authority`` has issued them.
    The fabric must be one that `layout` lets pass. The caller stops the network (``Mininet.stop``), also after an
    exception from here on.
    """
    network = Mininet(build=False, controller=None)
    try:
        switches = {name: add_switch(network, fabric, name, logs, target, authority) for name in fabric.switches}
        for host_name, host in fabric.hosts.items():
            mininet_host = network.addHost(
                host_name,
                cls=Host,
                ip=f"{host.address}/{HOSTS_PREFIX}",
                mac=host.mac,
                defaultRoute=f"via {fabric.gateway_for(host_name).address}",
            )
            network.addLink(mininet_host, switches[host.switch], port1=0, port2=host.port)
        for link in fabric.links:
            one, other = link.ends
            network.addLink(
                switches[one.switch],
                switches[other.switch],
                port1=one.port,
                port2=other.port,
                addr1=one.mac,
                addr2=other.mac,
            )
        management_host = network.get(controller_host_name(fabric))
        management = {
            name: network.addLink(
                management_host,
                node,
                port1=number,
                port2=MANAGEMENT_PORT,
                intfName1=f"management{number}",
                intfName2=f"{name}-p4rt",
            )
            for number, (name, node) in enumerate(switches.items(), 1)
        }
        network.build()
        for name, cable in management.items():
            address = ip_interface(f"{fabric.switches[name].p4runtime.rpartition(':')[0]}/{MANAGEMENT_PREFIX}")
            host_address = next(one for one in address.network.hosts() if one != address.ip)
            cable.intf1.setIP(str(host_address), MANAGEMENT_PREFIX)
            cable.intf2.setIP(str(address.ip), MANAGEMENT_PREFIX)
        for member in (*network.hosts, *switches.values()):
            prepare(member)
        network.start()
    except BaseException:
        network.stop()
        raise
    return network


def add_switch(
    network: Mininet, fabric: Fabric, name: str, logs: Path, target: str | None, authority: AuthorityStore
) -> Any:
    """Add a P4 switch of the fabric, or a learning bridge in its place."""
    if target is None:
        return network.addSwitch(name, cls=LearningBridge)
    spec = fabric.switches[name]
    return network.addSwitch(
        name,
        cls=SteeringSwitch,
        target=target,
        device_id=spec.device_id,
        p4runtime=spec.p4runtime,
        tls=authority.issued_folder(Realm.SWITCHES, name),
        log=logs / f"switch-{name}.log",
        emulation=emulation.options(fabric, name),
    )


def controller_host_name(fabric: Fabric) -> str:
    """The host that has the broker's address: the controller runs there too."""
    name = controller_host(fabric)
    assert name is not None, "layout refuses a fabric without it"
    return name


def prepare(node: Any) -> None:
    """Make a namespace carry plain IPv4 frames: no IPv6 chatter, nothing left to a device that does no offloading."""
    for setting in ("all", "default"):
        run_in(node, "sysctl", "-qw", f"net.ipv6.conf.{setting}.disable_ipv6=1")
    run_in(node, "ip", "link", "set", "lo", "up")
    for intf in node.intfList():
        if intf.name != "lo":
            run_in(
                node, "ethtool", "-K", intf.name, *(word for name in OFFLOADS for word in (name, "off")), check=False
            )
            run_in(node, "ip", "link", "set", intf.name, "up")


def run_in(node: Any, *command: str, check: bool = True) -> str:
    """Run a command to its end in a node's network namespace; returns its output. Raises RuntimeError on failure."""
    done = subprocess.run(in_namespace(node.pid, command), capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{node.name}: {' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def namespaces(network: Mininet) -> Mapping[str, int]:
    """The process that holds each node's network namespace, by node name."""
    return {node.name: node.pid for node in (*network.hosts, *network.switches)}
