"""The `softswitch` command, also as `python -m softswitch`: runs a switch, or what its first argument names."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from softswitch.commands import doctor, ports, run, serve

_EXIT_INTERRUPTED = 128 + signal.SIGINT

_COMMANDS = {"run": run.main, "port": ports.main, "doctor": doctor.main}
"""Anything else is the command line of simple_switch_grpc."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the arguments name (default: the process's), and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = _COMMANDS.get(arguments[0]) if arguments else None
    if command is None:
        sys.exit(serve.main(arguments))
    try:
        code = command(arguments[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = _EXIT_INTERRUPTED
    except BrokenPipeError:
        # the reader of its output has gone; what is still buffered must not fail again when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
