"""The controller of the ways that have one: hears reports, decides as the switch does, and changes one rule.

`python -m experiments.moves.controller FILE` takes its settings as JSON and ends with SIGTERM.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from experiments.moves.bus import SERVICE, connected
from experiments.moves.ground import text
from experiments.moves.rules import Places, Rules, rules_of
from experiments.moves.ways import WAYS
from hitless.mqtt import topics
from hitless.mqtt.messages import Metrics
from hitless.steering.policies import Single
from hitless.steering.rank import ONLY_PATH_COST
from hitless.steering.service import ServiceSteering
from hitless.steering.settings import InstanceSettings, Settings
from hitless.wire.report import Report, ReportError, decode
from hitless.words import REPORT_PORT, Affinity

FOREVER = 3_600_000_000
FIRST_NODE_ID = 1
"""Of the node that the service begins at, in reports."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a controller is told: its way, how it decides, and where its rows go."""

    way: str
    policy: dict[str, Any]
    """Of the service that moves (`single`), by field."""
    w_queue: int
    members: int
    rows: str
    switch: str | None = None
    """Where the switch serves P4Runtime, for a way that writes its table."""
    broker: dict[str, Any] | None = None
    """Where the broker is (`BrokerSettings`), for a way that goes through it."""
    term: int = 0
    """Of its publications."""
    launchers: tuple[str, ...] = ()
    """The sockets of the nodes' launchers, for a way that starts processes."""

    def settings(self) -> Settings:
        """The service's, as the switch has them of one that it moves itself."""
        return Settings(
            policy=Single(**self.policy),
            instances={member: InstanceSettings(1) for member in range(self.members)},
            score=dataclasses.replace(ONLY_PATH_COST, queue=self.w_queue),
            affinity=Affinity.NONE,
            members=self.members,
            stale_after=FOREVER,
            dead_after=FOREVER,
        )


class Controller:
    """Hears, decides, and has the rule changed; a row for each change."""

    def __init__(self, settings: Settings, rules: Rules, rows: TextIO) -> None:
        self._steering = ServiceSteering(settings)
        self._rules = rules
        self._rows = rows
        self._changed = asyncio.Event()
        self._decided_ns = 0

    def heard(self, report: Report) -> None:
        """A report has come."""
        if self._steering.host is None and report.node_id != FIRST_NODE_ID:
            return  # the service begins where the client does: nothing is to move before the first node is busy
        before = self._steering.host
        self._steering.report(time.monotonic_ns() // 1000, report.node_id - 1, report)
        if self._steering.host != before:
            self._decided_ns = time.monotonic_ns()
            self._changed.set()

    async def run(self) -> None:
        """Change the rule to the host that is wanted, whenever another one is."""
        self._rows.write("member,decided_ns,applied_ns\n")
        while True:
            await self._changed.wait()
            self._changed.clear()
            host, decided_ns = self._steering.host, self._decided_ns
            assert host is not None, "a host was chosen"
            await self._rules.move_to(host)
            self._rows.write(f"{host},{decided_ns},{time.monotonic_ns()}\n")


async def control(told: Told, rows: TextIO) -> None:
    """Do so until SIGTERM."""
    way, ended = WAYS[told.way], asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    controllers: list[Controller] = []

    def published(_: str, payload: bytes, __: bool) -> None:
        for one in controllers:
            one.heard(Metrics.decode(payload).report())

    async with AsyncExitStack() as stack:
        session = None
        if told.broker is not None:
            metrics = topics.METRICS.filter(service=SERVICE)
            session = await stack.enter_async_context(connected(told.broker, [metrics], published))
        places = Places(told.switch, session, told.term, told.launchers)
        controller = Controller(told.settings(), await stack.enter_async_context(rules_of(way, places)), rows)
        if session is None:
            stack.enter_context(reports_to(controller, text(way.listens)))
        controllers.append(controller)
        moving, waiting = asyncio.create_task(controller.run()), asyncio.create_task(ended.wait())
        await asyncio.wait((moving, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if moving.done():
            moving.result()
        moving.cancel()


@contextmanager
def reports_to(controller: Controller, address: str) -> Iterator[None]:
    """Let the controller hear the reports that come to an address. Raises OSError."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind((address, REPORT_PORT))
        heard.setblocking(False)

        def hear() -> None:
            while True:
                try:
                    controller.heard(decode(heard.recv(2048)))
                except BlockingIOError:
                    return
                except ReportError as error:
                    print(f"controller: {error}", file=sys.stderr)

        loop.add_reader(heard.fileno(), hear)
        try:
            yield
        finally:
            loop.remove_reader(heard.fileno())


def main() -> None:
    """Control as the file says."""
    told = Told(**json.loads(Path(sys.argv[1]).read_text()))
    with Path(told.rows).open("w", buffering=1) as rows:
        asyncio.run(control(told, rows))


if __name__ == "__main__":
    main()
