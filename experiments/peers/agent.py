"""The agent that HAProxy asks about its servers, fed by the nodes' own reports.

``python -m experiments.peers.agent FILE`` takes its configuration as JSON (`Configuration`), hears the reports of a
service's instances over MQTT, and answers agent checks, for each node at a port of its own. Each change of what it says
of a node is a row of its log.
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Self, TextIO

import uvloop

from experiments.peers.judgement import Judgement
from hitless.mqtt import topics
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.messages import MessageError, Metrics
from hitless.mqtt.session import Session

COLUMNS = ("time_ns", "node", "congested")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the agent is told."""

    broker: Mapping[str, Any]
    """`BrokerSettings`."""
    service: str
    address: str
    """At which it answers."""
    ports: Mapping[str, int]
    """By node."""
    log: str

    @classmethod
    def read(cls, text: str) -> Self:
        """From JSON."""
        return cls(**json.loads(text))


async def answering(judgement: Judgement, address: str, ports: Mapping[str, int]) -> list[asyncio.Server]:
    """Answer agent checks: a line to whoever connects. Raises OSError."""

    async def answer(node: str, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(judgement.answer(node))
        writer.close()

    return [await asyncio.start_server(partial(answer, node), address, port) for node, port in ports.items()]


async def run(told: Configuration, log: TextIO) -> NoReturn:
    """Hear and answer until ended."""
    judgement, rows = Judgement(told.ports), csv.writer(log)

    def connected() -> None:
        if not log.tell():
            rows.writerow(COLUMNS)
            log.flush()

    def heard(topic: str, payload: bytes, _: bool) -> None:
        levels = topics.METRICS.match(topic)
        if levels is None or levels["service"] != told.service or levels["node"] not in told.ports:
            return
        now_ns = time.monotonic_ns()
        try:
            changed = judgement.report(now_ns // 1000, levels["node"], Metrics.decode(payload).report())
        except MessageError as error:
            print(f"{topic}: {error}", file=sys.stderr, flush=True)
            return
        if changed:
            rows.writerow((now_ns, levels["node"], int(levels["node"] in judgement.congested)))
            log.flush()

    session = Session(
        BrokerSettings(**told.broker),
        without_broker="agent checks get the last answer",
        subscriptions=[topics.METRICS.filter(service=told.service)],
        on_connected=connected,
        on_message=heard,
    )
    await answering(judgement, told.address, told.ports)
    await session.run()


def main() -> None:
    """Run the agent that the configuration file describes."""
    told = Configuration.read(Path(sys.argv[1]).read_text())
    with Path(told.log).open("w", newline="") as log:
        uvloop.run(run(told, log))


if __name__ == "__main__":
    main()
