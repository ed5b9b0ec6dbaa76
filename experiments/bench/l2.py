"""TCP between two plain hosts on veth: through an L2 program on each switch, and through a Linux bridge.

With every offload on where the switch can do with it, as hosts are; with none too, as BMv2 needs it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from experiments.native.lab import Network
from topologies import targets

PROGRAM = Path(__file__).with_name("l2.json")
"""What p4c made of l2.p4; its entries are in it."""
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
"""Of the hosts behind ports 1 and 2, as the program's entries have them."""
ADDRESSES = ("10.0.0.1", "10.0.0.2")
STREAM = Path(__file__).with_name("stream.py")

SOFTSWITCH, XDP, BRIDGE = "softswitch", "softswitch, af_xdp", "bridge"
WITHOUT, BMV2, BRIDGE_WITHOUT = "softswitch, no offloads", "bmv2, no offloads", "bridge, no offloads"
RATIOS = {
    "l2_tcp_vs_bmv2": (SOFTSWITCH, BMV2),
    "l2_tcp_af_xdp_vs_bmv2": (XDP, BMV2),
    "l2_tcp_no_offloads_vs_bmv2": (WITHOUT, BMV2),
    "l2_tcp_vs_bridge": (SOFTSWITCH, BRIDGE),
    "l2_tcp_no_offloads_vs_bridge": (WITHOUT, BRIDGE_WITHOUT),
    "l2_tcp_vs_no_offloads": (SOFTSWITCH, WITHOUT),
}

Round = Mapping[str, float]
"""Bits a second, by way."""


def bench_l2(rounds: int, seconds: float, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure all ways in turn; the part of the summary about them. BMv2 is left out where it is not installed.

    Raises OSError and RuntimeError for a way that carries nothing.
    """
    ways = [SOFTSWITCH, XDP, WITHOUT, BMV2, BRIDGE, BRIDGE_WITHOUT]
    if reason := targets.missing("bmv2"):
        tell(f"no ratios to BMv2: {reason}")
        ways.remove(BMV2)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-l2-")))
        networks = {way: _lay(stack, way, folder, scratch / str(number)) for number, way in enumerate(ways)}
        for network in networks.values():
            _measure(network, 0)
        done: list[Round] = []
        for number in range(rounds):
            done.append({way: _measure(network, seconds) for way, network in networks.items()})
            shown = ", ".join(f"{way} {rate / 1e6:.0f} Mbit/s" for way, rate in done[-1].items())
            tell(f"l2, round {number + 1} of {rounds}: {shown}")
    return summary(done)


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """Medians of the rounds' ratios, the worst round beside; what was not measured is left out."""
    ratios: dict[str, float] = {}
    for name, (one, other) in RATIOS.items():
        if found := [done[one] / done[other] for done in rounds if {one, other} <= done.keys()]:
            ratios |= {name: round(median(found), 3), f"{name}_worst": round(min(found), 3)}
    return {
        "ratios": ratios,
        "medians_mbit": {way: round(median(done[way] for done in rounds) / 1e6) for way in rounds[0]},
        "rounds": [dict(done) for done in rounds],
    }


def _lay(stack: ExitStack, way: str, folder: Path, address: Path) -> Network:
    """A network with two hosts and the switch between them; the second host takes connections."""
    network = stack.enter_context(Network(folder, 1, offloads=way in (SOFTSWITCH, XDP, BRIDGE)))
    for (place, interface), mac, own in zip((("client", "c"), ("nodes", "n0")), MACS, ADDRESSES, strict=True):
        network.run(["ip", "link", "set", interface, "address", mac], place)
        network.run(["ip", "address", "add", f"{own}/24", "dev", interface], place)
    ports = [word for port, interface in network.interfaces.items() for word in ("-i", f"{port}@{interface}")]
    quiet = ["--log-console", "-L", "off", str(PROGRAM), "--", "--grpc-server-addr", f"unix:{address}"]
    if way in (BRIDGE, BRIDGE_WITHOUT):
        network.run(["ip", "link", "add", "bridge0", "type", "bridge"], "switch")
        for interface in network.interfaces.values():
            network.run(["ip", "link", "set", interface, "master", "bridge0"], "switch")
        network.run(["ip", "link", "set", "bridge0", "up"], "switch")
    elif way == BMV2:
        network.start("bmv2", [targets.BMV2, *ports, *quiet], "switch")
    else:
        io = "af_xdp" if way == XDP else "af_packet"
        network.start("softswitch", [sys.executable, "-m", "softswitch", "--io", io, *ports, *quiet], "switch")
    network.start("take", [sys.executable, str(STREAM), "take", ADDRESSES[1]], "nodes")
    return network


def _measure(network: Network, seconds: float) -> float:
    return float(network.run([sys.executable, str(STREAM), "give", ADDRESSES[1], str(seconds)], "client"))
