"""Starts a confined script: `python -I -S launcher.py SPECIFICATION`, a program that imports nothing of ours.

It joins the script's control groups, makes the script's view of the file system, gives up every privilege and becomes
the script. All of that happens in one process, so that there is no moment in which the script could outlive the agent
or escape its limits. SPECIFICATION is JSON; its keys are those that `greengrass_agent.host.confine` writes.
Source of the numbers: the kernel's include/uapi/linux/{mount,prctl,sched}.h.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE = 1, 2, 4, 32, 4096, 16384, 1 << 19
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CANNOT = 125
"""Exit code when the script could not be started, as env(1) and setpriv(1) have it."""

_libc = ctypes.CDLL(None, use_errno=True)


def main(specification: dict[str, Any]) -> None:
    """Become the script. Raises OSError, saying what could not be done."""
    for file in specification["join"]:
        Path(file).write_text(f"{os.getpid()}\n")
    Path("/proc/self/oom_score_adj").write_text(f"{specification['oom_score_adj']}\n")
    user = specification["user"]
    if user is not None:
        _see(specification["covered"], specification["shown"])
        _give_up(*user)
    os.chdir(specification["folder"])
    # A change of user clears it. If the agent ended before it held, nobody would end the script.
    _call("be ended with the agent", _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != specification["parent"]:
        raise OSError("the agent has ended")
    os.execv(specification["command"][0], specification["command"])


def _see(covered: list[str], shown: list[tuple[str, bool]]) -> None:
    """Cover folders by empty ones, and show in them what the script needs."""
    _call("have mounts of its own (the agent needs CAP_SYS_ADMIN)", _libc.unshare(CLONE_NEWNS))
    _mount(None, "/", None, MS_REC | MS_SLAVE)
    sources = [os.open(path, os.O_PATH) for path, _ in shown]  # before they are covered
    for path in covered:
        _mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    for (path, writable), source in zip(shown, sources, strict=True):
        target = Path(path)
        if Path(f"/proc/self/fd/{source}").is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        _mount(f"/proc/self/fd/{source}", path, None, MS_BIND)
        flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | (0 if writable else MS_RDONLY)
        _mount(None, path, None, flags)
        os.close(source)


def _give_up(uid: int, gid: int) -> None:
    """Become the user, for good: no capabilities, none to be had by running a program."""
    _call("give up new privileges", _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        _call("give up capabilities", _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = (None if text is None else os.fsencode(text) for text in (source, target, kind))
    result = _libc.mount(*encoded, ctypes.c_ulong(flags), None if data is None else data.encode())
    _call(f"mount {source or ''} at {target}", result)


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        print(f"the script is not started: {where}{problem.strerror or problem}", file=sys.stderr)
        sys.exit(CANNOT)
