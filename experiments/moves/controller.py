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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from experiments.moves.ground import text
from experiments.moves.rules import Rules, rules_of
from experiments.moves.ways import WAYS
from hitless.steering.policies import Single
from hitless.steering.rank import ONLY_PATH_COST
from hitless.steering.service import ServiceSteering
from hitless.steering.settings import InstanceSettings, Settings
from hitless.wire.report import ReportError, decode
from hitless.words import REPORT_PORT, Affinity

FOREVER = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """What a controller is told: its way, how it decides, and where its rows go."""

    way: str
    policy: dict[str, Any]
    """Of the service that moves (`single`), by field."""
    w_queue: int
    members: int
    switch: str | None
    """Where the switch serves P4Runtime, for a way that writes its table."""
    rows: str

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

    def heard(self, payload: bytes) -> None:
        """A report has come."""
        try:
            report = decode(payload)
        except ReportError as error:
            print(f"controller: {error}", file=sys.stderr)
            return
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


async def control(told: Told, heard: socket.socket, rows: TextIO) -> None:
    """Do so until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    async with rules_of(WAYS[told.way], told.switch) as rules:
        controller = Controller(told.settings(), rules, rows)

        def hear() -> None:
            while True:
                try:
                    controller.heard(heard.recv(2048))
                except BlockingIOError:
                    return

        loop.add_reader(heard.fileno(), hear)
        moving, waiting = asyncio.create_task(controller.run()), asyncio.create_task(ended.wait())
        await asyncio.wait((moving, waiting), return_when=asyncio.FIRST_COMPLETED)
        loop.remove_reader(heard.fileno())
        waiting.cancel()
        if moving.done():
            moving.result()
        moving.cancel()


def main() -> None:
    """Control as the file says."""
    told = Told(**json.loads(Path(sys.argv[1]).read_text()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard, Path(told.rows).open("w", buffering=1) as rows:
        heard.bind((text(WAYS[told.way].listens), REPORT_PORT))
        heard.setblocking(False)
        asyncio.run(control(told, heard, rows))


if __name__ == "__main__":
    main()
