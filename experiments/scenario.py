"""What the commands of the experiments share: their options, a folder of raw rows that a run begins or goes on with,
and how a run ends.

A run's rows are objects, one a line, told apart by `row`: `machine` and `options` come first. Whatever is printed or
drawn is made of the rows, by the same function after a run and, later, with `--from`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from experiments import machine
from topologies import targets
from topologies.leftovers import Busy
from topologies.processes import ProcessEnded
from topologies.requirements import Unmet, check
from topologies.testbed import REPOSITORY_ROOT

RESULTS = REPOSITORY_ROOT / "results"
WIDTH = 80
"""Columns of what is printed where no terminal says otherwise, and of published tables."""
EXPECTED: tuple[type[Exception], ...] = (
    *(Unmet, Busy, ProcessEnded, targets.TargetMissing),
    *(OSError, RuntimeError, ValueError),
)
"""What can go wrong with a machine or a folder, told in a sentence."""
Command = Callable[..., None]


def common_options(command: Command) -> Command:
    """Add `--target`, `--seed`, `--results` and `--from`; the last two are `results` and `source` to the command."""
    target = click.option("--target", type=click.Choice(targets.NAMES), default=targets.NAMES[0], show_default=True)
    seed = click.option("--seed", type=int, default=1, show_default=True)
    results = click.option(
        "--results", type=click.Path(path_type=Path), help="folder of the run  [default: results/TIME-NAME]"
    )
    source = click.option(
        "--from",
        "source",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="run nothing: tables, summary and picture anew from this folder's raw rows",
    )
    return target(seed(results(source(command))))


def size_option(sizes: Mapping[str, str]) -> Callable[[Command], Command]:
    """Add `--size`, of names and what each means; the last is the default."""
    said = "; ".join(f"{name}: {what}" for name, what in sizes.items())
    return click.option("--size", type=click.Choice(list(sizes)), default=list(sizes)[-1], show_default=True, help=said)


publish_option = click.option(
    "--publish",
    type=click.Path(path_type=Path, file_okay=False),
    help="with --from: write the run's page, its figures and what is kept of its rows to this folder",
)


def console() -> Console:
    """Where an experiment prints."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH)


@dataclass(frozen=True)
class Scenario:
    """An experiment's command: runs or judges, and says what went wrong in a sentence."""

    name: str
    show: Callable[[Path, Console], None]
    """Judge a folder's raw rows, write what they come to beside them, and print it."""
    expected: tuple[type[Exception], ...] = ()
    """What can go wrong beside EXPECTED."""
    resumes: bool = True
    """Whether a run goes on in the folder of one that was ended."""

    def judge(self, source: Path) -> None:
        """Judge the raw rows of a folder. Raises ClickException if they are none."""
        try:
            self.show(source, console())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise click.ClickException(f"{source}: not an experiment's raw rows: {error}") from error

    def run(
        self, target: str, results: Path | None, work: Callable[[Path, Console], Coroutine[Any, Any, None]]
    ) -> None:
        """Do the work in the run's folder, then judge it. Ends the process with 1 for an error, 130 if it was ended."""
        folder = (results or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}-{self.name}").absolute()
        printed = console()
        try:
            check()
            targets.require(target)
            asyncio.run(_interruptible(lambda: work(folder, printed)))
        except EXPECTED + self.expected as error:
            print(f"make experiment NAME={self.name}: {error}", file=sys.stderr)
            sys.exit(1)
        except (KeyboardInterrupt, asyncio.CancelledError):
            print(f"stopped, everything is undone; {self._left(folder)}", file=sys.stderr)
            sys.exit(130)
        self.show(folder, printed)

    def _left(self, folder: Path) -> str:
        if not folder.exists():
            return "nothing was measured"
        if self.resumes:
            return f"to go on: --results {folder} with the same options"
        return f"what was measured until then: python -m experiments {self.name} --from {folder}"


async def _interruptible(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Work so that SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await work()


def append(file: Path, row: str, **values: Any) -> None:
    """Add a row."""
    with file.open("a") as rows:
        rows.write(json.dumps({"row": row, **values}) + "\n")


def read(file: Path, kinds: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The rows by kind, each kind in its order: `machine`, `options` and `kinds`.

    Raises OSError, ValueError where one is not what it should be.
    """
    kinds = ("machine", "options", *kinds)
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        values = json.loads(line)
        if not isinstance(values, dict) or values.get("row") not in kinds:
            raise ValueError(f"{file}, line {number}: expected an object whose `row` is one of {', '.join(kinds)}")
        found[values.pop("row")].append(values)
    if not found["machine"] or len(found["options"]) != 1:
        raise ValueError(f"{file}: expected a row `machine` and one row `options`")
    return found


def begin(file: Path, kinds: Sequence[str], options: Mapping[str, Any]) -> bool:
    """Begin a run's rows with its machine and options; False if they are there: the run goes on.

    One that has something left to do then adds `machine`, as it is now. `kinds` are those of `read`, and so is what is
    raised; ValueError too for a run with other options.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        append(file, "machine", **machine.as_it_is())
        append(file, "options", **options)
        return True
    before, now = read(file, kinds)["options"][0], json.loads(json.dumps(options))
    if before != now:
        changed = ", ".join(name for name in {**before, **now} if before.get(name) != now.get(name))
        raise ValueError(f"{file.parent}: was begun with other options ({changed}): name another folder")
    return False


def estimate(printed: Console, todo: str, seconds: float) -> None:
    """Say what is to be done and how long it takes."""
    printed.print(f"{todo}, about {ceil(seconds / 60)} min")


def left(seconds: float) -> str:
    """Behind what was done: how long the rest takes; nothing at the end."""
    minutes = ceil(seconds / 60)
    return f"; about {minutes} min left" if minutes else ""


def conclude(printed: Console, folder: Path, files: Sequence[str], invalid: Sequence[str]) -> None:
    """Say why a run tells nothing, if so, and where its files are."""
    printed.print()
    if invalid:
        printed.print(f"INVALID: {'; '.join(invalid)}")
    printed.print(f"results: {folder} ({', '.join(files)})", soft_wrap=True)
