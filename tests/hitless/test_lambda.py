"""Functions as they are written for Lambda, each in a worker as a node starts it."""

import json
import logging
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hitless.runtime import logs
from hitless.wire.worker_frames import HttpHead, Invoked, Response, ResponseBody, ResponseEnd, ResponseHead
from tests.hitless.gateway import Runtime, runtime

SURROUNDINGS = """
import logging, os, pathlib, sys, time
from hitless.function import invoke
from pkg import beside

logger = logging.getLogger()
logger.setLevel(logging.INFO)
logging.basicConfig(level=logging.CRITICAL, format="of its own %(message)s")
AT_IMPORT = {name: value for name, value in os.environ.items() if "LAMBDA" in name or name.startswith("AWS_")}

def context_of(context):
    names = ("function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb", "aws_request_id",
             "log_group_name", "log_stream_name", "client_context", "tenant_id")
    context.added = "by a library"
    identity = context.identity
    return {name: getattr(context, name) for name in names} | {
        "identity": [identity.cognito_identity_id, identity.cognito_identity_pool_id], "repr": repr(context)}

def lambda_handler(event, context):
    match event["rawPath"]:
        case "/context":
            return context_of(context)
        case "/variables":
            return AT_IMPORT | {name: os.environ.get(name) for name in ("_HANDLER", "TZ", "_X_AMZN_TRACE_ID")}
        case "/places":
            return {"cwd": os.getcwd(), "path": sys.path[0], "file": pathlib.Path("beside.txt").read_text(),
                    "module": beside.WORD, "zone": time.localtime().tm_zone}
        case "/log":
            logger.debug("not this"); logger.info("%s", "this"); context.log("as it is\\n")
            return "logged"
        case "/raise":
            raise LookupError("nobody is here")
    return event
"""
PLAIN = """
import os

def lambda_handler(event, context):
    if isinstance(event, dict) and "raise" in event:
        raise LookupError(event["raise"])
    if isinstance(event, dict) and "give" in event:
        return event["give"]
    said = context.client_context
    return [event, context.aws_request_id, said and said.custom, said and said.client and said.client.app_title,
            os.environ.get("_X_AMZN_TRACE_ID")]
"""
ASYNC = """
import asyncio, functools
from hitless.function import invoke

def checked(handler):
    @functools.wraps(handler)
    def inner(event, context):
        return handler(event, context)
    return inner

async def ticks():
    for word in ("one ", "two"):
        await asyncio.sleep(0)
        yield word

async def plain(event, context):
    return invoke("nowhere", b"")

@checked
async def lambda_handler(event, context):
    await asyncio.sleep(0.001)
    match event["rawPath"]:
        case "/parts":
            return {"statusCode": 200, "body": ticks()}
        case "/raise":
            raise ValueError("late")
    return "awaited on " + type(asyncio.get_running_loop()).__name__
"""


def get(running: Runtime, path: str, query: str = "", **headers: str) -> Response:
    return running.worker.call(http=HttpHead("GET", path, query, {"host": "shop.example.org", **headers}, "10.0.0.1"))


def told(running: Runtime, path: str, **headers: str) -> Any:
    response = get(running, path, **headers)
    assert response.status == 200, response.body
    return json.loads(response.body)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("surroundings")
    (folder / "pkg").mkdir()
    (folder / "pkg" / "beside.py").write_text("WORD = 'imported'\n")
    (folder / "pkg" / "handlers.py").write_text(SURROUNDINGS)
    (folder / "beside.txt").write_text("read")
    with runtime("pkg.handlers.lambda_handler", folder, tmp_path_factory.mktemp("sockets")) as started:
        yield started


def test_the_whole_context(running: Runtime) -> None:
    first, second = told(running, "/context"), told(running, "/context")
    assert uuid.UUID(first.pop("aws_request_id")) != uuid.UUID(second.pop("aws_request_id"))
    assert first.pop("log_stream_name").partition("]")[0] == time.strftime("%Y/%m/%d/[1.2.3", time.gmtime())
    assert first.pop("repr").startswith("LambdaContext([aws_request_id=")
    assert first == {
        "function_name": "org.Test",
        "function_version": "1.2.3",
        "invoked_function_arn": "arn:aws:lambda:us-east-1:000000000000:function:org.Test",
        "memory_limit_in_mb": "256",
        "log_group_name": "/aws/lambda/org.Test",
        "client_context": None,
        "tenant_id": None,
        "identity": [None, None],
    }


def test_the_variables_are_there_when_the_module_is_imported(running: Runtime) -> None:
    found = told(running, "/variables")
    assert (
        found.items()
        >= {
            "_HANDLER": "pkg.handlers.lambda_handler",
            "AWS_LAMBDA_FUNCTION_NAME": "org.Test",
            "AWS_LAMBDA_FUNCTION_VERSION": "1.2.3",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/org.Test",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "TZ": ":UTC",
            "_X_AMZN_TRACE_ID": None,
        }.items()
    )
    assert found["AWS_EXECUTION_ENV"].startswith("AWS_Lambda_python3.")
    assert {"LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_LOG_STREAM_NAME"} <= found.keys()
    traced = told(running, "/variables", **{"x-amzn-trace-id": "Root=1-a-b"})
    assert traced["_X_AMZN_TRACE_ID"] == "Root=1-a-b"
    assert told(running, "/variables")["_X_AMZN_TRACE_ID"] is None, "of the one request alone"


def test_files_and_modules_beside_the_handler(running: Runtime) -> None:
    root = told(running, "/variables")["LAMBDA_TASK_ROOT"]
    assert told(running, "/places") == {
        "cwd": root,
        "path": root,
        "file": "read",
        "module": "imported",
        "zone": "UTC",
    }


