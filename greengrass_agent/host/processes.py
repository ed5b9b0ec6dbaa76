"""Processes of the agent: none outlives it, its own are started again, scripts run confined."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

import hitless
from greengrass_agent.host.cgroup import Group
from greengrass_agent.host.confine import Confinement
from greengrass_agent.host.pipes import LIMIT
from greengrass_agent.logs.output import Output
from hitless.backoff import Backoff
from hitless.exits import describe_exit, with_starter

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 5.0
LONG_RUN_S = 10.0
"""A process that ran so long is started again after the shortest wait."""
TERMINATE_S = 3.0
PACKAGES = Path(hitless.__file__).resolve().parent.parent
"""Where the function runtime is imported from."""


class Subprocess:
    """A process of ours that is started again when it ends, with commands to it and lines from it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        first_commands: Callable[[], Iterable[BaseModel]],
        on_line: Callable[[bytes], None],
        on_exit: Callable[[], None],
    ) -> None:
        """`first_commands` gives those of each start, `on_line` takes its lines, `on_exit` is told of each end."""
        self._name = name
        self._command = command
        self._first_commands = first_commands
        self._on_line = on_line
        self._on_exit = on_exit
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it, and keep it running."""
        self._task = asyncio.create_task(self._keep(), name=self._name)

    def send(self, command: BaseModel) -> None:
        """Send a command; dropped while it does not run, since `first_commands` say all that holds at each start."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(command.model_dump_json().encode() + b"\n")

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return self._process.pid if self._process is not None else None

    def kill(self) -> None:
        """End it (SIGKILL), so that it is started again."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """End it: its input ends, then SIGTERM, then SIGKILL."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _keep(self) -> None:
        backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            code = await self._run()
            if loop.time() - began > LONG_RUN_S:
                backoff.reset()
            wait_s = backoff.next()
            log.error("%s %s; starting it again in %.1f s", self._name, describe_exit(code), wait_s)
            await asyncio.sleep(wait_s)

    async def _run(self) -> int:
        process = await asyncio.create_subprocess_exec(
            *with_starter(self._command), stdin=PIPE, stdout=PIPE, env=environment(), limit=LIMIT, cwd="/"
        )
        self._process = process
        assert process.stdout is not None
        try:
            for command in self._first_commands():
                self.send(command)
            while line := await process.stdout.readline():
                self._on_line(line)
            return await process.wait()
        finally:
            self._process = None
            self._on_exit()
            await _end(process)


class Script:
    """A lifecycle script of a component, confined and in its leaf of the budget. `exited` is told the exit code."""

    def __init__(self, process: Process, exited: Callable[[int], None]) -> None:
        self._process = process
        self._exited: Callable[[int], None] | None = exited
        self._task = asyncio.create_task(self._wait())

    @classmethod
    async def start(
        cls,
        script: str,
        leaf: Group,
        confinement: Confinement,
        *,
        variables: Mapping[str, str],
        output: Output,
        exited: Callable[[int], None],
    ) -> Script:
        """Start it in the group, which is held to its limits; `variables` are added. Raises OSError, CgroupError."""
        confinement.limits.apply(leaf)
        with output.pipe() as pipe:
            process = await asyncio.create_subprocess_exec(
                *confinement.command(script, leaf.join_files()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                env={**confinement.variables, **variables},
                cwd="/",
                start_new_session=True,
            )
        return cls(process, exited)

    def terminate(self) -> None:
        """Ask it and its children to end (SIGTERM)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def forget(self) -> None:
        """Its end is of no interest any more."""
        self._exited = None

    async def _wait(self) -> None:
        code = await self._process.wait()
        if self._exited is not None:
            self._exited(code)


def environment() -> dict[str, str]:
    """Our own environment, with this interpreter as `python3` and our packages importable."""
    interpreter = Path(sys.executable).parent
    path = os.pathsep.join([str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])])
    search = os.pathsep.join([str(interpreter), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": search, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), TERMINATE_S)
            return
        except TimeoutError:
            continue
