"""`python -m experiments.bench.gateway_servers front|bare PORT`: what the bench holds a gateway against."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web

from greengrass_agent.gateway.http.server import HttpServer
from greengrass_agent.gateway.job import Answer, Job

BODY = b"ok"
TIMEOUT_NS = 10_000_000_000


async def front(port: int) -> None:
    """The gateway's HTTP server before a function that answers at once."""
    answer = Answer(200, BODY, {"content-type": "text/plain"})

    def submit(job: Job) -> None:
        job.conclude(answer)

    await HttpServer("bench", lambda: TIMEOUT_NS, submit, lambda: None).open(["127.0.0.1"], port)


async def bare(port: int) -> None:
    """An aiohttp server as its documentation has it."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=BODY, content_type="text/plain")

    app = web.Application()
    app.router.add_route("*", "/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()


async def main(name: str, port: int) -> None:
    """Serve until killed."""
    await {"front": front, "bare": bare}[name](port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
