"""A node that starts and ends a function's process: its gateway runs all the time, the process when it is told.

``python -m experiments.moves.launcher FILE`` takes its settings (`Node`) as JSON and runs until it is ended. Each line
at its socket is a command, `start` or `stop`, answered with `done` once new work is served, or nobody serves any more.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from greengrass_agent.gateway.settings import Configure, GatewaySettings, Serve, Status

COMPONENT = "moved"
FUNCTION = """import os

ANSWER = int(os.environ["NODE"])


def lambda_handler(event, context):
    return ANSWER
"""
TIMEOUT_MS, QUEUE_LIMIT = 1000, 256
"""Of a request that nobody serves; so many may wait."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a launcher is told."""

    name: str
    member: int
    service_id: int
    address: str
    port: int
    folder: str
    """For its files, with a short name: sockets lie there."""
    executions: str
    """Where the gateway notes each request."""

    @property
    def socket(self) -> str:
        """Where it is told what to do."""
        return f"{self.folder}/launcher"

    def settings(self) -> GatewaySettings:
        """The gateway's."""
        return GatewaySettings(
            node=self.name,
            component=COMPONENT,
            service=COMPONENT,
            service_id=self.service_id,
            addresses=(self.address,),
            port=self.port,
            protocols=("udp",),
            worker_socket=f"{self.folder}/workers",
            page=f"{self.folder}/page",
            notify_socket=f"{self.folder}/notify",
            execution_log=Path(self.executions),
        )


class Launcher:
    """The gateway and, at times, the function."""

    def __init__(self, told: Node, gateway: Process) -> None:
        self._told = told
        self._gateway = gateway
        self._function: Process | None = None
        self._launch = 0
        self._warm: dict[int, int] = {}
        self._changed = asyncio.Condition()
        self.opened = asyncio.Event()
        """Set once the gateway serves, or has ended: a function that starts sooner would find nobody."""

    async def hear(self) -> None:
        """Take what the gateway says, until it ends."""
        assert self._gateway.stdout is not None
        try:
            while line := await self._gateway.stdout.readline():
                self.opened.set()
                async with self._changed:
                    self._warm = Status.model_validate_json(line).workers
                    self._changed.notify_all()
        finally:
            self.opened.set()

    async def start(self) -> None:
        """Start the function; new work is served by it then."""
        self._launch += 1
        told = self._told
        self._function = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hitless.function", "--handler", "function.lambda_handler"),
            *("--artifacts", told.folder),
            env={
                **os.environ,
                "HITLESS_GATEWAY": f"{told.folder}/workers",
                "HITLESS_COMPONENT": COMPONENT,
                "HITLESS_LAUNCH": str(self._launch),
                "NODE": str(told.member),
            },
            start_new_session=True,
        )
        async with self._changed:
            await self._changed.wait_for(lambda: self._warm.get(self._launch))
        self.send(Serve(launch=self._launch))

    async def stop(self) -> None:
        """Kill the function."""
        if self._function is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._function.pid, signal.SIGKILL)
            await self._function.wait()
            self._function = None

    def send(self, command: Configure | Serve) -> None:
        """Tell the gateway."""
        assert self._gateway.stdin is not None
        self._gateway.stdin.write(command.model_dump_json().encode() + b"\n")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what a connection says."""
        while line := await reader.readline():
            await (self.start() if line == b"start\n" else self.stop())
            writer.write(b"done\n")
        writer.close()


class Processes:
    """Which node has the function's process, by the nodes' launchers."""

    def __init__(self, launchers: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
        self._launchers = launchers
        self._host: int | None = None

    async def move_to(self, member: int) -> None:
        """End it on the node that has it, and start it on this one. Raises ConnectionError."""
        if self._host == member:
            return
        if self._host is not None:
            await self._told(self._host, b"stop\n")
        await self._told(member, b"start\n")
        self._host = member

    async def _told(self, member: int, command: bytes) -> None:
        reader, writer = self._launchers[member]
        writer.write(command)
        if await reader.readline() != b"done\n":
            raise ConnectionError(f"the launcher of node {member} has ended")


async def run(told: Node) -> None:
    """Run until ended by SIGTERM, or by the gateway's end."""
    folder, ended = Path(told.folder), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    (folder / "function.py").write_text(FUNCTION)
    (folder / "gateway.json").write_text(told.settings().model_dump_json())
    command = [sys.executable, "-m", "greengrass_agent.gateway", str(folder / "gateway.json")]
    gateway = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    launcher = Launcher(told, gateway)
    launcher.send(
        Configure(concurrency=1, queue_limit=QUEUE_LIMIT, timeout_ms=TIMEOUT_MS, idempotent=False, configuration={})
    )
    hearing, waiting = asyncio.create_task(launcher.hear()), asyncio.create_task(ended.wait())
    try:
        await launcher.opened.wait()
        async with await asyncio.start_unix_server(launcher.serve, told.socket):
            await asyncio.wait((hearing, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await launcher.stop()
        with suppress(ProcessLookupError):
            gateway.terminate()
        await gateway.wait()
        hearing.cancel()
        waiting.cancel()


if __name__ == "__main__":
    asyncio.run(run(Node(**json.loads(Path(sys.argv[1]).read_text()))))
