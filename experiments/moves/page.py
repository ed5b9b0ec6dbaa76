"""A run's page: what is published of it, all of it made of what is kept of its rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from experiments import scenario
from experiments.cells import number
from experiments.moves import picture, reduced, rows, table
from experiments.moves.judge import STAGES, summarise
from experiments.moves.ways import WAYS

SUMMARY, PAGE = "summary.json", "README.md"
GOAL_MS = 1.0
"""Beyond a report interval: what the middle of all moves by the switch is to take at most."""
SET_UP = """\
                     ┌───────────────────────────────┐
  client ────────────┤  middle: the switch with the  ├──────────── node0
  requests, Poisson  │  steering program, or Linux   │             serves, reports its queue
                     │  as a router (with HAProxy or │
  controller ────────┤  a broker, for those ways)    ├──────────── node1
                     └───────────────────────────────┘             the same, busy by turns
"""


def judged(folder: Path) -> dict[str, Any]:
    """Judge what is kept of a run's rows; writes summary.json and the picture beside it. Raises OSError, ValueError."""
    machines, options, _ = rows.read(folder)
    tallies = reduced.read(folder)
    summary = summarise(machines, options, tallies)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")
    times = {
        name: [ms for one in tally.moves if (ms := one.stage_ms(STAGES[-1])) is not None]
        for name, tally in tallies.items()
    }
    picture.draw(folder, times, options["interval_us"] / 1000)
    return summary


def parts(summary: dict[str, Any]) -> Sequence[RenderableType]:
    """What is printed of a run."""
    return table.moves_table(summary["ways"]), table.requests_table(summary["ways"]), table.verdict(summary)


def printed(part: RenderableType) -> str:
    """As the command prints it."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(width=scenario.WIDTH, file=nowhere, record=True, highlight=False, markup=False)
        console.print(part)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


def publish(run: Path, folder: Path) -> None:
    """Write a run's page to a folder, with what its figures are made of and the raw rows' hashes.

    Raises ValueError for a run that tells nothing or whose raw rows are not there, OSError.
    """
    if not reduced.is_raw(run):
        raise ValueError("its raw rows are not there")
    reduced.reduce(run)
    summary = judged(run)
    if summary["invalid"]:
        raise ValueError(f"it is INVALID: {'; '.join(summary['invalid'])}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (rows.RUN, *reduced.FILES, SUMMARY, f"{picture.NAME}.{picture.FORMATS[0]}"):
        shutil.copyfile(run / name, folder / name)
    (folder / reduced.MANIFEST).write_text(reduced.manifest(run))
    (folder / PAGE).write_text(text(summary))


def text(summary: dict[str, Any]) -> str:
    """The page."""
    options, machine = summary["options"], summary["machine"]
    size = f"--rounds {options['rounds']} --moves {options['moves']} --rate {options['rate']}"
    ways = ",".join(options["ways"])
    tables = "\n\n".join(f"```text\n{printed(part)}\n```" for part in parts(summary))
    says = "\n".join(f"- {one}" for one in sentences(summary))
    return f"""# How long a service takes to move, by each way to move it

**Question.** A node says that it is busy. How long until the first request arrives at the other node, by each way that
there is to have it so, and what becomes of the requests meanwhile? How it is measured, and what each column means:
[moves.md](../../moves.md).

```text
{SET_UP}```

**Command.** {machine["cores"]} cores ({machine["cpu"]}), Linux {machine["kernel"]}, {options["target"]}, commit
`{machine["commit"]}`:

```text
make experiment NAME=migration TARGET={options["target"]} SEED={options["seed"]} ARGS="--only {ways} {size}"
python -m experiments migration --from FOLDER --publish docs/results/migration
```

![how long moves take, by way]({picture.NAME}.svg)

{tables}

**What it says.**

{says}

**What it does not say.** How long it takes to notice that a node is busy: nodes say so by a schedule
([detection](../detection/README.md) is about that). How longer links, more clients or other machines would do: here all
share one machine, so a way that uses the CPU takes it from the nodes and the client too. `haproxy` serves HTTP and the
others datagrams: the times of its moves are to be compared with theirs, its latencies are not. In `restart` a real
function serves behind its node's gateway, at {WAYS["restart"].rate(options["rate"])} requests a second, and a node is
busy for longer, since a start takes longer than the others' period.

**Raw rows.** [{reduced.MOVES}]({reduced.MOVES}) has each move, [{reduced.SEGMENTS}]({reduced.SEGMENTS}) what was
counted in each segment, [{reduced.TIMES}]({reduced.TIMES}) how many requests took how many µs,
[{rows.RUN}]({rows.RUN}) the machine and the options. `python -m experiments migration --from` this folder makes
[{SUMMARY}]({SUMMARY}), the tables and the picture of these alone. Single requests and reports are too large for here;
[{reduced.MANIFEST}]({reduced.MANIFEST}) has the hashes of their files.
"""


def sentences(summary: dict[str, Any]) -> list[str]:
    """What follows from the figures, by rule."""
    found = [_counted(summary)]
    if (own := summary["ways"].get("in-network")) is None:
        return found
    interval = summary["options"]["interval_us"] / 1000
    total = own["stages_ms"][STAGES[-1]]
    for name, goal, said in (
        ("p50", interval + GOAL_MS, f"a report interval and {GOAL_MS:g} ms"),
        ("p99", 2 * interval, "two report intervals"),
    ):
        if (value := total[name]) is not None:
            holds = "at most" if value <= goal else "more than"
            found.append(
                f"In-network, the {name} from the report to the first request elsewhere is {number(value)} ms: "
                f"{holds} {said} ({goal:g} ms)."
            )
    for name, other in summary["ways"].items():
        if name != "in-network":
            found.append(_compared(name, total, other["stages_ms"][STAGES[-1]]))
    if (ratio := own["p999_after_to_steady"]) is not None:
        found.append(f"In-network, the p99.9 of the 100 ms after a move is {ratio:.2f} times the steady one.")
    return found


def _counted(summary: dict[str, Any]) -> str:
    """Who lost nothing, and what that says."""
    clean = [name for name, one in summary["ways"].items() if not (one["lost"] or one["failed"] or one["duplicated"])]
    if not clean:
        return "By every way requests were lost, failed or executed twice."
    bounds = ", ".join(
        f"`{name}` (at 95 % confidence fewer than {summary['ways'][name]['bound_95']:.1g} of all are)" for name in clean
    )
    return f"No request was lost, failed or executed twice by {bounds}."


def _compared(name: str, own: dict[str, Any], other: dict[str, Any]) -> str:
    """In which quantiles the switch is sooner than another way; two whose intervals overlap are not told apart."""
    words = []
    for quantile in ("p50", "p90", "p99"):
        mine, theirs = own[f"{quantile}_interval"], other[f"{quantile}_interval"]
        if mine is None or theirs is None:
            continue
        if mine[1] < theirs[0]:
            words.append(f"sooner in the {quantile}")
        elif theirs[1] < mine[0]:
            words.append(f"later in the {quantile}")
        else:
            words.append(f"not to be told apart in the {quantile}")
    return f"In-network beside `{name}`: {', '.join(words) or 'too few moves to tell'}."
