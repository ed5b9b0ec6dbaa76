"""The end of a function's process, without what an interpreter does for nobody."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process: threads that are no daemons end first, then what was registered with `atexit` runs.

    These are the steps with which `multiprocessing` ends a process that it has forked (Process._bootstrap).
    What is left out is taking all modules and objects apart. A forked process has to copy nearly every page of memory
    for that: tens of milliseconds of CPU time, taken from those that serve in its place.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads
            stream.flush()
    os._exit(code)
