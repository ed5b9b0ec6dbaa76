"""A run on one page that opens by itself: verdict, picture, tables, machine. Pure but for reading the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from experiments.migration.options import APPLICATION
from experiments.migration.table import COLUMNS, MOVES, figure, services, span
from experiments.migration.verdict import verdict

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin-top: 2rem }
.verdict { font-size: 1.15rem; border-left: 4px solid #0072b2; padding-left: .8rem }
.invalid { border-color: #b00020; color: #b00020 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child, td.text { text-align: left }
svg { width: 100%; height: auto }
"""


def page(summary: Mapping[str, Any], picture: Path | None) -> str:
    """The page; ``picture`` is an SVG."""
    kind = "verdict invalid" if summary["causes"] else "verdict"
    parts = [
        f"<h1>hitless: {APPLICATION} under {summary['cycles']} disturbances</h1>",
        f'<p class="{kind}">{escape(verdict(summary))}</p>',
    ]
    if picture is not None:
        svg = picture.read_text()
        parts.append(svg[svg.index("<svg") :])
    for service in services(summary):
        parts += [f"<h2>{escape(service)}: latency, ms</h2>", latency(summary, service)]
    if summary["disturb"] != "none":
        parts += [f"<h2>Moves of {APPLICATION}: ms, shortest to longest</h2>", moves(summary)]
    parts += ["<h2>What was measured, and on what</h2>", setting(summary)]
    parts.append(
        "<p>A dash stands where too few samples tell a quantile: fewer than 10 would lie beyond it. "
        "<code>steady</code> ends when the competing computation starts, <code>window</code> is the second after, "
        "<code>after</code> the rest of the disturbance once the function has moved. All of this is made from the rows "
        "beside this page: <code>python -m experiments judge FOLDER</code> makes it anew.</p>"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>hitless: a run</title>'
        f"<style>{STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def latency(summary: Mapping[str, Any], service: str) -> str:
    """A service's latencies."""
    rows = [
        [way, phase, *(figure(row[name], summary) for name in COLUMNS[:-1]), str(row["n"])]
        for way, one in summary["ways"].items()
        for phase, row in one["latency_ms"].get(service, {}).items()
        if row["n"]
    ]
    return table(["way", "phase", *COLUMNS], rows)


def moves(summary: Mapping[str, Any]) -> str:
    """How often and how fast the application moved."""
    rows = [
        [
            way,
            f"{one['moved']} of {one['cycles']}",
            str(one["undisturbed_moves"].get(APPLICATION, 0)),
            *(span(one[name], summary) for name in MOVES),
        ]
        for way, one in summary["ways"].items()
    ]
    return table(["way", "moved", "undisturbed moves", *(name.replace("\n", " ") for name in MOVES.values())], rows)


def setting(summary: Mapping[str, Any]) -> str:
    """The run and its machine."""
    machine, used = summary["machine"], summary["machine_use"] or {}
    load = (
        f"{summary['cameras']} cameras, {summary['frames_per_second']:g} frames a second each; "
        f"{summary['http_per_second']:g} thumbnails a second; {summary['requests']:,} requests"
    )
    node = f"{summary['budget_cores']:g} cores of budget; {percent(summary['budget_delivered'])} used while disturbed"
    use = (
        f"idle {percent(used.get('idle'))}, taken by the hypervisor {percent(used.get('steal'))}, CPU pressure "
        f"{percent(used.get('pressure'))}, switch waiting for a core {percent(used.get('switch_wait'))}"
    )
    rows = {
        "switch": summary["target"],
        "load": load,
        "node": node,
        "generator": f"{summary['generator_late_p99_ms']} ms late at its 99th percentile",
        "machine": f"{machine['cores']} × {machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']}",
        "use of it": use,
        "commit": machine["commit"] or "-",
        "seed, time": f"{summary['seed']}, {summary['when']}",
    }
    lines = "".join(f"<tr><td>{name}</td><td class=text>{escape(said)}</td></tr>" for name, said in rows.items())
    return f"<table>{lines}</table>"


def percent(value: float | None) -> str:
    """A share."""
    return "-" if value is None else f"{value:.1%}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table."""
    titles = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{lines}</table>"
