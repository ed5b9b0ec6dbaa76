"""A network namespace with veth pairs in it: `s1`, `s2`, … for a switch, and a raw socket on the other end of each."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
PACKET_OUTGOING = 4
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro")

Frame = tuple[int, bytes]
"""The port that the switch sent it out of, and the bytes."""
T = TypeVar("T")


class Wires:
    """The wires of a switch with ports 1 to `ports`; a context manager that removes them all."""

    def __init__(self, name: str, ports: int) -> None:
        self.name = name
        """Of the network namespace."""
        self.interfaces = {port: f"s{port}" for port in range(1, ports + 1)}
        """The switch's ends, by port."""
        self._sockets: dict[int, socket.socket] = {}

    def __enter__(self) -> Self:
        run("ip", "netns", "add", self.name)
        try:
            inside("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", netns=self.name)
            inside("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1", netns=self.name)
            inside("ip", "link", "set", "lo", "up", netns=self.name)
            for port, interface in self.interfaces.items():
                ends = (interface, f"t{port}")
                inside("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], netns=self.name)
                for end in ends:
                    for offload in OFFLOADS:
                        inside("ethtool", "-K", end, offload, "off", netns=self.name)
                    inside("ip", "link", "set", end, "up", netns=self.name)
            self._sockets = {port: in_namespace(self.name, partial(_raw, f"t{port}")) for port in self.interfaces}
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for wire in self._sockets.values():
            wire.close()
        run("ip", "netns", "del", self.name)

    @property
    def descriptors(self) -> dict[int, int]:
        """The sockets on the other ends, by port."""
        return {port: wire.fileno() for port, wire in self._sockets.items()}

    def tap(self, port: int) -> socket.socket:
        """One more socket on the other end of a port."""
        return in_namespace(self.name, partial(_raw, f"t{port}"))

    def send(self, port: int, frame: bytes) -> None:
        """Put a frame on the wire towards the switch's port."""
        self._sockets[port].send(frame)

    def receive(self, wait: float) -> Frame | None:
        """The next frame that the switch sent out of any port, within `wait` seconds."""
        ports = {wire.fileno(): port for port, wire in self._sockets.items()}
        deadline = time.monotonic() + wait
        while True:
            ready, _, _ = select.select(list(ports), [], [], max(deadline - time.monotonic(), 0))
            for descriptor in ready:
                frame, address = self._sockets[ports[descriptor]].recvfrom(65536)
                if address[2] != PACKET_OUTGOING:
                    return ports[descriptor], frame
            if not ready and time.monotonic() >= deadline:
                return None

    def flush(self) -> None:
        """Forget what has arrived so far."""
        while self.receive(0) is not None:
            pass


def in_namespace(name: str, act: Callable[[], T]) -> T:
    """Do something in a network namespace. A socket stays in the namespace it was made in."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path: str) -> None:
        with Path(path).open() as handle:
            if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {path}")

    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(f"/run/netns/{name}")
        return act()
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(home)


def run(*command: str) -> None:
    """Run a command to its end. Raises RuntimeError with what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")


def inside(*command: str, netns: str) -> None:
    """Run a command to its end in a network namespace."""
    run(*command_inside(netns, command))


def command_inside(netns: str, command: Sequence[str]) -> list[str]:
    """The command line that runs a command in a network namespace."""
    return ["nsenter", f"--net=/run/netns/{netns}", "--", *command]


def _raw(interface: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    wire.bind((interface, ETH_P_ALL))
    return wire
