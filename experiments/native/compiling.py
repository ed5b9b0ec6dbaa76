"""Compiles the C programs that load a switch and play its nodes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")


class CompilationFailed(Exception):
    """A C program could not be made; the message says why and what to do."""


SHARED = ("-shared", "-fPIC")
"""Further flags for a library."""


def compile_program(folder: Path, name: str, *sources: Path, flags: tuple[str, ...] = ()) -> Path:
    """The program ``name`` in ``folder``, made of C files. Raises CompilationFailed."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise CompilationFailed(f"{name} needs gcc, which is not installed: run `make setup`")
    program = folder / name
    done = subprocess.run(
        [compiler, *FLAGS, "-o", str(program), *map(str, sources), *flags], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CompilationFailed(f"gcc cannot compile {', '.join(map(str, sources))}:\n{done.stderr.strip()}")
    return program
