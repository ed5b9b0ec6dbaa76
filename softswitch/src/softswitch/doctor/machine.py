"""What a diagnosis is made of: facts about a machine and its interfaces, as `reading` finds them."""

from __future__ import annotations

from dataclasses import dataclass, field

ETHERNET = 1
"""Hardware type of Ethernet (linux/if_arp.h); veth, bridges and TAP interfaces have it too."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A process that has a packet socket on an interface."""

    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface. `kind` is veth, bridge, … or "" for hardware; `features` are those that are on, by ethtool."""

    index: int
    name: str
    hardware: int = ETHERNET
    mtu: int = 1500
    up: bool = True
    carrier: bool = True
    kind: str = ""
    master: str = ""
    other_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()
    xdp: bool = False
    listeners: tuple[Listener, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, as the process that asks sees it. `interfaces` are those of its network namespace."""

    interfaces: tuple[Interface, ...] = ()
    kernel: tuple[int, int] = (6, 18)
    may_use_packet_sockets: bool = True
    may_enlarge_buffers: bool = True
    has_af_xdp: bool = True
    compiler: str = "gcc"
    has_compiler: bool = True
    unwritable_cache: str = ""
    """The folder in the way of the cache of compiled programs, if there is one."""

    def interface(self, name: str) -> Interface | None:
        """By either of its names."""
        return next((one for one in self.interfaces if name == one.name or name in one.other_names), None)


@dataclass(frozen=True, slots=True)
class Finding:
    """`level` is problem (a switch would not start, or not carry packets as it should), warning or note; `about` an
    interface or "", `todo` what to do about it: a command line where one does."""

    level: str
    about: str
    text: str
    todo: str = field(default="")
