"""Commands in the documents work: each is run here as printed, or by the test that `commands.RUNNERS` names."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
import pytest
from softswitch.commands.pcap import PcapWriter

from experiments.cli import main as experiments
from tests.docs import five_minutes
from tests.docs.commands import ALL, DOCUMENTS, ROOT, RUNNERS, Command, Runner, commands, run_by, runners
from tests.integration.support import fabric_up, needs_root
from tests.patience import PATIENCE, until
from topologies import targets
from topologies.command import main as topologies
from topologies.processes import in_namespace
from topologies.testbed import Testbed

VENV = ROOT / ".venv" / "bin"
ENDLESS = ("watch", "--follow")
"""They go on until Ctrl-C."""

needs_venv = pytest.mark.skipif(not (VENV / "hitless").exists(), reason="no .venv here; `make setup` makes it")


def nobody_runs(found: list[Command]) -> list[str]:
    """A sentence for each command that no test runs."""
    return [
        f"{command.document}: no test runs `{command.text}`: name one in tests/docs/commands.py"
        for command in found
        if not runners(command)
    ]


def test_a_test_runs_every_command() -> None:
    assert nobody_runs(list(ALL)) == []
    invented = "```sh\nmake run     # a known one\nhitless \\\n  fly --high\n```\n"
    assert nobody_runs(commands("README.md", invented)) == [
        "README.md: no test runs `hitless fly --high`: name one in tests/docs/commands.py"
    ]


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: f"{runner.document} {runner.commands}")
def test_who_is_named_to_run_commands_is_there_and_has_some(runner: Runner) -> None:
    file, _, name = runner.test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), f"there is no test {runner.test}"
    assert any(runner in runners(command) for command in ALL), f"{runner.document} has no command that begins so"


# make: a dry run, and its lines' options are what the programs take


def dry_run(*words: str) -> str:
    """What make would do."""
    # under `make test ARGS=…` make would hand its own words down
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, f"make {shlex.join(words)}: {done.stderr}"
    return done.stdout


def understood(line: str) -> None:
    """Fails unless the program of a line that make would run takes the line's options."""
    for name, group in (("experiments", experiments), ("topologies", topologies)):
        _, found, options = line.partition(f" -m {name} ")
        if found:
            assert isinstance(group, click.Group)
            _, command, rest = group.resolve_command(click.Context(group), shlex.split(options))
            assert command is not None
            command.make_context(command.name, rest)
    if " -m pytest" in line:
        for word in shlex.split(line.partition(" -m pytest")[2]):
            assert "/" not in word or (ROOT / word).exists(), f"there is no {word}"


def lines_of(output: str) -> list[str]:
    """The commands of a dry run."""
    return re.sub(r"\\\n\s*", "", output).splitlines()


