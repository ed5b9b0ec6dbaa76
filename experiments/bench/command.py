"""``python -m experiments bench``: what ``make bench`` calls."""

from __future__ import annotations

import asyncio
import json

import click

from experiments.bench import gateway
from experiments.bench.ratios import table
from experiments.bench.run import Size, bench
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
@click.option("--only", type=click.Choice(["switch", "gateway"]), help="measure one of them")
def bench_command(rounds: int, seconds: float, entries: int, packets: int, only: str | None) -> None:
    """Softswitch beside BMv2 and a null forwarder, a node's gateway beside a bare server (seven minutes)."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if only != "switch":
        _gateway(rounds, seconds)
    if only == "gateway":
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
    click.echo("\n" + gateway.table(found))
    path = FOLDER / "gateway.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    click.echo(f"results: {path}")
