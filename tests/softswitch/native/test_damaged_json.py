"""Whatever is damaged in a program's JSON, the loader says what and where, or the program compiles.

`make test` tries a few hundred damages that are always the same, `MINUTES=60 make fuzz` an hour's worth of others.
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from softswitch.bmv2.loader import load_program
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.cc import FLAGS, RUNTIME
from softswitch.codegen.program import generate

from tests.softswitch.native.bmv2 import PROGRAMS

NAMES = sorted(path.stem for path in PROGRAMS.glob("*.json"))
MINUTES = float(os.environ.get("MINUTES", "0"))
DAMAGES, CUTS, COMPILED = 400, 40, 12
ODD = [None, 0, 1, -1, 7, 129, 2**31, 2**70, 1.5, True, "", "x", "0x", "-0x1", "0xzz", "0x" + "f" * 90, [], {}, [[]]]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path."""
    for key in path:
        value = value[key]
    return value


def damage(program: Any, rng: random.Random, paths: list[tuple[Any, ...]]) -> str:
    """Changes one thing; what it was."""
    path = rng.choice(paths)
    holder, key = at(program, path[:-1]), path[-1]
    kind = rng.randrange(5)
    if kind == 0:
        holder[key] = rng.choice(ODD)
    elif kind == 1:
        del holder[key]
    elif kind == 2:  # something that belongs elsewhere
        holder[key] = copy.deepcopy(at(program, rng.choice(paths)))
    elif kind == 3 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    else:
        same = [p for p in paths if p[-1] == key and isinstance(key, str)] or [path]
        holder[key] = copy.deepcopy(at(program, rng.choice(same)))
    return f"{'/'.join(map(str, path))} is {str(holder[key:] if isinstance(holder, list) else holder.get(key))[:200]}"


def tried(text: str) -> str | None:
    """The C text, or None when the program is refused."""
    try:
        return generate(load_program(text)).text
    except UnsupportedProgram as refusal:
        assert refusal.construct
    except ValueError as error:
        assert str(error).startswith("the device configuration is not")
    return None


def check_compiles(folder: Path, sources: dict[str, str]) -> None:
    """The C compiler takes every text."""
    names = []
    for number, text in enumerate(sources.values()):
        names.append(f"{number}.c")
        (folder / names[-1]).write_text(text)
    command = ["gcc", "-fsyntax-only", *(f for f in FLAGS if f.startswith("-std")), f"-I{RUNTIME}", *names]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{list(sources)}\n{done.stderr[:3000]}"


@pytest.mark.timeout(int(MINUTES * 60) + 300)
def test_damaged_programs_are_refused_or_compile(tmp_path: Path) -> None:
    rng = random.Random(time.time_ns() if MINUTES else 5)
    whole = {name: json.loads((PROGRAMS / f"{name}.json").read_text()) for name in NAMES}
    paths = {name: list(places(root)) for name, root in whole.items()}
    until, sources, refused, count = time.monotonic() + MINUTES * 60, {}, 0, 0
    while count < DAMAGES or time.monotonic() < until:
        count += 1
        name = rng.choice(NAMES)
        program = copy.deepcopy(whole[name])
        what = f"{name}: {damage(program, rng, paths[name])}"
        try:
            text = tried(json.dumps(program))
        except Exception as error:
            raise AssertionError(what) from error
        refused += text is None
        if text is not None and (MINUTES or count % (DAMAGES // COMPILED) == 0):
            sources[what] = text
        if len(sources) >= COMPILED:
            check_compiles(tmp_path, sources)
            sources.clear()
    if sources:
        check_compiles(tmp_path, sources)
    assert refused > count // 10


def test_cut_programs_are_refused() -> None:
    rng = random.Random(6)
    for _ in range(CUTS):
        text = (PROGRAMS / f"{rng.choice(NAMES)}.json").read_text().rstrip()
        with pytest.raises(ValueError, match="not JSON"):
            load_program(text[: rng.randrange(len(text))])