@pytest.mark.parametrize("command", run_by("test_make_has_the_target"), ids=lambda command: command.text)
def test_make_has_the_target(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = command.words
    output = dry_run(*words[1:])
    for knob, value in (word.split("=", 1) for word in words[1:] if "=" in word):
        assert value in output, f"make {words[1]} does not look at {knob}"
    for line in lines_of(output):
        understood(line)


def named_in_passing() -> list[str]:
    """The targets of make in the running text of the documents."""
    text = "\n".join((ROOT / document).read_text() for document in DOCUMENTS)
    return sorted({word for words in re.findall(r"`make((?:\s+[a-z0-9-]+)+)[` ]", text) for word in words.split()})


def test_make_has_the_targets_that_the_text_names() -> None:
    assert {"run", "test", "bench"} <= set(named_in_passing())
    dry_run(*named_in_passing())


def knobs() -> Iterator[tuple[str, str]]:
    """The knobs of `make run` in the README's table, each with every value that it names."""
    table = (ROOT / "README.md").read_text().partition("| knob |")[2].partition("\n\n")[0]
    for names, values in re.findall(r"^\| (`[A-Z`, ]+) \| (.*?) \|", table, re.MULTILINE):
        for name, value in zip(re.findall("[A-Z]+", names), values.split(", "), strict=False):
            for one in re.findall("`(.*?)`", values) or [value]:
                yield name, {"measured": "5"}.get(one, one)


@pytest.mark.parametrize(("knob", "value"), list(knobs()), ids="=".join)
def test_make_run_has_the_knobs_of_the_table(knob: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (line,) = (line for line in lines_of(dry_run("run", f"{knob}={value}")) if " -m experiments " in line)
    assert f" --{knob.lower()} {value}" in line
    understood(line)


# hitless, and curl for the metrics


def run_as_printed(command: Command, bed: Testbed) -> None:
    """Run a line in a terminal on the controller's host to its end; one without an end is interrupted."""
    terminal, end_of_process = pty.openpty()
    process = subprocess.Popen(
        in_namespace(bed.namespace("ctrl"), ["bash", "-c", f"exec {command.text}"]),
        cwd=ROOT,
        env={**os.environ, "HITLESS_SOCKET": str(bed.socket), "TERM": "xterm", "COLUMNS": "200"},
        stdout=end_of_process,
        stderr=end_of_process,
    )
    os.close(end_of_process)
    endless = any(word in command.words for word in ENDLESS)
    try:
        output = read(terminal, until="edge1" if endless else None)
        if endless:
            process.send_signal(signal.SIGINT)
            output += read(terminal)
        assert process.wait(PATIENCE) == 0, f"{command.text}: {output}"
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert output, command.text
    assert "Traceback" not in output


def read(terminal: int, until: str | None = None) -> str:
    """What is written to a terminal until it has a word, or until nobody is left to write."""
    text = ""
    while until is None or until not in text:
        assert select.select([terminal], [], [], PATIENCE)[0], f"for {PATIENCE:g} s nothing more than {text!r}"
        try:
            text += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # EIO: the other end is closed
            break
    return text


@needs_root
@needs_venv
@pytest.mark.skipif(targets.missing("softswitch") is not None, reason="softswitch is not here")
def test_commands_work_on_a_live_fabric(tmp_path: Path) -> None:
    printed = run_by("test_commands_work_on_a_live_fabric")

    async def scenario() -> None:
        async with fabric_up("softswitch", tmp_path / "logs") as bed:
            for command in printed:
                if command.document != five_minutes.DOCUMENT:
                    await asyncio.to_thread(run_as_printed, command, bed)
            await asyncio.to_thread(five_minutes.run, bed, tmp_path)

    asyncio.run(scenario())


@needs_venv
def test_hitless_check_finds_no_mistake() -> None:
    for command in run_by("test_hitless_check_finds_no_mistake"):
        done = subprocess.run(command.words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, "no mistake found" in done.stdout) == (0, True), done.stderr


# softswitch


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the guide names, where `softswitch` is in PATH."""
    programs = ROOT / "tests" / "softswitch" / "programs"
    for kind in ("json", "p4info.txtpb"):
        shutil.copy(programs / f"copies.{kind}", tmp_path / f"router.{kind}")
    (tmp_path / "entries.txtpb").write_text(
        "entities { packet_replication_engine_entry { multicast_group_entry {"
        " multicast_group_id: 7 replicas { egress_port: 2 instance: 1 } } } }"
    )
    for name in ("client", "server"):
        capture = PcapWriter(tmp_path / f"{name}.pcap")
        capture.write(0, bytes([3, 0, 0, 7]))
        capture.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{VENV}:{os.environ['PATH']}")
    return tmp_path


@needs_venv
def test_softswitch_runs_on_capture_files(place: Path) -> None:
    (command,) = run_by("test_softswitch_runs_on_capture_files")
    done = subprocess.run(command.words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 packets in, 2 out")
    assert (place / "out" / "2.pcap").exists()


@contextmanager
def network(*interfaces: str) -> Iterator[int]:
    """A network of its own with these interfaces; yields the process that holds it."""
    links = "".join(f"ip link add {name} up type veth peer name {name}-peer && " for name in interfaces)
    script = f"ip link set lo up && {links}echo up && exec sleep infinity"
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "up\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


@needs_root
@needs_venv
def test_softswitch_serves_and_its_ports_change(place: Path) -> None:
    serve, *changes = run_by("test_softswitch_serves_and_its_ports_change")
    page = (ROOT / "docs" / "softswitch.md").read_text()
    with network("veth1", "veth2", "veth9") as namespace:
        process = subprocess.Popen(
            in_namespace(namespace, serve.words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None
            assert f"`{first_line(process.stdout)}`" in page
            said = {}
            for change in changes:
                done = subprocess.run(
                    in_namespace(namespace, change.words), capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{change.text}: {done.stderr}"
                said[change.words[2]] = done.stdout
            assert all(interface in said["list"] for interface in ("veth1", "veth2", "veth9"))
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def first_line(output: IO[str]) -> str:
    """The first line that a program prints."""
    until(lambda: select.select([output], [], [], 0)[0], "it says nothing")
    return output.readline().rstrip("\n")
