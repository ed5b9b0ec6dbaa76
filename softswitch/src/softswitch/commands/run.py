"""`softswitch run`: packets from capture files through a program, without interfaces and without root."""

from __future__ import annotations

import argparse
import heapq
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from softswitch.bmv2.v1model import MAX_PORT
from softswitch.commands import shaping
from softswitch.commands.arguments import Parser, port_and, port_number
from softswitch.commands.pcap import ETHERNET, CapturedPacket, PcapReader, PcapWriter
from softswitch.commands.pcapng import PcapngWriter
from softswitch.engine.shaping import Departure
from softswitch.files import LoadError
from softswitch.switch import Switch, load

EXIT_MISTAKE, EXIT_PROGRAM_ERROR = 1, 2

FIRST_PACKET_US = 1_000_000
"""The switch's clock at the first packet: programs may take 0 for "never"."""

_EXAMPLE = """\
Packets are taken in the order of their time stamps, and the switch's clock follows these, so a run repeats exactly.

example:
  softswitch run router.json --p4info router.p4info.txtpb --entries entries.txtpb \\
    --pcap-in 1@client.pcap --pcap-in 2@server.pcap --pcap-out out/

entries.txtpb is a P4Runtime WriteRequest (updates {…}) or a list of entities (entities {…}) as text protobuf, or JSON
that names tables, fields and actions, as p4lang's tutorials have it: {"table_entries": [{"table": …, "match": …,
"action_name": …, "action_params": …}]}.
out/ then holds a file for each port that a packet left through, such as out/2.pcap.

exit codes: 0 done, 1 something given is wrong, 2 the program reported errors (a failed assert, an index out of range)
"""


def build_parser() -> Parser:
    """The options of `softswitch run`."""
    parser = Parser(
        prog="softswitch run",
        description="Run packets from capture files through a P4 program. Needs no interface and no root.",
        epilog=_EXAMPLE,
    )
    parser.add_argument("program", type=Path, metavar="program.json", help="what p4c-bm2-ss made of the P4 program")
    parser.add_argument("--p4info", type=Path, metavar="FILE", help="its P4Info in text form; needed for --entries")
    parser.add_argument(
        "--entries", type=Path, action="append", default=[], metavar="FILE", help="what to write first; repeatable"
    )
    parser.add_argument(
        "--pcap-in",
        type=port_and("FILE", "1@client.pcap"),
        action="append",
        default=[],
        metavar="PORT@FILE",
        help="packets that come in at a port (pcap or pcapng); repeatable",
    )
    parser.add_argument("--pcap-out", type=Path, metavar="FOLDER", help="write what leaves to FOLDER/PORT.pcap")
    parser.add_argument("--cpu-port", type=port_number, metavar="N", help="port of packet-in and packet-out")
    parser.add_argument("--drop-port", type=port_number, default=MAX_PORT, metavar="N", help=f"default {MAX_PORT}")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the program's random numbers (default 1)")
    shaping.add_options(parser.add_argument)
    parser.add_argument("--trace", action="store_true", help="tell what each packet met: states, tables, fields, …")
    parser.add_argument(
        "--trace-out",
        type=Path,
        metavar="FILE",
        help="write the packets with what each met as comment (pcapng, for Wireshark)",
    )
    parser.add_argument("--json", action="store_true", help="summary as JSON on standard output")
    return parser


@dataclass
class Summary:
    """What a run did. `dropped` packets neither left nor were `held` in a queue or on a link, which may drop them.
    `errors` counts what the program complained of; `cut` packets shortened when captured.
    """

    packets_in: int = 0
    packets_out: int = 0
    dropped: int = 0
    held: int = 0
    cut: int = 0
    errors: int = 0
    received: Counter[int] = field(default_factory=Counter)
    sent: Counter[int] = field(default_factory=Counter)
    digests: Counter[str] = field(default_factory=Counter)
    files: dict[int, str] = field(default_factory=dict)

    def as_json(self) -> str:
        """One object; ports are keys."""
        ports = {
            str(port): {"in": self.received[port], "out": self.sent[port], "file": self.files.get(port)}
            for port in self._ports()
        }
        return json.dumps(
            {
                "packets_in": self.packets_in,
                "packets_out": self.packets_out,
                "dropped": self.dropped,
                "held": self.held,
                "cut": self.cut,
                "errors": self.errors,
                "ports": ports,
                "digests": dict(self.digests),
            },
            indent=2,
        )

    def as_text(self, seconds: float) -> str:
        """For people."""
        counts = [f"{self.packets_in} packets in", f"{self.packets_out} out", f"{self.dropped} dropped"]
        counts += [f"{self.held} held"] if self.held else []
        counts += [f"{count} digests {name}" for name, count in self.digests.items()]
        lines = [f"{', '.join(counts)}; {seconds:.2f} s"]
        if ports := self._ports():
            lines.append(f"{'port':>5} {'in':>9} {'out':>9}")
        for port in ports:
            lines.append(f"{port:5} {self.received[port]:9} {self.sent[port]:9}  {self.files.get(port, '')}".rstrip())
        return "\n".join(lines)

    def _ports(self) -> list[int]:
        return sorted(self.received.keys() | self.sent.keys() | self.files.keys())


