"""What is written on the side fails: reports and answers go on, and the rows come back."""

import asyncio
import os
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from greengrass_agent.host.confine import Confinement
from greengrass_agent.host.processes import Script
from greengrass_agent.host.view import View
from greengrass_agent.logs.output import Output
from greengrass_agent.logs.rotation import Limits
from tests.agent.emitter import running_emitter
from tests.agent.gateway import running_gateway
from tests.patience import PATIENCE, until, until_async
from topologies.cgroups import Hierarchy

pytestmark = pytest.mark.root("mounts and control groups need root")

FUNCTION = "def lambda_handler(event, context):\n    return 'answer'\n"


@dataclass
class Disk:
    """A small file system of its own, which can fail."""

    mount: Path
    fault: str
    reason: str

    @property
    def logs(self) -> Path:
        return self.mount / "logs"

    def fail(self) -> None:
        match self.fault:
            case "full":
                file = self.mount / "filling"
                with file.open("wb", buffering=0) as filling:
                    while True:
                        try:
                            filling.write(b"x" * 4096)
                        except OSError:
                            break
            case "read-only":
                self._remount("ro")
            case _:
                self.logs.write_text("a file where the folder should be")

    def mend(self) -> None:
        match self.fault:
            case "full":
                (self.mount / "filling").unlink()
            case "read-only":
                self._remount("rw")
            case _:
                self.logs.unlink()

    def _remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.mount)], check=True)


@pytest.fixture(
    params=[("full", "No space left"), ("read-only", "Read-only"), ("no folder", "File exists")], ids=lambda one: one[0]
)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(mount)], check=True)
    try:
        yield Disk(mount, *request.param)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_reports_go_on_without_their_rows(disk: Disk) -> None:
    file = disk.logs / "reports.csv"
    disk.fail()
    with running_emitter() as bench:
        bench.add(log=file)
        until(lambda: disk.reason in bench.said(), "the reason")
        reports = bench.reports(50)
        assert [report.sequence for report in reports] == list(range(1, 51))
        disk.mend()
        until(lambda: (rows := bench.rows(file)) and rows[-1]["sequence"] > 50, "rows of new reports")
        bench.end()
        sequences = [row["sequence"] for row in bench.rows(file)]
        assert sequences == list(range(1, len(sequences) + 1)), "what waited meanwhile, too"
        assert bench.said().count(str(file)) <= 2, "told once"


def test_answers_go_on_without_their_rows(disk: Disk) -> None:
    file = disk.logs / "executions.csv"
    disk.fail()
    with running_gateway(FUNCTION, log=file) as gateway:
        gateway.serve()
        assert {gateway.call(b"x").status for _ in range(20)} == {200}
        until(lambda: disk.reason in gateway.said(), "the reason")
        assert {gateway.call(b"x").status for _ in range(20)} == {200}
        disk.mend()
        until(lambda: len(gateway.rows(file)) == 40, "a row for each request")
        assert {row["status"] for row in gateway.rows(file)} == {"200"}


def test_a_disk_that_fills_while_rows_are_written_has_whole_rows(tmp_path: Path) -> None:
    small = tmp_path / "disk"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(small)], check=True)
    try:
        with running_emitter() as bench:
            bench.add(log=small / "reports.csv")
            until(lambda: "No space left" in bench.said(), "it is full")
            sequences = [row["sequence"] for row in bench.rows(small / "reports.csv")]
            assert sequences == list(range(1, len(sequences) + 1))
            assert len(sequences) > 50
            bench.reports(len(sequences) + 20)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_reports_of_others_go_on_while_no_file_can_be_opened() -> None:
    with running_emitter() as bench:
        bench.add()
        bench.reports(5)
        pid = bench.emitter.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())), hard))
        bench.add_other()
        until(lambda: "Too many open files" in bench.said(), "the reason")
        assert {report.service_id for report in bench.reports(50)} == {3}
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        reports = bench.until(lambda report: report.service_id == 4, "the other one, as soon as that is possible")
        assert [report.sequence for report in reports if report.service_id == 4] == [1]


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_component_that_floods_its_output_costs_nobody_else(tmp_path: Path) -> None:
    """12 MB at once: more than may be written, and more than its log may hold."""
    budget = f"test-side-{os.getpid()}"
    leaf = Hierarchy.detect().create(budget, 0.5).child("flood")
    leaf.create()
    limits = Limits(size=1_000_000, files=2)

    async def story() -> None:
        output = Output(tmp_path / "flood.log", limits)
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        before = open_files()
        await Script.start(
            "sleep 1000 & head -c 12000000 /dev/zero | tr '\\0' 'x'; echo; echo the end",
            leaf,
            Confinement(None, View(), tmp_path, {"PATH": os.defpath}),
            variables={},
            output=output,
            exited=ended.set_result,
        )
        turns = 0
        while not ended.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert ended.result() == 0
        assert turns > 100, "the agent goes on meanwhile"
        assert output.last_line() == "the end"
        assert output.dropped > 1_000_000
        leaf.kill()
        await until_async(lambda: open_files() <= before + 1, "its pipe is closed")
        output.stop_reading()
        await asyncio.to_thread(output.close)

    try:
        asyncio.run(asyncio.wait_for(story(), PATIENCE))
    finally:
        Hierarchy.detect().remove(budget)
    files = [file for file in tmp_path.glob("flood.log*") if file.suffix != ".times"]
    sizes = [file.stat().st_size for file in files]
    assert len(sizes) == 2
    assert max(sizes) <= limits.size
    assert b"output is missing" in b"".join(file.read_bytes() for file in files)
    assert (tmp_path / "flood.log.times").stat().st_size < limits.size / 10
