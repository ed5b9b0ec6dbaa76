"""Scheduling of the processes that must not wait for functions: a late report looks like a dead node."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NICE = -10
OOM_SCORE = -500
REALTIME = 1


def prefer() -> None:
    """Be preferred to ordinary processes, where that is allowed."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)


def outlive_components() -> None:
    """Be ended later than ordinary processes when the node is out of memory, with all that is started from here on.

    Without the right to it (CAP_SYS_RESOURCE), nothing changes.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(f"{OOM_SCORE}\n")


def realtime() -> bool:
    """Run before every ordinary process, if that is allowed; otherwise just be preferred. Says which.

    Only for a process that computes for microseconds and then waits.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME))
    except PermissionError:
        prefer()
        return False
    return True
