"""What disturbs a node: processes that compute, keep memory, or move data to and from a disk.

``python -m experiments.detection.hog WHAT ...`` gets ready, stops itself (SIGSTOP), and begins when it is continued, so
that its start is no part of the disturbance. SIGTERM ends it with all its processes.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from experiments.migration.compete import compute

BLOCK = 1 << 20
FILES = 64 << 20
"""Bytes of the files that pass through the page cache, and of those on the disk: more than a limit leaves."""
PAUSE_S = 0.01
"""Between two blocks of a file: what presses is the memory, not the CPU time that copying takes."""
LEFT = 4 << 20
"""Bytes below the memory limit that are not kept."""


def keep_memory(group: Path, data: Path) -> None:
    """Keep all but `LEFT` of what a memory limit leaves, and push files through the rest. Runs until ended."""
    Path("/proc/self/oom_score_adj").write_text("1000")  # the functions must outlive it
    size = limit(group) - kept(group) - LEFT
    # Private: the kernel gives shared memory back only when the process has ended, and would end a function before.
    room = mmap.mmap(-1, max(BLOCK, size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    file = os.open(data / "pages", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    content = os.urandom(BLOCK)
    at = 0
    for start in range(0, size - BLOCK, BLOCK):
        room[start : start + BLOCK] = content
    while True:
        os.pwrite(file, content, at)
        os.pread(file, BLOCK, (at + FILES // 2) % FILES)
        at = (at + BLOCK) % FILES
        time.sleep(PAUSE_S)


def limit(group: Path) -> int:
    """The memory limit of a control group (v1 or v2), in bytes."""
    v1 = group / "memory.limit_in_bytes"
    return int((v1 if v1.exists() else group / "memory.max").read_text())


def kept(group: Path) -> int:
    """What of a control group's memory belongs to no file, in bytes."""
    table = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(table.get("total_rss", table.get("anon", 0)))


def transfer(number: int, data: Path) -> None:
    """Read and write a file past the page cache. Runs until ended."""
    file = os.open(data / f"transfer-{number}", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    block = mmap.mmap(-1, BLOCK)
    block.write(os.urandom(BLOCK))
    chance = random.Random(number)
    blocks = FILES // BLOCK
    for at in range(blocks):
        os.pwrite(file, block, at * BLOCK)
    while True:
        os.pwrite(file, block, chance.randrange(blocks) * BLOCK)
        os.preadv(file, [block], chance.randrange(blocks) * BLOCK)


def in_processes(count: int, work: Callable[[int], None]) -> None:
    """Do work in so many processes, numbered from 0, until SIGTERM."""
    children: list[int] = []

    def end(*_: object) -> None:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        sys.exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    for number in range(1, count):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work(number)
        children.append(child)
    work(0)


def main() -> None:
    """Join, stop, and disturb when continued."""
    parser = argparse.ArgumentParser(prog="python -m experiments.detection.hog", description=__doc__)
    parser.add_argument("what", choices=("cpu", "memory", "disk"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--core", type=int, help="run on this one only")
    parser.add_argument("--join", type=Path, action="append", default=[], metavar="CGROUP", help="cgroup to join first")
    parser.add_argument("--limit", type=Path, metavar="CGROUP", help="whose memory limit is nearly reached")
    parser.add_argument("--data", type=Path, help="folder for files")
    options = parser.parse_args()
    for group in options.join:
        (group / "cgroup.procs").write_text(str(os.getpid()))
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    os.kill(os.getpid(), signal.SIGSTOP)
    match options.what:
        case "cpu":
            in_processes(options.processes, compute)
        case "memory":
            in_processes(1, lambda _: keep_memory(options.limit, options.data))
        case _:
            in_processes(options.processes, lambda number: transfer(number, options.data))


if __name__ == "__main__":
    main()
