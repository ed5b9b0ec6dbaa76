"""``python -m topologies``: a fabric to play with, p4runtime-shell against it, and cleaning up after a killed run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from controller.authority.plan import Realm
from controller.authority.store import AuthorityStore
from controller.fabric.file import load
from controller.operator.invoke import NAMESPACES
from hitless.located import LocatedError
from hitless.mqtt.identities import CONTROLLER
from hitless.tls import AUTHORITY, CERTIFICATE, KEY
from topologies import layout, leftovers, network, targets
from topologies.processes import ProcessEnded, in_namespace
from topologies.requirements import Unmet, check
from topologies.testbed import APPS, REPOSITORY_ROOT, NotReady, testbed

PAIR = REPOSITORY_ROOT / "topologies" / "pair.yaml"


@click.group()
def main() -> None:
    """Mininet networks that the whole system runs in."""


@main.command()
@click.option("--fabric", type=click.Path(path_type=Path, exists=True), default=PAIR, show_default=True)
@click.option("--apps", type=click.Path(path_type=Path, exists=True), multiple=True, default=APPS, show_default=True)
@click.option("--target", type=click.Choice(targets.NAMES), default=targets.NAMES[0], show_default=True)
def up(fabric: Path, apps: tuple[Path, ...], target: str) -> None:
    """Bring a fabric up and keep it running until Ctrl-C, for `hitless status`, `make shell`, curl and wrk."""
    try:
        check()
        targets.require(target)
        layout.load(fabric, bridged=False, target=target)
        asyncio.run(stay(fabric, apps, target))
    except (Unmet, targets.TargetMissing, leftovers.Busy, LocatedError, NotReady, ProcessEnded) as error:
        fail(str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("stopped; nothing is left behind", err=True)


async def stay(fabric: Path, apps: Sequence[Path], target: str) -> None:
    """Bring up, say how to use it, wait for the end."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    logs = Path(tempfile.mkdtemp(prefix="hitless-logs-"))
    async with testbed(fabric, logs, target=target, clients=["shell"], components=apps) as bed:
        await bed.ready(click.echo)
        click.echo(f"up; the logs are in {logs}. In another terminal:")
        click.echo(f"  HITLESS_SOCKET={bed.socket} {Path(sys.executable).parent}/hitless status")
        click.echo(f"  {Path(sys.executable).parent}/hitless invoke {next(iter(bed.fabric.services))} BODY")
        for name in bed.fabric.hosts:
            click.echo(f"  on host {name}: nsenter --net=/proc/{bed.namespace(name)}/ns/net COMMAND")
        await bed.supervise(lambda text: click.echo(text, err=True))


@main.command()
@click.option("--fabric", type=click.Path(path_type=Path, exists=True), default=PAIR, show_default=True)
@click.option("--switch", "name", help="the switch's name; not needed where there is only one")
@click.option("--python", required=True, help="the interpreter of the environment that has p4runtime-shell")
def shell(fabric: Path, name: str | None, python: str) -> None:
    """Open p4runtime-shell, as a backup client, on the running switch."""
    try:
        where = json.loads((leftovers.RUNTIME / NAMESPACES).read_text())
    except FileNotFoundError:
        fail("no fabric is up: start one with `make up`, or run this while `make run` runs")
    loaded = load(fabric)
    switch = loaded.switches.get(name or next(iter(loaded.switches)))
    if switch is None or (name is None and len(loaded.switches) > 1):
        fail(f"name the switch with --switch: {', '.join(loaded.switches)}")
    pid = where[network.controller_host_name(loaded)]
    # Election id 0,1 is below the controller's: the shell may read, and the controller stays primary.
    command = [python, "-m", "p4runtime_sh", "--grpc-addr", switch.p4runtime, "--device-id", str(switch.device_id)]
    tls = AuthorityStore(leftovers.RUNTIME / "authority").issued_folder(Realm.SWITCHES, CONTROLLER)
    command += ["--ssl", "--cacert", str(tls / AUTHORITY), "--cert", str(tls / CERTIFICATE)]
    command += ["--private-key", str(tls / KEY), "--election-id", "0,1"]
    line = in_namespace(pid, command)
    os.execvp(line[0], line)


@main.command()
def clean() -> None:
    """End what a killed run left behind: its processes (and with them its namespaces) and its nodes' CPU budgets."""
    try:
        with leftovers.exclusive():
            done = leftovers.clean()
    except leftovers.Busy as error:
        fail(str(error))
    except PermissionError as error:
        fail(f"{error}: run it as root")
    for line in done or ["nothing was left behind"]:
        click.echo(line)


def fail(message: str) -> NoReturn:
    """Say what is wrong and exit with 1."""
    click.echo(f"topologies: {message}", err=True)
    sys.exit(1)
