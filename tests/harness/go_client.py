"""p4runtime-go-client: its commands, with the programs that they bring compiled, built with Debian's Go and libraries.

Debian's gRPC is older than the package that the commands take their (absent) credentials from, which is supplied.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.outcomes import Outcome
from tests.harness.place import Place, until
from tests.harness.shell import PROGRAMS
from tests.harness.sources import GO_CLIENT, P4RUNTIME, NotHad

GOCODE = Path("/usr/share/gocode")
"""Where Debian has Go libraries."""
CREDENTIALS = Path(__file__).parent / "modules" / "insecure.go"
COMMANDS = ("l2_switch", "wcmp", "example")
PATIENCE_S = 300.0
ARRIVAL_S = 0.5
STATIONS = {1: b"\x02\0\0\0\0\x01", 2: b"\x02\0\0\0\0\x02", 3: b"\x02\0\0\0\0\x03"}
ETH_P_ALL = 3
ETHERTYPE = b"\x88\xb5"


def commands(place: Place, clone: Path) -> list[Outcome]:
    """Each of them on a switch of its own."""
    binaries = _build(place, clone)
    return [*_l2_switch(place, binaries), *_wcmp(place, binaries), *_example(place, binaries)]


def _build(place: Place, clone: Path) -> Path:
    """The folder of the commands. Raises NotHad with what the compiler says."""
    if shutil.which("go") is None:
        raise NotHad("there is no go")
    tree = place.folder / "go"
    client = tree / "src" / "github.com" / GO_CLIENT.owner / GO_CLIENT.name
    api = tree / "src" / "github.com" / P4RUNTIME.owner / P4RUNTIME.name
    shutil.copytree(clone, client, ignore=shutil.ignore_patterns(".git"))
    shutil.copytree(place.clones / f"{P4RUNTIME.owner}+{P4RUNTIME.name}", api, ignore=shutil.ignore_patterns(".git"))
    supplied = client / "vendor" / "google.golang.org" / "grpc" / "credentials" / "insecure"
    supplied.mkdir(parents=True)
    shutil.copy(CREDENTIALS, supplied)
    variables = {"GO111MODULE": "off", "GOPATH": f"{tree}:{GOCODE}", "GOCACHE": str(place.clones / "go-build")}
    binaries = tree / "bin"
    for name in COMMANDS:
        said = place.run(["go", "build", "-o", binaries / name, f"./cmd/{name}"], client, PATIENCE_S, more=variables)
        if not (binaries / name).exists():
            raise NotHad(f"cmd/{name} does not build: {said[-300:]}")
    return binaries


@dataclass
class Command:
    """One of them, running; `log` is what it prints, errors by logrus as `level=error`."""

    process: subprocess.Popen[bytes]
    log: Path

    def says(self, pattern: str) -> bool:
        """Whether it printed that, within a minute."""
        found = re.compile(pattern)
        try:
            until(lambda: found.search(self.log.read_text()) or self.process.poll() is not None, pattern)
        except RuntimeError:
            return False
        return found.search(self.log.read_text()) is not None

    def judge(self, test: str, passed: bool) -> Outcome:
        """With the end of what it printed for a reason."""
        return Outcome(test, passed, "" if passed else self.log.read_text()[-300:])

    def ends(self, test: str) -> Outcome:
        """Whether it ends when it is told to, without an error until then."""
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            return Outcome(test, False, "it does not end")
        return self.judge(test, status == 0 and not re.search("level=(error|fatal)", self.log.read_text()))


@contextmanager
def _running(place: Place, binary: Path, address: str, *options: str) -> Iterator[Command]:
    log = place.folder / f"{binary.name}.txt"
    command = [str(binary), "--addr", address, "--device-id", "1", *options]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield Command(process, log)
        finally:
            if process.poll() is None:
                process.kill()


@dataclass
class Stations:
    """A host at each port of the switch, of which only its Ethernet card is there."""

    sockets: dict[int, socket.socket] = field(default_factory=dict)

    def send(self, source: int, destination: int) -> set[int]:
        """Where a frame from one to the other arrives."""
        for receiver in self.sockets.values():
            _drain(receiver)
        frame = STATIONS[destination] + STATIONS[source] + ETHERTYPE + bytes(46)
        self.sockets[source].send(frame)
        end = time.monotonic() + ARRIVAL_S
        found: set[int] = set()
        while time.monotonic() < end:
            found |= {port for port, station in self.sockets.items() if frame in _drain(station)}
            time.sleep(0.01)
        return found


def _drain(station: socket.socket) -> list[bytes]:
    """What came in since the last time; not what was sent."""
    frames = []
    while True:
        try:
            frame, (_, _, kind, *_) = station.recvfrom(2048)
        except BlockingIOError:
            return frames
        if kind != socket.PACKET_OUTGOING:
            frames.append(frame)


@contextmanager
def _stations(ports: Sequence[int]) -> Iterator[Stations]:
    with ExitStack() as stack:
        stations = Stations()
        for port in ports:
            names = (f"station{port}", f"port{port}")
            subprocess.run(["ip", "link", "add", names[0], "type", "veth", "peer", "name", names[1]], check=True)
            stack.callback(subprocess.run, ["ip", "link", "delete", names[0]], check=False)
            for name in names:
                subprocess.run(["ip", "link", "set", name, "up"], check=True)
            station = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
            station.bind((names[0], ETH_P_ALL))
            station.setblocking(False)
            stations.sockets[port] = station
        yield stations


def _l2_switch(place: Place, binaries: Path) -> list[Outcome]:
    """Learns addresses from digests, forgets them by idle timeouts, floods by a multicast group, reads counters."""
    with ExitStack() as stack:
        stations = stack.enter_context(_stations(list(STATIONS)))
        interfaces = [part for port in STATIONS for part in ("-i", f"{port}@port{port}")]
        address = stack.enter_context(place.serving("--no-p4", *interfaces))
        command = stack.enter_context(_running(place, binaries / "l2_switch", address, "--ports", "1,2,3", "--verbose"))
        ran = [command.judge("l2_switch: pushes, configures", command.says("Do Ctrl-C to quit"))]
        flooded = stations.send(1, 2)
        ran.append(command.judge(f"l2_switch: floods what it does not know (to {flooded})", flooded == {2, 3}))
        known = command.says("Learning MAC") and _soon(lambda: stations.send(2, 1) == {1})
        ran.append(command.judge("l2_switch: learns from a digest", known))
        ran.append(command.judge("l2_switch: reads counters", command.says(r"igPortsCounts: map\[1:[1-9]")))
        forgotten = command.says("Expiring MAC") and _soon(lambda: stations.send(3, 1) == {1, 2})
        ran.append(command.judge("l2_switch: forgets by idle timeout", forgotten))
        ran.append(command.ends("l2_switch: ends without an error"))
        return ran


def _wcmp(place: Place, binaries: Path) -> list[Outcome]:
    """One-shot action sets with weights, which watch port 1: a hundred groups inserted and deleted."""
    with ExitStack() as stack:
        stack.enter_context(_stations([1]))
        address = stack.enter_context(place.serving("--no-p4", "-i", "1@port1"))
        command = stack.enter_context(_running(place, binaries / "wcmp", address))
        return [command.judge("wcmp: runs", command.says("Done")), command.ends("wcmp: a hundred groups come and go")]


def _example(place: Place, binaries: Path) -> list[Outcome]:
    """Pushes what it is given: a program whose P4Info has nothing that is newer than the client's."""
    given = ("--bin", str(PROGRAMS / "queues.json"), "--p4info", str(PROGRAMS / "queues.p4info.txtpb"))
    with place.serving("--no-p4") as address, _running(place, binaries / "example", address, *given) as command:
        return [command.judge("example: pushes", command.says("Do Ctrl-C")), command.ends("example: ends")]


def _soon(condition: Callable[[], bool]) -> bool:
    try:
        until(condition, "")
    except RuntimeError:
        return False
    return True
