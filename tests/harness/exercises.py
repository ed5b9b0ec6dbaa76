"""What a student types at the Mininet prompt of each exercise of p4lang's tutorials, and what a solution prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exercise:
    """An exercise's folder, its compiled programs (in its folder `build`), what is typed at the prompt, and patterns
    that must be in what is printed, in this order. `solution` has files that a student writes; they replace those of
    the same name, or the `replaces` of a name."""

    folder: str
    program: str
    typed: str
    prints: tuple[str, ...]
    topology: str = "topology.json"
    also: tuple[str, ...] = ()
    replaces: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """For the table."""
        return (
            self.folder
            if self.topology in ("topology.json", "pod-topo/topology.json")
            else f"{self.folder} ({self.topology})"
        )


def receiver(host: str) -> str:
    """Start an exercise's receive.py on a host and wait until it listens."""
    return (
        f"{host} python3 -u receive.py > {host}.log 2>&1 &\n"
        f"sh timeout 30 sh -c 'until grep -q sniffing {host}.log; do sleep 0.2; done; sleep 1'\n"
    )


def heard(host: str, what: str = "got", seconds: int = 10) -> str:
    """Show what it received, once `what` was in it."""
    wait = f'until grep -q "{what}" {host}.log; do sleep 0.2; done; sleep 1'
    return f"sh timeout {seconds} sh -c '{wait}'; cat {host}.log\n"


CROWD = (
    "h22 iperf -s -u > /dev/null 2>&1 &\n"
    'h1 python3 send.py 10.0.2.2 "P4 is cool" 30 > /dev/null 2>&1 &\n'
    "h11 iperf -c 10.0.2.22 -t 15 -u\n"
)
"""A packet a second for half a minute beside a flow of 1 Mbit/s over a link of half as much, for as long as the README
of the exercises has them. The first 220 packets wait in the socket's buffer and in what is to be sent, and only then
the port's queue builds up: what meets it arrives more than ten seconds after the start."""

ALL_REACHED = r"Results: 0% dropped"

EXERCISES = (
    Exercise("basic", "basic", "pingall\n", (ALL_REACHED,), "pod-topo/topology.json"),
    Exercise("basic", "basic", "pingall\n", (ALL_REACHED,), "triangle-topo/topology.json"),
    Exercise(
        "basic_tunnel",
        "basic_tunnel",
        receiver("h2") + 'h1 python3 send.py 10.0.3.3 "P4 is cool" --dst_id 2\n' + heard("h2"),
        (r"got a packet", r"MyTunnel", r"P4 is cool"),
    ),
    Exercise(
        "calc",
        "calc",
        'h1 printf "1+1\\n12-5\\n3&2\\n5^1\\nquit\\n" | python3 calc.py\n',
        (r"> 1\+1\s+2\b", r"> 12-5\s+7\b", r"> 3&2\s+2\b", r"> 5\^1\s+4\b"),
    ),
    Exercise(
        "ecn",
        "ecn",
        receiver("h2") + CROWD + heard("h2", "tos.*0x3", 30),
        (r"tos\s+= 0x1\b", r"tos\s+= 0x3\b"),
    ),
    Exercise(
        "firewall",
        "basic",
        "h1 iperf -s > /dev/null 2>&1 &\nh2 iperf -s > /dev/null 2>&1 &\nh3 iperf -s > /dev/null 2>&1 &\n"
        "sh sleep 1\nsh echo inside\nh1 timeout -s KILL 15 iperf -c 10.0.2.2 -t 1\nsh echo outwards\n"
        "h1 timeout -s KILL 15 iperf -c 10.0.3.3 -t 1\nsh echo inwards\n"
        "h3 timeout -s KILL 5 iperf -c 10.0.1.1 -t 1\nsh echo end\n",
        (r"inside.*bits/sec.*outwards", r"bits/sec.*inwards", r"\A(?:(?!bits/sec).)*end"),
        "pod-topo/topology.json",
        ("firewall",),
    ),
    Exercise(
        "flowcache",
        "flowcache",
        "sh timeout -s INT 30 python3 -u mycontroller.py > controller.log 2>&1 &\n"
        "sh timeout 20 sh -c 'until grep -q Installed controller.log; do sleep 0.2; done; sleep 1'\n"
        "h1 ping -c 5 h2\nsh cat controller.log\n",
        (r"bytes from 10\.0\.2\.2",),
    ),
    Exercise(
        "link_monitor",
        "link_monitor",
        "h1 timeout 12 python3 send.py > /dev/null 2>&1 &\nh1 timeout 10 python3 -u receive.py\n",
        (r"Switch 1 - Port 4: \d", r"Switch 1 - Port 1: \d"),
        "pod-topo/topology.json",
    ),
    Exercise(
        "load_balance",
        "load_balance",
        receiver("h2")
        + receiver("h3")
        + 'h1 for i in 1 2 3 4 5 6 7 8 9; do python3 send.py 10.0.0.1 "P4 is cool" > /dev/null; done\n'
        + "sh echo second\n"
        + heard("h2")
        + "sh echo third\n"
        + heard("h3"),
        (r"second.*got a packet.*third", r"got a packet"),
    ),
    Exercise(
        "mri",
        "mri",
        receiver("h2") + CROWD + heard("h2", "qdepth.*= [1-9]", 30),
        (r"count\s+= 2", r"qdepth\s+= [1-9]"),
    ),
    Exercise(
        "multicast",
        "multicast",
        "pingall\n",
        (ALL_REACHED,),
        "sig-topo/topology.json",
        (),
        (("solution/s1-runtime.json", "sig-topo/s1-runtime.json"),),
    ),
    Exercise(
        "p4runtime",
        "advanced_tunnel",
        "sh timeout -s INT 30 python3 -u mycontroller.py > controller.log 2>&1 &\n"
        "sh timeout 20 sh -c 'until grep -q Counters controller.log; do sleep 0.2; done; sleep 1'\n"
        "h1 ping -c 3 h2\n"
        "sh timeout 10 sh -c 'until grep -q \"egressTunnelCounter 100: [1-9]\" controller.log; do sleep 0.2; done'\n"
        "sh cat controller.log\n",
        (r"3 received", r"s1 MyIngress\.ingressTunnelCounter 100: [1-9]"),
    ),
    Exercise(
        "qos",
        "qos",
        receiver("h2")
        + 'h1 python3 send.py --p=UDP --des=10.0.2.2 --m="P4 is cool" --dur=2 > /dev/null\n'
        + 'h1 python3 send.py --p=TCP --des=10.0.2.2 --m="P4 is cool" --dur=2 > /dev/null\n'
        + heard("h2"),
        (r"tos\s+= 0xb9", r"tos\s+= 0xb1"),
    ),
    Exercise(
        "source_routing",
        "source_routing",
        receiver("h2") + 'h1 printf "2 3 2 2 1\\nq\\n" | python3 send.py 10.0.2.2\n' + heard("h2"),
        (r"got a packet", r"ttl\s+= 59"),
    ),
)
