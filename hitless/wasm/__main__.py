"""A function in WebAssembly: `python -m hitless.wasm greet.wasm --artifacts DIR`.

Compiles the module once for this node, refuses it with the reason if it cannot be run, and keeps native workers that
execute it behind the gateway whose Unix socket HITLESS_GATEWAY names.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import NoReturn

import click

from hitless.runtime.launch import Launch, launched
from hitless.runtime.slots import Slot
from hitless.runtime.supervisor import supervise
from hitless.wasm.bindings import EngineMissing, library, version
from hitless.wasm.build import NotBuilt, program

KEPT = ".hitless-wasm"
"""The folder below HOME of what was compiled. What lies there is run as it is, so no module may write into it."""
KEPT_FILES = 8
"""The oldest beyond it are removed; the version that serves starts workers from its own at any time."""


@click.command()
@click.argument("module", type=click.Path(path_type=Path))
@click.option(
    "--artifacts", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the function's files lie."
)
@click.option(
    "--workers",
    default=1,
    type=click.IntRange(1, 64),
    help="Processes, each with one request at a time, until the gateway says how many the configuration wants.",
)
@click.option(
    "--memory-mb",
    default=64,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="What the module's memory may grow to in a call.",
)
@click.option(
    "--read", multiple=True, metavar="DIR[:NAME]", help="A folder that it reads, by NAME or as DIR is called."
)
@click.option("--write", multiple=True, metavar="DIR[:NAME]", help="A folder that it reads and writes.")
@click.option("--variable", multiple=True, metavar="NAME[=VALUE]", help="A variable that it has; without VALUE, ours.")
def main(
    module: Path,
    artifacts: Path,
    workers: int,
    memory_mb: int,
    read: tuple[str, ...],
    write: tuple[str, ...],
    variable: tuple[str, ...],
) -> None:
    """Serve requests by MODULE, a file of the artifacts' folder, until the gateway or a SIGTERM says to stop.

    Without --read, --write and --variable it reaches nothing of the node.
    """
    try:
        launch = launched()
        host, engine = program(), library()
        _within(memory_mb)
        kept = Path.home() / KEPT
        grants = [f"library={engine}", f"memory={memory_mb}"]
        grants += [_folder(one, "ro", artifacts, kept) for one in read]
        grants += [_folder(one, "rw", artifacts, kept) for one in write]
        grants += [_variable(one) for one in variable]
        compiled = _compiled((artifacts / module).absolute(), kept, host, grants)
    except (ValueError, NotBuilt, EngineMissing) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    try:
        slot = supervise(launch, module.name, workers)
    except OSError as error:
        raise click.ClickException(f"gateway {launch.gateway}: {error}") from None
    _become(host, [*grants, f"kept={compiled}"], module.name, launch, slot)


def _within(memory_mb: int) -> None:
    """Raises ValueError for more than the component has."""
    limit = os.environ.get("HITLESS_MEMORY_MB", "")
    if limit.isdecimal() and memory_mb > int(limit) > 0:
        raise ValueError(f"--memory-mb {memory_mb} is more than the {limit} MB of the component")


def _folder(given: str, mode: str, artifacts: Path, kept: Path) -> str:
    """Raises ValueError."""
    path, _, name = given.partition(":")
    host = (artifacts / path).resolve()
    if not host.is_dir():
        raise ValueError(f"{host}, which is granted, is no folder")
    if ":" in str(host):
        raise ValueError(f"{host}, which is granted, has a colon in its path")
    own = kept.resolve()
    if mode == "rw" and (own.is_relative_to(host) or host.is_relative_to(own)):
        raise ValueError(
            f"--write {path} would let the module change what was compiled of it: grant a folder below {host}"
        )
    return f"folder={mode}:{host}:{name or path}"


def _variable(given: str) -> str:
    """Raises ValueError."""
    name, has_value, value = given.partition("=")
    if not has_value:
        if name not in os.environ:
            raise ValueError(f"--variable {name}: there is none of that name: set it in the recipe's setenv")
        value = os.environ[name]
    return f"variable={name}={value}"


def _compiled(module: Path, kept: Path, host: Path, grants: list[str]) -> Path:
    """The module as the engine has compiled it, which an earlier start may have done. Raises ValueError, OSError."""
    # Its memory is of the key, since a module is tried with it.
    made_of = f"{version()} {host.name} {grants[1]} ".encode() + module.read_bytes()
    file = kept / f"{hashlib.sha256(made_of).hexdigest()[:32]}.cwasm"
    if file.exists():
        file.touch()
        return file
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_suffix(f".{os.getpid()}")
    try:
        done = subprocess.run(
            [host, *grants, f"prepare={module}", f"kept={new}"], stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise ValueError(done.stderr.strip() or f"{module}: the compiler ended with {done.returncode}")
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
    for old in sorted(kept.glob("*.cwasm"), key=lambda one: one.stat().st_mtime)[:-KEPT_FILES]:
        old.unlink(missing_ok=True)
    return file


def _become(host: Path, words: list[str], handler: str, launch: Launch, slot: Slot) -> NoReturn:
    """In a worker: run the native host in place of this process."""
    os.set_inheritable(slot.descriptor, True)
    given = {
        "gateway": str(Path(launch.gateway).absolute()),
        "handler": handler,
        "function": os.environ.get("HITLESS_COMPONENT", handler),
        "version": os.environ.get("HITLESS_COMPONENT_VERSION", "$LATEST"),
        "launch": str(launch.number),
        "slots": str(slot.descriptor),
        "slot": str(slot.index),
    }
    os.execv(host, [str(host), *words, *(f"{name}={value}" for name, value in given.items())])


if __name__ == "__main__":
    main(prog_name="python -m hitless.wasm")
