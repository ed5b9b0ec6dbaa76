"""``python -m experiments bench``: what ``make bench`` calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from experiments.bench import gateway, goodput, l2, queues, runtimes, wasm
from experiments.bench.packets import NotSteered
from experiments.bench.ratios import table
from experiments.bench.run import Size, bench, compile_programs
from experiments.native.compiling import CompilationFailed
from hitless import CallError
from topologies.testbed import REPOSITORY_ROOT

FOLDER = REPOSITORY_ROOT / "results" / "bench"
WHOLE = Size()


@click.command("bench")
@click.option("--rounds", type=click.IntRange(1, 1000), default=WHOLE.rounds, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=WHOLE.seconds, show_default=True, help="of each load"
)
@click.option("--entries", type=click.IntRange(1000, 100_000), default=WHOLE.entries, show_default=True)
@click.option(
    "--packets", type=click.IntRange(1000), default=WHOLE.packets, show_default=True, help="to watch memory over"
)
@click.option(
    "--only",
    type=click.Choice(["switch", "queues", "gateway", "runtimes", "wasm", "goodput", "l2"]),
    help="measure one of them",
)
def bench_command(rounds: int, seconds: float, entries: int, packets: int, only: str | None) -> None:
    """Softswitch beside BMv2, a null forwarder and a bridge, a node's gateway beside a bare server (ten minutes)."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if only in (None, "gateway"):
        _gateway(rounds, seconds)
    if only in (None, "runtimes"):
        _runtimes(rounds, seconds)
    if only in (None, "wasm"):
        _wasm(rounds, seconds)
    if only in (None, "goodput"):
        _goodput(rounds, seconds)
    if only in (None, "queues"):
        _queues(rounds, seconds)
    if only in (None, "l2"):
        _l2(rounds, seconds)
    if only not in (None, "switch"):
        return
    size = Size(rounds=rounds, seconds=seconds, entries=entries, packets=packets)
    summary = asyncio.run(bench(size, FOLDER, click.echo))
    click.echo("\n" + table(summary))
    memory = summary["memory"]
    growth = f"{memory['rss_kib_before']} to {memory['rss_kib_after']} KiB"
    click.echo(f"memory over {memory['packets']:.0e} packets: {growth}")
    if not summary["valid"]:
        click.echo("INVALID: the null forwarder differs from itself; run it again on a calmer machine")
    click.echo(f"results: {FOLDER / 'summary.json'}")


def _gateway(rounds: int, seconds: float) -> None:
    """Measure the gateway, and write its summary."""
    try:
        found = gateway.bench_gateway(rounds, seconds, click.echo)
    except (gateway.WrkFailed, OSError) as error:
        raise click.ClickException(str(error)) from None
    _keep("gateway", found)


def _runtimes(rounds: int, seconds: float) -> None:
    """Measure what Lambda's Runtime API costs a function, and write the summary."""
    try:
        found = runtimes.bench_runtimes(rounds, seconds, click.echo)
    except (gateway.WrkFailed, CompilationFailed, OSError) as error:
        raise click.ClickException(str(error)) from None
    _keep("runtimes", found)


def _wasm(rounds: int, seconds: float) -> None:
    """Measure a function in WebAssembly beside one in Python, and write the summary."""
    try:
        found = wasm.bench_wasm(rounds, seconds, click.echo)
    except OSError as error:
        raise click.ClickException(str(error)) from None
    _keep("wasm", found)


def _goodput(rounds: int, seconds: float) -> None:
    """Measure what hostile datagrams cost the gateway's own clients, and write the summary."""
    try:
        found = goodput.bench_goodput(rounds, seconds, click.echo)
    except (CallError, CompilationFailed, OSError) as error:
        raise click.ClickException(str(error)) from None
    _keep("goodput", found)


def _queues(rounds: int, seconds: float) -> None:
    """Measure queues and links, and write the summary."""
    programs = partial(compile_programs, tell=click.echo)
    try:
        found = asyncio.run(queues.bench_queues(rounds, seconds, FOLDER, programs, click.echo))
    except (RuntimeError, CompilationFailed, NotSteered, OSError) as error:
        raise click.ClickException(str(error)) from None
    _keep("queues", found)
    for name, kept in found["within"].items():
        if not kept:
            click.echo(f"{name} is beyond {queues.BOUNDS[name]:g}")


def _l2(rounds: int, seconds: float) -> None:
    """Measure TCP between hosts through an L2 program, and write the summary."""
    try:
        found = l2.bench_l2(rounds, seconds, FOLDER, click.echo)
    except (OSError, RuntimeError) as error:
        raise click.ClickException(str(error)) from None
    _keep("l2", found)


def _keep(name: str, found: Mapping[str, Any]) -> None:
    """Print the ratios of a part, and write it."""
    click.echo("\n" + gateway.table(found))
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    click.echo(f"results: {path}")
