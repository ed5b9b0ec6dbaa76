"""What is kept of the raw rows where they are too large: each move, the counts of each segment, and how many requests
took so long. All figures and the picture are made of these alone.

`moves.csv.gz` has a row for each move, `segments.csv` one for each segment, `times.csv.gz` one for each way, part
(`PARTS`) and time in µs, with how many requests it was.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.moves import rows
from experiments.moves.judge import PARTS, Counts, Move, Tally, take

MOVES, SEGMENTS, TIMES = "moves.csv.gz", "segments.csv", "times.csv.gz"
FILES = (MOVES, SEGMENTS, TIMES)
MANIFEST = "raw.sha256"
NODES = 2


def reduce(folder: Path) -> None:
    """Make the three files of a run's raw rows, beside them. Raises OSError, ValueError."""
    _, options, done = rows.read(folder)
    tallies = {name: Tally() for name in options["ways"]}
    for one in done:
        take(tallies[one.way], one, rows.read_segment(folder / one.name, NODES))
    known = tallies.values()
    _write(folder / MOVES, _names(Move), (dataclasses.astuple(one) for tally in known for one in tally.moves))
    _write(folder / SEGMENTS, _names(Counts), (dataclasses.astuple(one) for tally in known for one in tally.counts))
    times = (
        (way, part, *counted)
        for way, tally in tallies.items()
        for part in PARTS
        for counted in sorted(tally.times_us[part].items())
    )
    _write(folder / TIMES, ("way", "part", "us", "requests"), times)


def is_raw(folder: Path) -> bool:
    """Whether the raw rows are there."""
    return any((folder / one.name).is_dir() for one in rows.read(folder)[2])


def read(folder: Path) -> dict[str, Tally]:
    """What the three files say, by way. Raises OSError, ValueError, KeyError."""
    _, options, _ = rows.read(folder)
    tallies = {name: Tally() for name in options["ways"]}
    for row in _read(folder / MOVES):
        tallies[row["way"]].moves.append(Move(**_values(row)))
    for row in _read(folder / SEGMENTS):
        tallies[row["way"]].counts.append(Counts(**_values(row)))
    for row in _read(folder / TIMES):
        tallies[row["way"]].times_us[row["part"]][int(row["us"])] += int(row["requests"])
    return tallies


def manifest(folder: Path) -> str:
    """The SHA-256 of each raw file of a run, as `sha256sum --check` reads it."""
    lines = []
    for one in rows.read(folder)[2]:
        for file in sorted((folder / one.name).iterdir()):
            with file.open("rb") as content:
                lines.append(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {one.name}/{file.name}\n")
    return "".join(lines)


def _names(kind: type[Move] | type[Counts]) -> Sequence[str]:
    return [one.name for one in dataclasses.fields(kind)]


def _values(row: Mapping[str, str]) -> dict[str, Any]:
    return {name: value if name == "way" else int(value) if value else None for name, value in row.items()}


def _write(file: Path, names: Sequence[str], values: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(values)
    content = text.getvalue().encode()
    # Without a time and a name in it, the same rows are the same file.
    file.write_bytes(gzip.compress(content, mtime=0) if file.suffix == ".gz" else content)


def _read(file: Path) -> Iterator[dict[str, str]]:
    content = file.read_bytes()
    yield from csv.DictReader(io.StringIO((gzip.decompress(content) if file.suffix == ".gz" else content).decode()))
