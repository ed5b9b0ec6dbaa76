"""The API's description is true, and no request, however wrong, is answered with anything that it does not say."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen

import hypothesis
import pytest
from aiohttp.test_utils import TestClient, TestServer

from controller.observe.log import EventLog
from controller.operator import api, openapi
from controller.operator.documents import Status
from controller.operator.sentences import describe
from tests.controller_app.support import Running
from tests.patience import PATIENCE

EXAMPLES = int(os.environ.get("REQUESTS", "5"))
"""Requests a call; `make fuzz` sends more."""


@contextmanager
def forwarded(path: Path) -> Iterator[str]:
    """Offers a Unix socket at a port of this machine, for clients that know no such sockets; gives the URL."""
    loop = asyncio.new_event_loop()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        api_reader, api_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(copy(reader, api_writer), copy(api_reader, writer))

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


NEEDS_MORE = {
    "POST /v1/migrate",
    "POST /v1/rotate-keys",
    "POST /v1/restart",
    "POST /v1/deploy",
    "POST /v1/undeploy",
    "GET /v1/logs",
}
"""What cannot be carried out without a switch, keys and a broker."""


def meant(case: Any) -> Any:
    """Have some of the requests name what the fabric has, and none of them follow for ever."""
    if isinstance(case.body, dict):
        for field, there in (("service", "web"), ("node", "edge1"), ("component", "org.example.Web")):
            if isinstance(given := case.body.get(field), str) and len(given) % 2 == 0:
                case.body[field] = there
    if str(case.query.get("follow")) == "1":
        case.query["follow"] = 0
    return case


def asked(operation: Any, mode: Any, url: str) -> set[int]:
    """Ask for a call as its description says, or otherwise; returns the statuses of the answers, which were true."""
    statuses: set[int] = set()

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = (meant(case) if mode.is_positive else case).call_and_validate(base_url=url, timeout=PATIENCE)
        statuses.add(answer.status_code)
        if answer.status_code != 200:
            assert set(answer.json()) == {"error"}
            assert answer.json()["error"]

    ask()
    return statuses


def test_every_answer_is_as_the_description_says(running: Running) -> None:
    import schemathesis

    running.start()
    calls = {f"{call.method} {call.path}": call for call in openapi.CALLS}
    with forwarded(running.socket) as url:
        with urlopen(f"{url}{openapi.PATH}", timeout=PATIENCE) as answer:
            schema = schemathesis.openapi.from_dict(json.load(answer))
        operations = {found.ok().label: found.ok() for found in schema.get_all_operations()}
        assert set(operations) == set(calls)
        for label, operation in operations.items():
            good = asked(operation, schemathesis.GenerationMode.POSITIVE, url)
            assert 200 in good or label in NEEDS_MORE, f"{label}: {good}"
            if calls[label].body is not None:
                assert asked(operation, schemathesis.GenerationMode.NEGATIVE, url) == {400}
    log = running.log.read_text()
    assert "Traceback" not in log, log


@pytest.mark.parametrize("query", ["since=" + "9" * 5000, "since=-1", "since=\u0663", "follow=2", f"since={2**63}"])
def test_a_number_that_is_none_is_refused(query: str) -> None:
    async def story() -> tuple[int, str]:
        async def nobody() -> Status:
            raise AssertionError("nobody asks")

        calls = api.application(nobody, cast(Any, None), cast(Any, None), EventLog(describe))
        async with TestClient(TestServer(calls)) as client, client.get(f"/v1/events?{query}") as answer:
            return answer.status, (await answer.json())["error"]

    status, error = asyncio.run(story())
    assert status == 400
    assert error.startswith(f"{query.partition('=')[0]}: expected a number of ")
    assert len(error) < 200