def test_a_request_is_told_when_it_is(running: Runtime) -> None:
    before = int(time.time() * 1000)
    context = told(running, "/event")["requestContext"]
    assert before <= context["timeEpoch"] <= time.time() * 1000
    assert context["domainName"] == "shop.example.org"


def test_event_format_1_on_request(running: Runtime) -> None:
    running.worker.configure(payload_format_version="1.0")
    try:
        response = get(running, "/event", "x=1&x=2")
        assert json.loads(response.body)["errorMessage"] == "'rawPath'", "which 1.0 does not have"
    finally:
        running.worker.configure()


def test_logging_and_errors_look_as_on_lambda(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "beside.py").write_text("WORD = ''\n")
    (tmp_path / "logs.py").write_text("import sys\nsys.stdout = sys.stderr\n" + SURROUNDINGS)
    with runtime("logs.lambda_handler", tmp_path, tmp_path) as running:
        get(running, "/log")
        said = json.loads(get(running, "/raise").body)
        running.process.terminate()
        _, errors = running.end()
    logged, as_it_is, raised, *trace = errors.splitlines()
    level, at, request_id, message = logged.split("\t")
    assert (level, message) == ("[INFO]", "this") and uuid.UUID(request_id)
    assert time.strptime(at.partition(".")[0], "%Y-%m-%dT%H:%M:%S") and at.endswith("Z")
    assert as_it_is == "as it is"
    assert raised == "[ERROR] LookupError: nobody is here" and trace[0] == "Traceback (most recent call last):"
    assert "logs.py" in trace[1], "none of the lines above the handler's own"
    assert trace[-1] == f"RequestId: {said['requestId']}"
    assert said == {"errorType": "LookupError", "errorMessage": "nobody is here", "requestId": said["requestId"]}


def test_lines_are_json_objects_on_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AWS_LAMBDA_LOG_FORMAT", "JSON")
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", "INFO")
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    logs.set_up().current = "one"
    logging.getLogger("shop").debug("not this")
    try:
        raise LookupError("nobody")
    except LookupError:
        logging.getLogger("shop").exception("%s failed", "it")
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert time.strptime(line.pop("timestamp"), "%Y-%m-%dT%H:%M:%SZ")
    assert "test_lambda.py" in line.pop("stackTrace")[0]
    assert line == {
        "level": "ERROR",
        "message": "it failed",
        "logger": "shop",
        "requestId": "one",
        "errorType": "LookupError",
        "errorMessage": "nobody",
    }


def test_a_handler_that_is_async_is_awaited(tmp_path: Path) -> None:
    (tmp_path / "later.py").write_text(ASYNC)
    with runtime("later.lambda_handler", tmp_path, tmp_path) as running:
        for _ in range(2):
            assert get(running, "/").body.startswith(b"awaited on ")
        assert json.loads(get(running, "/raise").body)["errorMessage"] == "late"
        running.worker.request(http=HttpHead("GET", "/parts"))
        frames = [running.worker.receive() for _ in range(4)]
        assert isinstance(frames[0], ResponseHead) and isinstance(frames[3], ResponseEnd) and not frames[3].failure
        assert [frame.data for frame in frames if isinstance(frame, ResponseBody)] == [b"one ", b"two"]
        assert get(running, "/").status == 200


def test_a_handler_that_is_async_calls_on_behalf_of_its_request(tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(ASYNC)
    with runtime("calls.plain", tmp_path, tmp_path) as running:
        assert json.loads(get(running, "/").body)["errorType"] == "UnknownEndpoint"


def test_an_event_of_the_invoke_api_reaches_the_handler_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    with runtime("plain.lambda_handler", tmp_path, tmp_path) as started:
        worker, version = started.worker, {"x-amz-executed-version": "1.2.3"}
        client = {"custom": {"a": 1}, "client": {"app_title": "t"}}
        invoked = Invoked("r1", json.dumps(client), "1.2.3", "Root=1")
        response = worker.call(b'[1, "two"]', invoked=invoked)
        assert (response.status, response.headers) == (200, {"content-type": "application/json"} | version)
        assert json.loads(response.body) == [[1, "two"], "r1", {"a": 1}, "t", "Root=1"]
        # A result is its JSON, whatever it is: nothing in it is a status.
        for event, wanted in (
            (b'{"give": {"statusCode": 404}}', b'{"statusCode": 404}'),
            (b'{"give": "text"}', b'"text"'),
        ):
            response = worker.call(event, invoked=Invoked("r2"))
            assert (response.status, response.body) == (200, wanted)
        assert worker.call(b'{"give": null}', invoked=Invoked("r3")).body == b"null"
        # An event that only looks like one of HTTP is what it is, and a request after it is an event of HTTP again.
        assert json.loads(worker.call(b'{"rawPath": "/"}', invoked=Invoked("r4")).body)[2:] == [None, None, None]
        assert json.loads(worker.call(b"", http=HttpHead("GET", "/x")).body)[0]["rawPath"] == "/x"


def test_what_a_handler_raises_for_an_event_is_told_with_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    with runtime("plain.lambda_handler", tmp_path, tmp_path) as started:
        response = started.worker.call(b'{"raise": "nobody"}', invoked=Invoked("r1"))
        said = json.loads(response.body)
        assert (response.status, said["errorType"], said["errorMessage"], said["requestId"]) == (
            500,
            "LookupError",
            "nobody",
            "r1",
        )
        assert "plain.py" in said["stackTrace"][0]
        other = started.worker.call(b"{}", invoked=Invoked("r2", version="9.9.9"))
        assert (other.status, "9.9.9" in json.loads(other.body)["Message"]) == (404, True)
