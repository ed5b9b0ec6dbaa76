"""A run's page: what is published of it, all of it made of run.ndjson and faults.csv."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from experiments import scenario
from experiments.failures import judge, picture, rows, table

SUMMARY, PAGE = "summary.json", "README.md"


def judged(folder: Path) -> dict[str, Any]:
    """Judge a run's rows; writes summary.json and the picture beside them. Raises OSError, ValueError, KeyError."""
    facts = rows.read(folder)
    summary = judge.summarise(facts)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")
    picture.draw(folder, list(summary["kinds"]), facts.costs)
    return summary


def parts(summary: dict[str, Any]) -> Sequence[RenderableType]:
    """What is printed of a run."""
    return table.costs_table(summary), table.verdict(summary)


def printed(part: RenderableType) -> str:
    """As the command prints it."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(width=scenario.WIDTH, file=nowhere, record=True, highlight=False, markup=False)
        console.print(part)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


def publish(run: Path, folder: Path) -> None:
    """Write a run's page to a folder, with its rows and the hashes of its rounds' own.

    Raises ValueError for a run that tells nothing, OSError.
    """
    rows.reduce(run)
    summary = judged(run)
    if summary["invalid"]:
        raise ValueError(f"it is INVALID: {'; '.join(summary['invalid'])}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (rows.RUN, rows.FAULTS, rows.MANIFEST, SUMMARY, f"{picture.NAME}.{picture.FORMATS[0]}"):
        shutil.copyfile(run / name, folder / name)
    (folder / PAGE).write_text(text(summary))


def text(summary: dict[str, Any]) -> str:
    """The page."""
    options, machine = summary["options"], summary["machine"][0]
    arguments = f"--only {','.join(options['kinds'])} --rounds {options['rounds']}"
    tables = "\n\n".join(f"```text\n{printed(part)}\n```" for part in parts(summary))
    return f"""# What failures cost

**Question.** A part of the fabric ends or stands still. How many requests are lost, how long is nobody answered, and
when is everything as before? How it is measured, what each column means, and what this does not say:
[failures.md](../../failures.md).

**Command.** {machine["cores"]} cores ({machine["cpu"]}), Linux {machine["kernel"]}, commit `{machine["commit"]}`:

```text
make experiment NAME=failures TARGET={options["target"]} SEED={options["seed"]} ARGS="{arguments}"
python -m experiments failures --from FOLDER --publish docs/results/failures
```

![each fault's longest gap, and its time until as before]({picture.NAME}.svg)

{tables}

**Raw rows.** [{rows.FAULTS}]({rows.FAULTS}) has each fault, [{rows.RUN}]({rows.RUN}) the machine, the options and each
round; `python -m experiments failures --from` this folder makes [{SUMMARY}]({SUMMARY}), table and picture of them.
Single requests are too many for here; [{rows.MANIFEST}]({rows.MANIFEST}) has the hashes of their files.
"""
