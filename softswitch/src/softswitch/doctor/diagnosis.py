"""From facts to findings. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from softswitch.doctor.machine import ETHERNET, Finding, Interface, Machine

PROBLEM, WARNING, NOTE = "problem", "warning", "note"
XDP_MTU = 4078
"""The most that --io af_xdp takes."""
TELLS_UDP_SEGMENTATION = (6, 2)
"""The kernel that first says of a frame that UDP left its segmentation to a card (virtio_net_hdr_from_skb)."""

_SEGMENTATION = ("tx-tcp-segmentation", "tx-generic-segmentation", "rx-gro", "rx-lro")
_SWITCHES = ("softswitch", "simple_switch")
_NEAR = 12
"""Names that are shown in place of one that is missing."""


def examine(wanted: Sequence[str], machine: Machine, io: str) -> list[Finding]:
    """What would go wrong with the interfaces `wanted` as ports of one switch, the worst first."""
    found = list(_machine(machine, io))
    interfaces: list[Interface] = []
    for name in wanted:
        interface = machine.interface(name)
        if interface is None:
            found.append(_missing(name, machine))
        elif interface in interfaces:
            text = f"is named twice ({interface.name}): an interface can be one port only"
            found.append(Finding(PROBLEM, name, text, "give each port an interface of its own"))
        else:
            interfaces.append(interface)
            found += _interface(interface, machine, io)
    found += _mtus(interfaces)
    return sorted(found, key=lambda finding: (PROBLEM, WARNING, NOTE).index(finding.level))


def _machine(machine: Machine, io: str) -> Iterator[Finding]:
    if not machine.may_use_packet_sockets:
        yield Finding(
            PROBLEM, "", "interfaces need CAP_NET_RAW, which this process lacks", "run as root, or with CAP_NET_RAW"
        )
    elif not machine.may_enlarge_buffers:
        text = "without CAP_NET_ADMIN socket buffers are small: bursts of long frames are lost"
        yield Finding(WARNING, "", text, "sysctl net.core.rmem_max=16777216 net.core.wmem_max=8388608")
    if not machine.has_compiler:
        yield Finding(
            PROBLEM, "", f"there is no C compiler {machine.compiler}", "apt install gcc libc6-dev, or name one in CC"
        )
    if machine.unwritable_cache:
        text = f"compiled programs cannot be kept in {machine.unwritable_cache}"
        yield Finding(PROBLEM, "", text, "set XDG_CACHE_HOME to a folder of yours")
    if io == "af_xdp" and not machine.has_af_xdp:
        yield Finding(PROBLEM, "", "this kernel has no AF_XDP", "use --io af_packet")


def _missing(name: str, machine: Machine) -> Finding:
    names = sorted(one.name for one in machine.interfaces)
    shown = ", ".join(names[:_NEAR]) + (", …" if len(names) > _NEAR else "")
    return Finding(PROBLEM, name, "is no interface of this network namespace", f"there are {shown}")


def _interface(one: Interface, machine: Machine, io: str) -> Iterator[Finding]:
    name = one.name
    if one.hardware != ETHERNET:
        yield Finding(PROBLEM, name, f"carries no Ethernet frames (hardware type {one.hardware})", "use veth or TAP")
        return
    if not one.up:
        yield Finding(PROBLEM, name, "is down", f"ip link set {name} up")
    elif not one.carrier:
        text = "has no carrier: its other end is down, or there is none"
        todo = "set the other end up too: ip link set PEER up" if one.kind == "veth" else ""
        yield Finding(PROBLEM, name, text, todo)
    if one.master:
        text = f"is a port of {one.master}, which forwards its packets as well"
        yield Finding(PROBLEM, name, text, f"ip link set {name} nomaster")
    for listener in one.listeners:
        yield _listener(one, listener.pid, listener.command)
    if io == "af_xdp" and one.mtu > XDP_MTU:
        text = f"has an MTU of {one.mtu}, and --io af_xdp takes at most {XDP_MTU}"
        yield Finding(PROBLEM, name, text, f"ip link set {name} mtu {XDP_MTU}, or use --io af_packet")
    if one.xdp:
        text = "has an XDP program, which comes before the switch and may take packets"
        yield Finding(WARNING, name, text, f"ip link set {name} xdp off")
    yield from _addresses(one)
    yield from _offloads(one, machine)


def _listener(one: Interface, pid: int, command: str) -> Finding:
    if any(switch in command for switch in _SWITCHES):
        text = f"is a port of another switch already: process {pid} ({command})"
        return Finding(PROBLEM, one.name, text, "both would forward each packet: end one of them, or remove its port")
    return Finding(NOTE, one.name, f"process {pid} ({command}) sees its packets too")


def _addresses(one: Interface) -> Iterator[Finding]:
    own = [address for address in one.addresses if not ipaddress.ip_interface(address).is_link_local]
    if own:
        text = f"has the address {', '.join(own)}: this machine answers what comes in as well as the switch"
        yield Finding(WARNING, one.name, text, f"ip address flush dev {one.name}")
    elif one.addresses:
        text = "has IPv6, so that the kernel sends packets of its own through it"
        yield Finding(NOTE, one.name, text, f"sysctl -w net.ipv6.conf.{one.name}.disable_ipv6=1")


def _offloads(one: Interface, machine: Machine) -> Iterator[Finding]:
    if not one.features.intersection(_SEGMENTATION):
        return
    off = "tso off gso off gro off tx-udp-segmentation off"
    text = (
        "offloads are on: checksums are completed and long frames of TCP and UDP cut here; those of tunnels are dropped"
    )
    yield Finding(NOTE, one.name, text, f"where hosts behind it use tunnels: ethtool -K {one.name} {off}, on both ends")
    if machine.kernel < TELLS_UDP_SEGMENTATION:
        text = "this kernel drops long frames of UDP (QUIC, UDP_SEGMENT) instead of telling the switch of them"
        yield Finding(WARNING, one.name, text, f"ethtool -K {one.name} tx-udp-segmentation off, on both ends")


def _mtus(interfaces: Sequence[Interface]) -> Iterator[Finding]:
    mtus = {one.mtu for one in interfaces if one.hardware == ETHERNET}
    if len(mtus) < 2:
        return
    for one in interfaces:
        if one.mtu == min(mtus):
            text = f"has an MTU of {one.mtu}, others of up to {max(mtus)}: longer packets cannot leave through it"
            yield Finding(WARNING, one.name, text, f"ip link set {one.name} mtu {max(mtus)}, and its other end")
