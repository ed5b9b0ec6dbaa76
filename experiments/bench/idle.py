"""``python -m experiments idle``: what a node costs while nothing is asked of it.

The CPU time of its emitter and its gateways; those of the functions' workers, which wait, are the components' own.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from greengrass_agent.emitter.settings import Add, EmitterSettings
from greengrass_agent.gateway.settings import Configure, GatewaySettings
from greengrass_agent.settings import CgroupSettings, ReportSettings
from topologies.cgroups import Hierarchy
from topologies.testbed import REPOSITORY_ROOT

ADDRESS = "127.0.0.1"
FIRST_PORT = 20_000
SETTLED_S = 3.0
"""After the start, until what was imported and opened is no longer in the figures."""
TICKS = os.sysconf("SC_CLK_TCK")


@click.command("idle")
@click.option("--instances", type=click.IntRange(1, 64), default=16, show_default=True)
@click.option("--seconds", type=click.FloatRange(1, 3600), default=20.0, show_default=True)
def idle_command(instances: int, seconds: float) -> None:
    """CPU time of a node's emitter and gateways while nothing is asked of them (half a minute; wants root)."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idle-", dir="/tmp")))
        ear = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ear.bind((ADDRESS, 0))
        emitter, gateways = start(stack, folder, ear.getsockname()[1], instances)
        time.sleep(SETTLED_S)
        before = [used_s(one.pid) for one in (emitter, *gateways)]
        time.sleep(seconds)
        after = [used_s(one.pid) for one in (emitter, *gateways)]
    shares = [100 * (end - begin) / seconds for begin, end in zip(before, after, strict=True)]
    click.echo(
        f"{instances} instances at rest: emitter {shares[0]:.2f} %, gateways {sum(shares[1:]):.2f} %,"
        f" in all {sum(shares):.2f} % of a core over {seconds:g} s"
    )


def start(
    stack: ExitStack, folder: Path, port: int, instances: int
) -> tuple[subprocess.Popen[bytes], list[subprocess.Popen[bytes]]]:
    """An emitter that reports to this port, and the gateways of as many instances."""
    budget = f"idle-{os.getpid()}"
    hierarchy = Hierarchy.detect()
    node = hierarchy.create(budget, 0.5)
    stack.callback(hierarchy.remove, budget)
    notify = folder / "emitter.sock"
    emitter = stack.enter_context(process("greengrass_agent.emitter"))
    settings = EmitterSettings(
        node="idle",
        node_id=1,
        node_address=ADDRESS,
        cgroup=CgroupSettings.of(node),
        memory_bytes=1 << 30,
        interval_ms=10,
        idle_interval_ms=50,
        reports=ReportSettings(address=ADDRESS, port=port),
        broker=None,
        notify_socket=notify,
    )
    tell(emitter, settings.model_dump_json())
    gateways = []
    for number in range(1, instances + 1):
        service = f"s{number}"
        own = GatewaySettings(
            node="idle",
            component=service,
            service=service,
            service_id=number,
            addresses=(ADDRESS,),
            port=FIRST_PORT + number,
            protocols=("udp",),
            worker_socket=str(folder / f"{service}.sock"),
            page=str(folder / f"{service}.page"),
            notify_socket=str(notify),
            execution_log=None,
        )
        file = folder / f"{service}.json"
        file.write_text(own.model_dump_json())
        gateway = stack.enter_context(process("greengrass_agent.gateway", str(file)))
        tell(gateway, Configure(concurrency=1, queue_limit=64, timeout_ms=3000, configuration={}).model_dump_json())
        assert gateway.stdout is not None
        gateway.stdout.readline()  # it listens
        leaf = node.child(service)
        leaf.create()
        added = Add(
            service=service,
            service_id=number,
            cgroup=CgroupSettings.of(leaf),
            page=Path(own.page),
            epoch=1,
            log=None,
        )
        tell(emitter, added.model_dump_json())
        gateways.append(gateway)
    return emitter, gateways


@contextmanager
def process(module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the agent's; it ends with the block."""
    command: Sequence[str] = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY_ROOT) as running:
        try:
            yield running
        finally:
            running.terminate()


def tell(running: subprocess.Popen[bytes], command: str) -> None:
    """Give it a command."""
    assert running.stdin is not None
    running.stdin.write(f"{command}\n".encode())
    running.stdin.flush()


def used_s(pid: int) -> float:
    """Seconds of CPU time that a process has used: utime and stime of proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
