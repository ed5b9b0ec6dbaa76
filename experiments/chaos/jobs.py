"""Gives nodes jobs in the controller's place, and serves the versions they name, on the control host.

``python -m experiments.chaos.jobs FILE`` takes its configuration as JSON. Each connection to its Unix socket brings a
node and its job, two lines of text and JSON, and gets the job's last update back as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import web

from hitless.cancellation import until_one_ends
from hitless.mqtt import topics
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.client import Publication
from hitless.mqtt.messages import Health, JobUpdate, MessageError, NextJob
from hitless.mqtt.session import Session

LINE_LIMIT = 1 << 20


class Jobs:
    """The session with the broker, and who waits for which job."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._waiting: dict[str, asyncio.Future[JobUpdate]] = {}
        self._ids: dict[str, str] = {}
        """The deployment that each node had first."""
        self._connected = asyncio.Event()
        self.session = Session(
            broker,
            without_broker="no job is given",
            subscriptions=(topics.HEALTH.filter(), topics.JOB_UPDATE.filter()),
            on_connected=self._connected.set,
            on_message=self._heard,
        )

    def _heard(self, topic: str, payload: bytes, _: bool) -> None:
        try:
            if found := topics.HEALTH.match(topic):
                self._health(found["node"], Health.decode(payload))
            elif found := topics.JOB_UPDATE.match(topic):
                self._update(found["job"], JobUpdate.decode(payload))
        except MessageError as error:
            print(f"{topic}: {error}", file=sys.stderr, flush=True)

    def _health(self, node: str, health: Health) -> None:
        information = health.deployment_information
        if information is not None and information.status == "SUCCEEDED":
            self._ids.setdefault(node, information.deployment_id)

    def _update(self, job: str, update: JobUpdate) -> None:
        waiter = self._waiting.get(job)
        if waiter is not None and not waiter.done() and update.status != "IN_PROGRESS":
            waiter.set_result(update)

    def _numbered(self, node: str, job: NextJob) -> NextJob:
        """The job, its deployment with the id of the one that the controller has given the node.

        So the controller takes the node for one that has what it should; it would put back what it knows of otherwise.
        """
        assert job.execution is not None
        document = job.execution.job_document.model_copy(update={"deployment_id": self._ids[node]})
        return NextJob(execution=job.execution.model_copy(update={"job_document": document}))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Give one job and tell how it ended; the caller's patience is its own."""
        node = (await reader.readline()).decode().strip()
        job = self._numbered(node, NextJob.decode(await reader.readline()))
        assert job.execution is not None
        waiter = self._waiting[job.execution.job_id] = asyncio.get_running_loop().create_future()
        await self._connected.wait()
        self.session.publish(Publication(topics.JOBS_NOTIFY_NEXT.of(node=node), job.encode()))
        gone = asyncio.create_task(reader.read())
        await asyncio.wait((waiter, gone), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if waiter.done():
            writer.write(waiter.result().encode() + b"\n")
        del self._waiting[job.execution.job_id]
        writer.close()


async def run(socket: str, repository: str, address: str, port: int, broker: BrokerSettings) -> None:
    """Serve until ended."""
    application = web.Application()
    application.router.add_static("/", repository)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    jobs = Jobs(broker)
    server = await asyncio.start_unix_server(jobs.answer, socket, limit=LINE_LIMIT)
    await until_one_ends(jobs.session.run(), server.serve_forever())


def main() -> None:
    """Run with the configuration of a file."""
    told = json.loads(Path(sys.argv[1]).read_text())
    broker = BrokerSettings(**told.pop("broker"))
    asyncio.run(run(**told, broker=broker))


if __name__ == "__main__":
    main()
