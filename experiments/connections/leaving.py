"""Having the service leave its node, by each way."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

from experiments.congestion.ways import WORK
from experiments.migration.rounds import ask
from experiments.peers.proxies import PROXIES, variables
from topologies.processes import in_namespace
from topologies.testbed import Testbed

PROXY_HOST = "proxy"
ANSWER_S = 5.0


class Leaving(ABC):
    """How the service leaves a node for another one."""

    proxy: str | None = None
    """The load balancer that it is behind."""

    def __init__(self, bed: Testbed, folder: Path) -> None:
        """`folder` is the load balancer's."""
        self._bed, self._folder = bed, folder

    async def begin(self, node: str, other: str) -> None:
        """Have the service on a node."""
        await self.move(other, node)

    @abstractmethod
    async def move(self, origin: str, to: str) -> int:
        """Have it leave; when that was begun, in ns. Raises RuntimeError where it is refused."""

    async def end(self, nodes: tuple[str, ...]) -> None:  # noqa: B027 - most leave nothing
        """Leave nothing of that behind."""

    def _address(self, node: str) -> str:
        return str(self._bed.fabric.hosts[node].address)


class Migrate(Leaving):
    """The operator's migrate."""

    async def move(self, origin: str, to: str) -> int:
        """Have it leave."""
        at_ns = time.monotonic_ns()
        await ask(self._bed.controller(ANSWER_S).migrate, WORK, to, hold=True)
        return at_ns

    async def end(self, nodes: tuple[str, ...]) -> None:
        """Let go of it."""
        await ask(self._bed.controller(ANSWER_S).release, WORK)


class Drain(Leaving):
    """The operator's drain."""

    async def move(self, origin: str, to: str) -> int:
        """Have it leave."""
        await ask(self._bed.controller(ANSWER_S).drain, WORK, to, undo=True)
        at_ns = time.monotonic_ns()
        await ask(self._bed.controller(ANSWER_S).drain, WORK, origin)
        return at_ns

    async def end(self, nodes: tuple[str, ...]) -> None:
        """Drain none."""
        for node in nodes:
            await ask(self._bed.controller(ANSWER_S).drain, WORK, node, undo=True)


class HaproxyDrain(Leaving):
    """HAProxy's runtime API."""

    proxy = "haproxy"

    async def move(self, origin: str, to: str) -> int:
        """Have it leave."""
        await asyncio.to_thread(self._say, f"set server nodes/{to} state ready")
        at_ns = time.monotonic_ns()
        await asyncio.to_thread(self._say, f"set server nodes/{origin} state drain")
        return at_ns

    def _say(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(self._folder / "admin.sock"))
            connection.sendall(f"{command}\n".encode())
            if answer := connection.recv(4096).strip():
                raise RuntimeError(f"HAProxy, {command}: {answer.decode(errors='replace')}")


class CaddyReload(Leaving):
    """Another configuration for Caddy."""

    proxy = "caddy"

    async def begin(self, node: str, other: str) -> None:
        """Its first configuration has the node."""

    async def move(self, origin: str, to: str) -> int:
        """Have it leave."""
        at_ns = time.monotonic_ns()
        proxy = PROXIES["caddy"]
        words = [proxy.path, "reload", "--adapter", "caddyfile", "--address", f"unix/{self._folder}/admin.sock"]
        line = [*variables(self._folder, self._address(to)), *words, "--config", str(proxy.files[0])]
        command = in_namespace(self._bed.namespace(PROXY_HOST), line)
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"caddy reload: {done.stderr.strip()}")
        return at_ns


LEAVING: dict[str, type[Leaving]] = {"migrate": Migrate, "drain": Drain, "haproxy": HaproxyDrain, "caddy": CaddyReload}
