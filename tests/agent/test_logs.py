"""What is written on the side is bounded, and neither stops nor fails who writes it."""

import errno
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from greengrass_agent.logs.output import Allowance
from greengrass_agent.logs.repeats import KINDS, PERIOD_S, Repeats
from greengrass_agent.logs.rotation import Limits, RotatedFile
from greengrass_agent.logs.trouble import SETTLED_S, Trouble
from greengrass_agent.logs.writer import BoundedWriter
from tests.agent.support import ROOT
from tests.patience import PATIENCE, until

ROW = b"123456789\n"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_file_makes_way_before_it_is_too_large_and_few_old_ones_are_kept(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "log", Limits(size=30, files=3), heading=b"number\n")
    for number in range(12):
        row = b"%09d\n" % number
        assert file.write(row) == len(row)
    assert contents(tmp_path) == {
        "log": b"number\n000000010\n000000011\n",
        "log.1": b"number\n000000008\n000000009\n",
        "log.2": b"number\n000000006\n000000007\n",
    }
    file.close()


def test_a_file_makes_way_when_it_is_too_old(tmp_path: Path) -> None:
    now = 1000.0
    file = RotatedFile(tmp_path / "log", Limits(size=1000, files=2, age_s=60), clock=lambda: now)
    for passed in (0, 50, 20, 50):
        now += passed
        file.write(ROW)
    assert contents(tmp_path) == {"log": ROW * 2, "log.1": ROW * 2}
    file.close()


def test_a_file_goes_on_and_what_was_left_half_written_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"number\n" + ROW + b"1234")
    file = RotatedFile(path, Limits(1000), heading=b"number\n")
    file.write(ROW)
    assert path.read_bytes() == b"number\n" + ROW * 2
    path.unlink()  # somebody has made room
    file.write(ROW)
    assert path.read_bytes() == b"number\n" + ROW
    file.close()


@pytest.mark.parametrize("room", range(0, 36, 5))
def test_rows_are_whole_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    path, left, write = tmp_path / "log", room, os.write

    def limited(file: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(file, data[:left])
        left -= done
        return done

    file = RotatedFile(path, Limits(1000), heading=b"number\n")
    monkeypatch.setattr(os, "write", limited)
    rows, written = ROW + ROW, 0
    try:
        written = file.write(rows)
    except OSError as error:
        assert error.errno == errno.ENOSPC
    assert written == max(0, min(2, (room - 7) // 10)) * 10
    left = 1000
    while written < len(rows):
        written += file.write(rows[written:])
    assert path.read_bytes() == b"number\n" + rows
    file.close()


def test_trouble_is_told_when_it_begins_and_when_it_is_over() -> None:
    trouble = Trouble("x.log")
    assert trouble.look(0, None, 0) is None
    assert trouble.look(0, "No space left on device", 1) == (
        "x.log: No space left on device: what cannot be kept until it is written is dropped"
    )
    assert [trouble.look(dropped, None, 2) for dropped in (10, 20)] == [None, None]
    assert trouble.look(20, None, 2 + SETTLED_S / 2) is None
    assert trouble.look(30, None, 3 + SETTLED_S / 2) is None, "it comes and goes"
    assert trouble.look(30, None, 3 + 1.6 * SETTLED_S) == "x.log is written again; 30 bytes were dropped"
    assert "more comes than is written" in str(trouble.look(37, None, 100))
    assert trouble.end(40) == "x.log: 10 bytes were dropped at last"


class Disk:
    """A sink that does as it is told."""

    def __init__(self) -> None:
        self.written = b""
        self.fault: OSError | None = None
        self.going = threading.Event()
        self.going.set()
        self.closed = False

    def write(self, data: bytes) -> int:
        self.going.wait(PATIENCE)
        if self.fault is not None:
            raise self.fault
        self.written += data[:15]
        return len(data[:15])

    def close(self) -> None:
        self.closed = True


def test_who_writes_waits_for_no_disk_and_what_does_not_fit_is_counted() -> None:
    disk, told = Disk(), queue.SimpleQueue[str]()
    writer = BoundedWriter("x", disk, tell=told.put, limit=100, pause_s=0)
    disk.going.clear()
    kept = [writer.add(ROW) for _ in range(50)]
    assert (sum(kept), writer.dropped) == (10, 400), "at once, although the disk hangs"
    assert "more comes than is written" in told.get(timeout=PATIENCE)
    disk.going.set()
    until(lambda: disk.written == ROW * 10, "what was kept is written")
    assert until(lambda: writer.add(ROW), "room again")
    writer.close()
    assert (disk.written, disk.closed, writer.dropped) == (ROW * 11, True, 400)
    assert not writer.add(ROW)


def test_what_cannot_be_written_is_tried_again() -> None:
    disk, told = Disk(), queue.SimpleQueue[str]()
    writer = BoundedWriter("x", disk, tell=told.put, pause_s=0)
    disk.fault = OSError(errno.EROFS, "Read-only file system")
    writer.add(ROW)
    assert "Read-only file system" in told.get(timeout=PATIENCE)
    disk.fault = None
    writer.add(ROW)
    until(lambda: disk.written == ROW * 2, "both are written")
    disk.fault = OSError(errno.EIO, "Input/output error")
    writer.add(ROW)
    writer.close()
    assert (disk.closed, writer.dropped) == (True, len(ROW)), "at the end nobody waits for a disk"
    assert told.get(timeout=PATIENCE) == "x: 10 bytes were dropped at last"


def test_a_message_that_repeats_is_told_some_times_in_a_while() -> None:
    repeats = Repeats(limit=10)
    told = [repeats.admit("fault", 0.01 * number) for number in range(500)]
    assert told == [0] * 10 + [None] * 490
    assert repeats.admit("another", 5.0) == 0
    assert repeats.admit("fault", PERIOD_S) == 490, "and then how many were not"
    for number in range(10 * KINDS):
        repeats.admit(number, 20.0)
    assert repeats.admit("fault", 20.0) == 0, "bounded in kinds"


def test_an_allowance_is_a_rate_with_bursts() -> None:
    allowance = Allowance(rate=100, burst=1000)
    taken = sum(10 for step in range(2000) if allowance.take(10, step / 100))
    assert taken == pytest.approx(1000 + 100 * 20, abs=20)
    assert not allowance.take(1001, 1000.0)
    assert allowance.take(1000, 1000.0)


LOGGING = """
import logging
from greengrass_agent.logs.diagnostics import log_to_stderr
log_to_stderr("INFO", "%(message)s")
for line in range(200):
    exec(compile("logging.info('x' * 10_000)", f"file{line}", "exec"))
logging.info("%d", "no number")
print("done", flush=True)
"""


@pytest.mark.parametrize("fault", ["full", "closed", "stuck"])
def test_a_process_goes_on_whatever_becomes_of_its_log(fault: str) -> None:
    read, write = os.pipe()
    if fault == "closed":
        os.close(read)
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            [sys.executable, "-c", LOGGING], stdout=subprocess.PIPE, stderr=full if fault == "full" else write, cwd=ROOT
        )
    os.close(write)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"done\n"
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if fault != "closed":
            os.close(read)
