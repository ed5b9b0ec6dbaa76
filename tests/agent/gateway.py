"""A gateway process on loopback, and the agent's end of it."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greengrass_agent.host.processes import environment
from greengrass_agent.measure.queue_page import Page, QueueNumbers
from hitless.client.blocking import BlockingClient
from hitless.wire.calls import Endpoint, Response
from tests.agent.support import ROOT, child
from tests.patience import PATIENCE, until
from tests.ports import free_port

SERVICE_ID = 7
PATIENCE_MS = int(1000 * PATIENCE)


@dataclass
class Gateway:
    """A gateway process and the agent's end of it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    notifications: socket.socket
    start_function: Callable[[int], subprocess.Popen[bytes]]
    start_process: Callable[[], subprocess.Popen[bytes]]

    def start_again(self) -> None:
        """Start another in place of one that has ended."""
        self.process = self.start_process()

    def send(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def configure(self, **configuration: Any) -> None:
        limits = {
            "concurrency": configuration.pop("concurrency", 1),
            "queue_limit": configuration.pop("queue_limit", 8),
            "timeout_ms": configuration.pop("timeout_ms", PATIENCE_MS),
            "idempotent": configuration.pop("idempotent", False),
            "streamed": configuration.get("streamed", False),
        }
        self.send(command="configure", configuration=configuration, **limits)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Requests that begin with `held` are executed until the end of the block, or longer."""
        (self.folder / "held").touch()
        try:
            yield
        finally:
            (self.folder / "held").unlink()

    def take_role(self, **role: Any) -> None:
        """Give it a role, and wait until this and all commands before it have been carried out."""
        draining = bool(role.get("draining"))
        for state in (not draining, draining):
            self.send(command="role", **role | {"draining": state})
            until(lambda state=state: self.numbers().draining == state, "the role is taken")

    def launch(self, number: int = 1, workers: int = 1) -> subprocess.Popen[bytes]:
        """Start the function and wait until so many of its workers are warm."""
        process = self.start_function(number)
        self.hear_until(lambda warm: warm.get(number, 0) == workers)
        return process

    def serve(self, number: int = 1, workers: int = 1) -> subprocess.Popen[bytes]:
        """Start the function, and give new work to it when so many of its workers are warm."""
        process = self.launch(number, workers)
        self.send(command="serve", launch=number)
        self.take_role()
        return process

    def hear_until(self, condition: Callable[[dict[int, int]], bool]) -> None:
        """Wait until the gateway says that it has such workers, by launch."""
        while not condition({int(launch): count for launch, count in self.hear()["workers"].items()}):
            pass

    @property
    def answering(self) -> int:
        """Process of the worker that answers now."""
        return int(self.call(b"pid").result())

    def call(self, payload: bytes, address: str = "127.0.0.1", deadline: float = PATIENCE) -> Response:
        with BlockingClient() as client:
            return client.invoke(Endpoint(SERVICE_ID, address, self.port), payload, deadline)

    def curl(self, *arguments: str, path: str = "/") -> str:
        url = f"http://127.0.0.1:{self.port}{path}"
        return subprocess.run(["curl", "-s", *arguments, url], capture_output=True, text=True, check=True).stdout

    def listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text()

    def numbers(self) -> QueueNumbers:
        with Page(self.folder / "page") as page:
            return page.read()

    def rows(self, log: Path | None = None) -> list[dict[str, str]]:
        """The rows of its log that are complete: it may be writing the next one."""
        file = log or self.folder / "executions.csv"
        whole = file.read_text().rpartition("\n")[0] if file.exists() else ""
        if not whole:
            return []
        names, *rows = (line.split(",") for line in whole.splitlines())
        return [dict(zip(names, row, strict=True)) for row in rows]


@contextmanager
def running_gateway(
    function: str, *, configured: bool = True, log: Path | None = None, invoke_key: Path | None = None
) -> Iterator[Gateway]:
    """A gateway of a service whose function has this source; it has no worker yet. `log`: of its executions."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="gateway-"))
        stack.callback(shutil.rmtree, folder)
        (folder / "function.py").write_text(function)
        port = free_port()
        settings = {
            "node": "n1",
            "component": "c",
            "service": "echo",
            "service_id": SERVICE_ID,
            "addresses": ["127.0.0.1", "127.0.0.2"],
            "port": port,
            "protocols": ["udp", "tcp"],
            "worker_socket": str(folder / "workers.sock"),
            "page": str(folder / "page"),
            "notify_socket": str(folder / "notify.sock"),
            "execution_log": str(log or folder / "executions.csv"),
            "invoke_key": str(invoke_key) if invoke_key is not None else None,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        notifications = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        notifications.bind(str(folder / "notify.sock"))
        notifications.settimeout(PATIENCE)
        output = stack.enter_context((folder / "log").open("w"))
        stack.callback(lambda: print((folder / "log").read_text(), file=sys.stderr))

        def start_process() -> subprocess.Popen[bytes]:
            return stack.enter_context(
                child(
                    [sys.executable, "-m", "greengrass_agent.gateway", str(folder / "settings.json")],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    cwd=ROOT,
                )
            )

        def start_function(launch: int) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "hitless.function", "--handler", "function.lambda_handler"]
            variables = {
                "HITLESS_GATEWAY": str(folder / "workers.sock"),
                "HITLESS_COMPONENT": "c",
                "HITLESS_LAUNCH": str(launch),
            }
            return stack.enter_context(
                child(
                    [*command, "--artifacts", str(folder)],
                    env={**environment(), **variables},
                    cwd=ROOT,
                    stderr=output,
                )
            )

        own = Gateway(folder, port, start_process(), notifications, start_function, start_process)
        if configured:
            own.configure(greeting="hello")
            assert own.hear() == {"workers": {}, "finished": False, "stalled": False}
        yield own