class _Errors(logging.Handler):
    """Counts what the program complains of."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


class _Outputs:
    """A file for each port, made with its first packet."""

    def __init__(self, folder: Path, link_type: int) -> None:
        self._folder = folder
        self._link_type = link_type
        self._writers: dict[int, PcapWriter] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, port: int, time_ns: int, data: bytes) -> None:
        if port not in self._writers:
            self._writers[port] = PcapWriter(self.path(port), self._link_type)
        self._writers[port].write(time_ns, data)

    def path(self, port: int) -> Path:
        return self._folder / f"{port}.pcap"

    def close(self) -> dict[int, str]:
        for writer in self._writers.values():
            writer.close()
        return {port: str(self.path(port)) for port in self._writers}


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.entries and options.p4info is None:
        parser.error("--entries needs the program's P4Info too: --p4info FILE")
    logging.basicConfig(format="softswitch: %(message)s")
    program_log = logging.getLogger("softswitch.dataplane")
    program_log.setLevel(logging.INFO)
    errors = _Errors()
    program_log.addHandler(errors)
    begin = time.monotonic()
    try:
        summary = _run(options)
    except (LoadError, ValueError) as error:
        return _mistake(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        return _mistake(f"cannot use {error.filename}: {error.strerror}")
    finally:
        program_log.removeHandler(errors)
    summary.errors = errors.count
    if summary.cut:
        print(
            f"softswitch: {summary.cut} packets were shortened when they were captured (see tcpdump -s), and ran so",
            file=sys.stderr,
        )
    print(summary.as_json() if options.json else summary.as_text(time.monotonic() - begin))
    return EXIT_PROGRAM_ERROR if summary.errors else 0


def _mistake(sentence: str) -> int:
    print(f"softswitch: {sentence}", file=sys.stderr)
    return EXIT_MISTAKE


def _run(options: argparse.Namespace) -> Summary:
    with ExitStack() as stack:
        readers = [(port, stack.enter_context(PcapReader(Path(name)))) for port, name in options.pcap_in]
        switch = stack.enter_context(
            load(
                options.program,
                options.p4info,
                cpu_port=options.cpu_port,
                drop_port=options.drop_port,
                seed=options.seed,
            )
        )
        for path in options.entries:
            switch.write(path)
        shaping.apply(options, switch.shaped_ports)
        outputs = None
        if options.pcap_out is not None:
            outputs = _Outputs(options.pcap_out, _link_type([reader for _, reader in readers]))
        story = None
        if options.trace_out is not None:
            story = PcapngWriter(options.trace_out, _link_type([reader for _, reader in readers]))
            stack.callback(story.close)
        try:
            tell = None
            if options.trace:
                tell = sys.stderr if options.json else sys.stdout
            return _process(switch, merge(readers), outputs, tell, story)
        finally:
            if outputs is not None:
                outputs.close()


def _link_type(readers: Sequence[PcapReader]) -> int:
    kinds = {reader.link_type: reader.path for reader in readers}
    if len(kinds) > 1:
        named = ", ".join(f"{path} has {kind}" for kind, path in kinds.items())
        raise LoadError(f"captures of different link types cannot be merged: {named}")
    return next(iter(kinds), ETHERNET)


def merge(readers: Sequence[tuple[int, PcapReader]]) -> Iterator[tuple[int, CapturedPacket]]:
    """Packets of all files by time; those of one file stay in its order, equal times in the order of the files."""

    def of(place: int, port: int, reader: PcapReader) -> Iterator[tuple[int, int, int, CapturedPacket]]:
        latest = 0
        for packet in reader:
            latest = max(latest, packet.time_ns)
            yield latest, place, port, packet

    streams = [of(place, port, reader) for place, (port, reader) in enumerate(readers)]
    for _, _, port, packet in heapq.merge(*streams, key=lambda item: item[:2]):
        yield port, packet


def _write_story(
    story: PcapngWriter, port: int, packet: CapturedPacket, leaving: list[tuple[int, bytes]], trace: str
) -> None:
    """The packet with its trace, then those that it became."""
    story.write(packet.time_ns, packet.data, port=port, comes_in=True, comment=trace)
    first = story.count
    for out, data in leaving:
        comment = f"left through port {out}; its story is with packet {first}"
        story.write(packet.time_ns, data, port=out, comes_in=False, comment=comment)


def _process(
    switch: Switch,
    packets: Iterator[tuple[int, CapturedPacket]],
    outputs: _Outputs | None,
    tell: TextIO | None,
    story: PcapngWriter | None,
) -> Summary:
    summary = Summary()
    first_ns = latest_ns = None

    def left(time_ns: int, out: int, data: bytes) -> None:
        summary.packets_out += 1
        summary.sent[out] += 1
        if outputs is not None:
            outputs.write(out, time_ns, data)

    def late(departures: list[Departure]) -> None:
        for one in departures:
            left((first_ns or 0) + (one.time_us - FIRST_PACKET_US) * 1000, one.port, one.data)

    for port, packet in packets:
        if first_ns is None:
            first_ns = latest_ns = packet.time_ns
        latest_ns = max(latest_ns or 0, packet.time_ns)
        switch.set_clock(FIRST_PACKET_US + (latest_ns - first_ns) // 1000)
        late(switch.departures())
        waiting = switch.waiting()
        if tell is None and story is None:
            leaving = switch.process(port, packet.data)
        else:
            leaving, trace = switch.trace(port, packet.data)
            if tell is not None:
                print(trace, end="\n\n", file=tell)
            if story is not None:
                _write_story(story, port, packet, leaving, str(trace))
        summary.packets_in += 1
        summary.received[port] += 1
        summary.cut += packet.cut > 0
        summary.held += not leaving and switch.waiting() > waiting
        summary.dropped += not leaving and switch.waiting() <= waiting
        for out, data in leaving:
            left(packet.time_ns, out, data)
        summary.digests.update(digest.name for digest in switch.digests())
    late(switch.finish())
    summary.digests.update(digest.name for digest in switch.digests())
    if outputs is not None:
        summary.files = outputs.close()
    return summary
