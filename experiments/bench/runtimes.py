"""What Lambda's Runtime API costs: a handler that a worker calls itself, beside programs that ask that API for work."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from experiments.bench.gateway import TRIVIAL, in_alternation, running_gateway, summary
from experiments.native.compiling import compile_program

HANDLER, AWS, C = "handler", "awslambdaric", "c"
"""By the worker protocol; the same handler by AWS's runtime for Python; a program in C."""
REVERSE = Path(__file__).with_name("reverse.c")
PORT = 18490
"""On loopback; the gateways have this one and the next ones."""
BOOTSTRAP = ("--bootstrap", "bootstrap", *TRIVIAL)


def bench_runtimes(rounds: int, seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure them in alternation, each behind a gateway of its own. Raises WrkFailed, CompilationFailed, OSError."""
    names = [HANDLER, C]
    if importlib.util.find_spec(AWS) is not None:
        names.insert(1, AWS)
    else:
        tell(f"runtimes: {AWS} is left out: it is not installed (`make setup` does it)")
    with ExitStack() as stack:
        processes, urls = {}, {}
        for port, name in enumerate(names, start=PORT):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{name}-")))
            install(name, folder)
            options = TRIVIAL if name == HANDLER else BOOTSTRAP
            processes[name] = stack.enter_context(running_gateway(folder, port, "tcp", options))
            urls[name] = f"http://127.0.0.1:{port}/"
        measured = in_alternation(urls, processes, rounds, seconds, lambda said: tell(f"runtimes, {said}"))
    return summary(measured, HANDLER)


def install(name: str, folder: Path) -> None:
    """Put a function's bootstrap where it runs. Raises CompilationFailed."""
    bootstrap = folder / "bootstrap"
    if name == C:
        compile_program(folder, bootstrap.name, REVERSE)
    elif name == AWS:
        bootstrap.write_text(f'#!/bin/sh\nexec {sys.executable} -m awslambdaric "$_HANDLER"\n')
        bootstrap.chmod(0o755)
