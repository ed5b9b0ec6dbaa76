"""Queues and links on a command line: `10ms`, `0.1%`, `10Mbit`, and how they are told."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any

from softswitch.commands.arguments import Parser, port_and
from softswitch.engine.abi import Direction
from softswitch.engine.shaping import ShapedPorts, changed

_TIMES = {"us": 1.0, "ms": 1e3, "s": 1e6}
_RATES = {"bit": 1, "kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([a-zA-Z%]*)")


def _quantity(text: str, units: Mapping[str, float], example: str) -> float:
    found = _NUMBER.fullmatch(text)
    if found is not None and found[2] in units:
        return float(found[1]) * units[found[2]]
    if found is not None and not found[2] and not float(found[1]):
        return 0.0
    raise argparse.ArgumentTypeError(f"{text!r} is not a number and one of {', '.join(units)}, such as {example}")


def delay(text: str) -> float:
    """`10ms` in microseconds."""
    return _quantity(text, _TIMES, "10ms")


def share(text: str) -> float:
    """`0.1%` as a probability."""
    return _quantity(text, {"%": 0.01}, "0.1%")


def rate(text: str) -> int:
    """`10Mbit` in bits a second."""
    return round(_quantity(text, _RATES, "10Mbit"))


def count(text: str) -> int:
    """A whole number."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


LINK: Mapping[str, tuple[str, Callable[[str], float], str]] = {
    "delay": ("delay_us", delay, "how long packets are on their way, such as 10ms; 0 is none"),
    "jitter": ("jitter_us", delay, "by how much the delay varies, evenly in both ways; order is kept"),
    "loss": ("loss", share, "the share of packets that are lost, such as 0.1%%"),
    "reorder": ("reorder", share, "the share of packets that have no delay, and so overtake others"),
    "rate": ("rate_bps", rate, "bits a second, such as 10Mbit; 0 is no limit"),
}
"""A link's properties: by what name here the field of `Link`, its converter and its help."""

QUEUE: Mapping[str, tuple[str, Callable[[str], float], str]] = {
    "queue-depth": ("queue_depth", count, "packets that the port's queue holds; 64 at first"),
    "queue-rate": ("queue_rate_pps", count, "packets a second that leave it; 0 is no limit"),
    "priority": ("priority", count, "the queue meant, of --priority-queues; without it all of the port's"),
}

_LINK_EXAMPLE = "3@delay=10ms,loss=0.1%"
_QUEUE_EXAMPLE = "3@queue-depth=64,queue-rate=1000"


def _settings(
    known: Mapping[str, tuple[str, Callable[[str], float], str]], text: str, example: str
) -> dict[str, float]:
    found = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if name not in known or not equals:
            what = ", ".join(f"{one}=…" for one in known)
            raise argparse.ArgumentTypeError(f"{item!r} is none of {what}, such as {example}")
        field, convert, _ = known[name]
        found[field] = convert(value)
    return found


def _converter(
    known: Mapping[str, tuple[str, Callable[[str], float], str]], what: str, example: str
) -> Callable[[str], tuple[int, dict[str, float]]]:
    def convert(text: str) -> tuple[int, dict[str, float]]:
        port, settings = port_and(what, example)(text)
        return port, _settings(known, settings, example)

    return convert


def add_options(add: Callable[..., Any]) -> None:
    """What a switch starts with: `--link`, `--link-in`, `--queue` and `--priority-queues`."""
    link, queue = _converter(LINK, "LINK", _LINK_EXAMPLE), _converter(QUEUE, "QUEUE", _QUEUE_EXAMPLE)
    example = _LINK_EXAMPLE.replace("%", "%%")
    repeatable: dict[str, Any] = {"action": "append", "default": []}
    add("--link", **repeatable, type=link, metavar="PORT@LINK", help=f"the link behind a port, such as {example}")
    add("--link-in", **repeatable, type=link, metavar="PORT@LINK", help="the same of the way into the switch")
    add("--queue", **repeatable, type=queue, metavar="PORT@QUEUE", help=f"such as {_QUEUE_EXAMPLE}")
    add("--priority-queues", type=count, default=1, metavar="N", help="queues of each port (default 1)")


def apply(options: argparse.Namespace, ports: ShapedPorts) -> bool:
    """Do what the options of `add_options` say; returns whether they said anything. Raises ValueError."""
    ports.set_priorities(options.priority_queues)
    for port, fields in options.queue:
        set_queue(ports, port, fields)
    for direction, links in ((Direction.OUT, options.link), (Direction.IN, options.link_in)):
        for port, fields in links:
            ports.set_link(port, direction, changed(ports.link(port, direction), **fields))
    return bool(options.queue or options.link or options.link_in)


def set_queue(ports: ShapedPorts, port: int, fields: Mapping[str, float]) -> None:
    """Depth and rate of a port's queues, as far as they are given. Raises ValueError."""
    priority = int(fields["priority"]) if "priority" in fields else None
    if "queue_depth" in fields:
        ports.set_queue_depth(port, int(fields["queue_depth"]), priority)
    if "queue_rate_pps" in fields:
        ports.set_queue_rate(port, int(fields["queue_rate_pps"]), priority)


def add_set_options(parser: Parser) -> None:
    """Those of `softswitch port set`."""
    for known in (LINK, QUEUE):
        for name, (field, convert, text) in known.items():
            parser.add_argument(
                f"--{name}", dest=field, type=convert, metavar=name.rpartition("-")[2].upper(), help=text
            )
    parser.add_argument(
        "--direction", choices=("out", "in"), default="out", help="of the link; default out of the switch"
    )
    parser.add_argument("--seed", type=count, metavar="N", help="what is random on the link begins anew, and repeats")


def set_request(options: argparse.Namespace) -> dict[str, Any]:
    """What those options ask for, for `softswitch.v1.Ports/Set`."""
    fields = [field for known in (LINK, QUEUE) for field, _, _ in known.values()] + ["seed"]
    given = {field: getattr(options, field) for field in fields if getattr(options, field) is not None}
    return given | {"direction": options.direction} if given else {}


def told(shaping: Mapping[str, Any]) -> list[str]:
    """A port's queues and links, a line each, of what `softswitch.v1.Ports/List` says of it."""
    lines = []
    for priority, queue in enumerate(shaping["queues"] if shaping["queued"] else ()):
        limit = f", {queue['rate_pps']:g} packets a second" if queue["rate_pps"] else ""
        held = f"{queue['waiting']:g} of {queue['depth']:g} waiting, {queue['dropped']:g} dropped"
        lines.append(f"{shaping['port']:5g} queue {priority}: {held}{limit}")
    for direction in ("out", "in"):
        link = shaping[direction]
        does = [
            f"delay {link['delay_us'] / 1e3:g} ms" if link["delay_us"] else "",
            f"jitter {link['jitter_us'] / 1e3:g} ms" if link["jitter_us"] else "",
            f"loss {link['loss']:.6%}".rstrip("0%").rstrip(".") + "%" if link["loss"] else "",
            f"reorder {link['reorder']:.6%}".rstrip("0%").rstrip(".") + "%" if link["reorder"] else "",
            f"rate {link['rate_bps'] / 1e6:g} Mbit/s" if link["rate_bps"] else "",
        ]
        counts = [f"{link[name]:g} {text}" for name, text in _COUNTS.items() if link[name]]
        if any(does) or counts:
            lines.append(f"{shaping['port']:5g} {direction}: {', '.join(filter(None, (*does, *counts)))}")
    return lines


_COUNTS = {"flying": "on their way", "lost": "lost", "reordered": "reordered", "dropped": "dropped for want of room"}
