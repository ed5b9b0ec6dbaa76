"""`softswitch doctor`: what it finds in facts, and that the facts are those of the kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from softswitch.doctor.diagnosis import examine
from softswitch.doctor.machine import Interface, Listener, Machine

from tests.softswitch.native.test_ports import ip
from tests.softswitch.test_cli import FREE, Start, start  # noqa: F401 (a fixture)

VETH = Interface(2, "veth1", kind="veth")
OTHER = Interface(3, "veth2", kind="veth")
OFFLOADS = frozenset({"tx-tcp-segmentation"})


def findings(*interfaces: Interface, io: str = "af_packet", **machine: Any) -> list[tuple[str, str, str]]:
    """Level, what about, and sentence with advice of each finding."""
    found = examine([one.name for one in interfaces], Machine(interfaces, **machine), io)
    return [(one.level, one.about, f"{one.text}; {one.todo}") for one in found]


def test_nothing_is_found_where_nothing_breaks() -> None:
    assert findings(VETH, OTHER) == findings(VETH, io="af_xdp") == []


@pytest.mark.parametrize(
    ("change", "level", "sentence"),
    [
        ({"up": False, "carrier": False}, "problem", "is down; ip link set veth1 up"),
        ({"carrier": False}, "problem", "no carrier"),
        ({"hardware": 65534}, "problem", "no Ethernet frames"),
        (
            {"master": "br0"},
            "problem",
            "is a port of br0, which forwards its packets as well; ip link set veth1 nomaster",
        ),
        ({"listeners": (Listener(7, "simple_switch -i"),)}, "problem", "process 7 (simple_switch -i)"),
        ({"listeners": (Listener(7, "tcpdump"),)}, "note", "process 7 (tcpdump) sees its packets too"),
        ({"addresses": ("10.0.0.1/24", "fe80::1/64")}, "warning", "has the address 10.0.0.1/24"),
        ({"addresses": ("fe80::1/64",)}, "note", "sysctl -w net.ipv6.conf.veth1.disable_ipv6=1"),
        ({"xdp": True}, "warning", "ip link set veth1 xdp off"),
        ({"features": OFFLOADS}, "note", "ethtool -K veth1 tso off gso off gro off"),
    ],
)
def test_what_is_found_of_an_interface(change: dict[str, Any], level: str, sentence: str) -> None:
    ((found, about, text),) = findings(replace(VETH, **change))
    assert (found, about) == (level, "veth1") and sentence in text


@pytest.mark.parametrize(
    ("machine", "level", "sentence"),
    [
        ({"may_use_packet_sockets": False}, "problem", "CAP_NET_RAW"),
        ({"may_enlarge_buffers": False}, "warning", "net.core.rmem_max"),
        ({"has_compiler": False, "compiler": "cc9"}, "problem", "no C compiler cc9"),
        ({"unwritable_cache": "/root"}, "problem", "set XDG_CACHE_HOME"),
    ],
)
def test_what_is_found_of_a_machine(machine: dict[str, Any], level: str, sentence: str) -> None:
    ((found, about, text),) = findings(VETH, **machine)
    assert (found, about) == (level, "") and sentence in text


def test_what_depends_on_the_way_of_io_and_on_the_kernel() -> None:
    assert findings(replace(VETH, mtu=9000)) == []
    assert "at most 4078; ip link set veth1 mtu 4078" in findings(replace(VETH, mtu=9000), io="af_xdp")[0][2]
    assert findings(VETH, has_af_xdp=False) == []
    assert findings(VETH, io="af_xdp", has_af_xdp=False)[0][2] == "this kernel has no AF_XDP; use --io af_packet"
    offloading = replace(VETH, features=OFFLOADS)
    assert [level for level, *_ in findings(offloading, kernel=(6, 1))] == ["warning", "note"]


def test_interfaces_are_seen_beside_each_other() -> None:
    machine = Machine((replace(VETH, other_names=("first",)), replace(OTHER, mtu=9000)))
    found = examine(["veth1", "first", "veth2", "veth3"], machine, "af_packet")
    assert [(one.level, one.about) for one in found] == [
        ("problem", "first"),
        ("problem", "veth3"),
        ("warning", "veth1"),
    ]
    assert "veth1" in found[0].text and found[1].todo == "there are veth1, veth2" and "9000" in found[2].text


def doctor(*arguments: str) -> tuple[int, str, str]:
    """Run it: exit code, output, errors."""
    command = [sys.executable, "-m", "softswitch", "doctor", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def pair() -> Iterator[Sequence[str]]:
    """A veth pair, one end down."""
    names = (f"dr{os.getpid()}a", f"dr{os.getpid()}b")
    ip("link", "add", names[0], "type", "veth", "peer", "name", names[1])
    try:
        yield names
    finally:
        subprocess.run(["ip", "link", "del", names[0]], check=False, capture_output=True)


@pytest.mark.root("needs root")
def test_it_sees_what_the_kernel_has(pair: Sequence[str], start: Start) -> None:  # noqa: F811
    near, far = pair
    ip("link", "set", near, "mtu", "1400", "addrgenmode", "none", "up")
    ip("address", "add", "198.51.100.9/24", "dev", near)
    ip("link", "property", "add", "dev", near, "altname", f"{near}x")
    ip("link", "set", far, "addrgenmode", "none")
    code, output, _ = doctor(near, f"{near}x", far)
    assert code == 2
    for line in (
        f"problem  {near} has no carrier",
        f"problem  {near}x is named twice ({near})",
        f"problem  {far} is down\n         ip link set {far} up",
        f"warning  {near} has the address 198.51.100.9/24",
        f"warning  {near} has an MTU of 1400, others of up to 1500",
        f"note     {near} offloads are on",
    ):
        assert line in output
    ip("link", "set", far, "up")
    process = start("-i", f"1@{far}", "--no-p4", "--", "--grpc-server-addr", FREE)
    process.address()
    code, output, _ = doctor(far, "--json")
    (problem,) = [one for one in json.loads(output)["findings"] if one["level"] == "problem"]
    assert code == 2 and problem["about"] == far and f"process {process.popen.pid} " in problem["text"]
    process.stop()
    code, output, _ = doctor(far)
    assert code == 0 and output.endswith("nothing would break\n")


def test_a_mistake_gets_one_sentence() -> None:
    code, output, errors = doctor()
    assert (code, output, errors.count("\n")) == (1, "", 1) and errors.startswith("softswitch: ")
