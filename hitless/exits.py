"""How processes end: with the one that started them, and in words."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence


def with_starter(command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` until the thread that starts it ends: then the kernel kills it (prctl(2)).

    By setpriv(1) and no preexec_fn, which makes starting it a fork(2): gRPC, where the process that starts it has any,
    begins its threads anew in the child, and they abort it before its exec. Who starts it may have ended before
    setpriv came to it, so what runs next looks whether that one is still its parent.
    """
    here = ["sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"', str(os.getpid())]
    return ["setpriv", "--pdeathsig", "KILL", "--", *here, *command]


def describe_exit(code: int) -> str:
    """`exited with code 3`, or `was ended by SIGKILL` for a code as `subprocess` gives it to a process that was."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
