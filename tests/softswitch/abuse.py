"""``python -m tests.softswitch.abuse``: what a client without manners costs the others, as a table of times.

Each abuse meets a switch of its own, a process on loopback. While it lasts another client reads one counter again and
again: its longest wait is what the abuse costs. Then the switch gets SIGTERM, in the midst of it where the abuse lasts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from finsy.proto import p4i, p4r
from google.protobuf import text_format

from p4src.build import P4INFO, PIPELINE, ROOT
from tests.softswitch.p4runtime.client import BatchError, Client, Names, uint128
from tests.softswitch.p4runtime.entities import action, counter_cell, exact_entry, group, insert, lpm_entry

NAMES = Names.of("everything")
PATIENCE = 300.0
COPIES = 200
STORM = 200
CONTROLLERS = 200
Row = dict[str, float]


@dataclass
class Switch:
    """A switch of its own and what is measured of it."""

    process: subprocess.Popen[str]
    address: str
    cache: Path
    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        """A client with a channel of its own."""
        client = Client(self.address, options=OPTIONS)
        self.clients.append(client)
        return client

    def rss_mb(self) -> float:
        """Its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def end(self) -> float:
        """Seconds from SIGTERM to the end of its process."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        return time.monotonic() - start


OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_metadata_size", 64 << 20),
    ("grpc.use_local_subchannel_pool", 1),
)


@contextmanager
def running(folder: Path) -> Iterator[Switch]:
    """A switch that has no pipeline; its compiled programs are kept in `folder`."""
    command = [sys.executable, "-m", "softswitch", "--device-id", "1", "--no-p4", "-L", "off", "--"]
    process = subprocess.Popen(
        [*command, "--grpc-server-addr", "127.0.0.1:0", "--cpu-port", "510"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
    )
    assert process.stdout is not None
    switch = Switch(process, process.stdout.readline().split()[-1], folder)
    try:
        yield switch
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        for client in switch.clients:
            client.channel.close()


class Bystander:
    """Reads one counter again and again, on a channel of its own."""

    def __init__(self, switch: Switch) -> None:
        self.waits: list[float] = []
        self._client = switch.client()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.is_set():
            start = time.monotonic()
            # the program may be another now, or the switch may be ending
            with suppress(BatchError, grpc.RpcError):
                self._client.read(counter_cell(NAMES, 0))
            self.waits.append(time.monotonic() - start)
            time.sleep(0.001)

    def __enter__(self) -> Bystander:
        self._thread.start()
        while len(self.waits) < 3:
            time.sleep(0.001)
        self.waits.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def row(self) -> Row:
        """What it met."""
        return {"others answered": len(self.waits), "longest wait ms": 1000 * max(self.waits, default=0)}


def ready(switch: Switch) -> Client:
    """A primary that has pushed the program."""
    client = switch.client()
    client.primary()
    client.push(NAMES.config())
    return client


def request(updates: list[p4r.Update], atomicity: int = p4r.WriteRequest.CONTINUE_ON_ERROR) -> bytes:
    """A serialized Write."""
    message = p4r.WriteRequest(device_id=1, election_id=uint128(10), updates=updates, atomicity=atomicity)
    return message.SerializeToString()


def write(client: Client, data: bytes) -> str:
    """Send a serialized Write; its status."""
    call = client.channel.unary_unary("/p4.v1.P4Runtime/Write")
    try:
        call(data, timeout=PATIENCE)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def wrong(count: int) -> list[p4r.Update]:
    """Updates that are refused, each for a reason of its own."""
    return [insert(exact_entry(NAMES, 0x10000 + number, port=1)) for number in range(count)]


def refused(switch: Switch, size: int) -> Row:
    """One batch of refused updates."""
    client = ready(switch)
    data = request(wrong(size))
    with Bystander(switch) as bystander:
        start = time.monotonic()
        write(client, data)
        took = time.monotonic() - start
    row = {"batch s": took, **bystander.row()}
    threading.Thread(target=write, args=(client, data), daemon=True).start()
    time.sleep(0.3)
    return {**row, "SIGTERM s": switch.end()}


def memory(switch: Switch, size: int) -> Row:
    """The same refused batch again and again."""
    client = ready(switch)
    data = request(wrong(size // 10))
    write(client, data)
    before = switch.rss_mb()
    for _ in range(10):
        write(client, data)
    return {"RSS before MB": before, "RSS after MB": switch.rss_mb(), "SIGTERM s": switch.end()}


def rolled_back(switch: Switch, size: int) -> Row:
    """A ROLLBACK_ON_ERROR batch, as long as one may be, of which only the last update is wrong."""
    size = min(size, 32_000)
    client = ready(switch)
    entry, drop = lpm_entry(NAMES, 0, 16, port=1), []
    for number in range(size // 2):
        entry.table_entry.match[0].lpm.value = (number % 0xFFFF + 1).to_bytes(2, "big")
        drop += [insert(entry), p4r.Update(type=p4r.Update.DELETE, entity=entry)]
    data = request([*drop, *wrong(1)], p4r.WriteRequest.ROLLBACK_ON_ERROR)
    with Bystander(switch) as bystander:
        start = time.monotonic()
        write(client, data)
        took = time.monotonic() - start
    return {"batch s": took, **bystander.row(), "SIGTERM s": switch.end()}


def no_json(switch: Switch, octets: bytes) -> Row:
    """A device configuration of a megabyte that is no JSON."""
    client = ready(switch)
    config = NAMES.config()
    config.p4_device_config = octets
    with Bystander(switch) as bystander:
        start = time.monotonic()
        try:
            client.push(config)
        except grpc.RpcError:
            took = time.monotonic() - start
    return {"refused ms": 1000 * took, **bystander.row(), "SIGTERM s": switch.end()}


def steering() -> p4r.ForwardingPipelineConfig:
    """A large program."""
    info = text_format.Parse((ROOT / P4INFO).read_text(), p4i.P4Info())
    return p4r.ForwardingPipelineConfig(p4info=info, p4_device_config=(ROOT / PIPELINE).read_bytes())


def push(switch: Switch, _: int) -> Row:
    """A program that was never compiled takes the place of the running one."""
    client = ready(switch)
    with Bystander(switch) as bystander:
        start = time.monotonic()
        client.push(steering())
        took = time.monotonic() - start
    row = {"push s": took, **bystander.row()}
    for library in switch.cache.rglob("program-*.so"):
        library.unlink()

    def again() -> None:
        with suppress(grpc.RpcError):
            client.push(steering())

    threading.Thread(target=again, daemon=True).start()
    time.sleep(0.3)
    return {**row, "SIGTERM s": switch.end()}


def packets(client: Client, kind: int, count: int, stream: object) -> None:
    """Put messages of a kind into the pipeline."""
    for number in range(count):
        payload = b"\0\1" + bytes([kind]) + number.to_bytes(4, "big") + bytes(1)
        stream.send(packet=p4r.PacketOut(payload=payload[2:], metadata=METADATA))  # type: ignore[attr-defined]


METADATA = [
    p4r.PacketMetadata(metadata_id=1, value=b"\0"),
    p4r.PacketMetadata(metadata_id=2, value=b"\1"),
]
LOST = re.compile(r"(\d+) (packet-ins|digests|digest lists)")


class Counting(threading.Thread):
    """Reads a controller's stream; counts what came and what was told to be lost."""

    def __init__(self, client: Client, election_id: int, role: str = "") -> None:
        super().__init__(daemon=True)
        self.stream = client.primary(election_id, role)
        self.found = 0
        self.lost = 0
        self.start()

    def run(self) -> None:
        """Until the stream ends."""
        while True:
            try:
                message = self.stream.receive(PATIENCE)
            except grpc.RpcError:
                return
            match message.WhichOneof("update"):
                case "packet":
                    self.found += 1
                case "digest":
                    self.found += len(message.digest.data)
                case "error":
                    self.lost += sum(int(count) for count, _ in LOST.findall(message.error.message))

    def wait_for(self, count: int) -> None:
        """Wait until that many have come or were told to be lost, as long as more come."""
        seen, since = -1, time.monotonic()
        while (now := self.found + self.lost) < count:
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > 20:
                return
            time.sleep(0.01)


