"""``python -m experiments bench``: what ``make bench`` calls."""

from __future__ import annotations

import asyncio

import click

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
def bench_command(rounds: int, seconds: float, entries: int, packets: int) -> None:
    """Softswitch beside BMv2 and a null forwarder: packets a second, latency, table entries (five minutes)."""
    size = Size(rounds=rounds, seconds=seconds, entries=entries, packets=packets)
    summary = asyncio.run(bench(size, FOLDER, click.echo))
    click.echo("\n" + table(summary))
    memory = summary["memory"]
    growth = f"{memory['rss_kib_before']} to {memory['rss_kib_after']} KiB"
    click.echo(f"memory over {memory['packets']:.0e} packets: {growth}")
    if not summary["valid"]:
        click.echo("INVALID: the null forwarder differs from itself; run it again on a calmer machine")
    click.echo(f"results: {FOLDER / 'summary.json'}")