def packet_ins(switch: Switch, _: int) -> Row:
    """Packets of which each is copied to the controller 200 times."""
    counting, client = Counting(switch.client(), 10), switch.client()
    client.push(NAMES.config())
    entry = exact_entry(NAMES, 0, port=0)
    entry.table_entry.action.CopyFrom(action(NAMES, "multicast", b"\x07"))
    client.write(insert(entry), insert(group(7, *((510, instance) for instance in range(COPIES)))))
    return _storm(switch, [counting], lambda: packets(client, 0, 5 * STORM, counting.stream), 5 * STORM * COPIES)


def digests(switch: Switch, size: int) -> Row:
    """A digest a packet, in lists of one."""
    counting, client = Counting(switch.client(), 10), switch.client()
    client.push(NAMES.config())
    config = p4r.DigestEntry(digest_id=NAMES["seen_t"])
    config.config.max_list_size = 1
    client.write(insert(p4r.Entity(digest_entry=config)))
    return _storm(switch, [counting], lambda: packets(client, 1, size // 3, counting.stream), size // 3)


def controllers(switch: Switch, _: int) -> Row:
    """200 primaries, each of its own role, hear of every packet."""
    client = ready(switch)
    watchers = [Counting(switch.client(), 10, f"role {number}") for number in range(CONTROLLERS)]
    sender = Counting(switch.client(), 11)
    return _storm(switch, watchers, lambda: packets(client, 2, STORM, sender.stream), STORM)


def _storm(switch: Switch, counting: list[Counting], storm: Callable[[], None], count: int) -> Row:
    before = switch.rss_mb()
    with Bystander(switch) as bystander:
        start = time.monotonic()
        storm()
        for one in counting:
            one.wait_for(count)
        took = time.monotonic() - start
    missing = sum(count - one.found - one.lost for one in counting)
    row = {
        "storm s": took,
        **bystander.row(),
        "sent": count * len(counting),
        "told lost": sum(one.lost for one in counting),
        "unaccounted": missing,
        "RSS before MB": before,
        "RSS after MB": switch.rss_mb(),
    }
    threading.Thread(target=storm, daemon=True).start()
    time.sleep(0.2)
    return {**row, "SIGTERM s": switch.end()}


def wildcard(switch: Switch, _: int) -> Row:
    """A wildcard read of a register of 2^24 cells."""
    client = switch.client()
    client.primary()
    config = NAMES.config()
    program = json.loads(config.p4_device_config)
    for register in program["register_arrays"]:
        if register["name"].endswith("wide_register"):
            register["size"] = 1 << 24
    for register in config.p4info.registers:
        if register.preamble.alias == "wide_register":
            register.size = 1 << 24
    config.p4_device_config = json.dumps(program).encode()
    client.push(config)
    before, octets = switch.rss_mb(), 0
    with Bystander(switch) as bystander:
        start = time.monotonic()
        try:
            wanted = p4r.Entity(register_entry=p4r.RegisterEntry(register_id=NAMES["wide_register"]))
            for message in client.read_messages(wanted):
                octets += message.ByteSize()
        except (BatchError, grpc.RpcError):
            pass
        took = time.monotonic() - start
    row = {"read s": took, "read MB": octets / 2**20, **bystander.row()}
    return {**row, "RSS before MB": before, "RSS after MB": switch.rss_mb(), "SIGTERM s": switch.end()}


MEGABYTE = 1 << 20
ABUSES: dict[str, Callable[[Switch, int], Row]] = {
    "refused batch": refused,
    "refused batches, memory": memory,
    "batch rolled back": rolled_back,
    "no JSON: ff ff ff…": lambda switch, _: no_json(switch, b"\xff" * MEGABYTE),
    "no JSON: {{{{…": lambda switch, _: no_json(switch, b"{" * MEGABYTE),
    "first push": push,
    "packet-in storm": packet_ins,
    "digest storm": digests,
    "200 controllers": controllers,
    "wildcard read": wildcard,
}


def main() -> None:
    """Measure them, each on a switch of its own; print a line for each."""
    parser = argparse.ArgumentParser("python -m tests.softswitch.abuse", description=__doc__)
    parser.add_argument("--size", type=int, default=100_000, help="updates of a batch (default 100000)")
    parser.add_argument("--only", action="append", choices=ABUSES, help="one of them; repeat for more")
    options = parser.parse_args()
    print(f"{'abuse':26}what was met")
    for name in options.only or ABUSES:
        with tempfile.TemporaryDirectory(prefix="abuse-") as folder, running(Path(folder)) as switch:
            row = ABUSES[name](switch, options.size)
        print(f"{name:26}" + ", ".join(f"{what} {value:.4g}" for what, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
