"""Lambda's Invoke API as AWS's own client meets it: boto3, the process, a gateway, and a function in a worker."""

import asyncio
import base64
import http.client
import json
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import aiomqtt
import boto3
import botocore.exceptions
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from controller.invocations.calling import Caller, Reply, TooLongError
from controller.invocations.functions import Function
from controller.operator.documents import CalledAt
from hitless.wire.sealed_event import MAGIC
from hitless.wire.worker_frames import Invoked
from tests.agent.gateway import SERVICE_ID, Gateway, running_gateway
from tests.agent.support import ROOT, child
from tests.mosquitto import mosquitto
from tests.patience import PATIENCE, until
from tests.ports import free_port

KEY = bytes(range(32))
ACCESS = ("AKIDHITLESS", "a secret/+=")
FUNCTION = """
import json, os, pathlib

HERE = pathlib.Path(__file__).parent

def note(context, event):
    with (HERE / "noted").open("a") as file:
        file.write(json.dumps([context.aws_request_id, event]) + "\\n")

def lambda_handler(event, context):
    if "requestContext" in event and "http" in event["requestContext"]:
        note(context, [event["requestContext"]["http"]["method"], event["rawPath"], event["rawQueryString"],
                       event["headers"].get("x-hitless-invocation-id"), event["headers"].get("x-own")])
        return {"statusCode": 201, "headers": {"content-type": "text/x-own"}, "body": event.get("body", "")}
    match event.get("do"):
        case "raise":
            raise LookupError("nobody is here")
        case "die":
            os._exit(3)
        case "long":
            return "x" * (6 * 1024 * 1024)
        case "note" | None:
            note(context, event)
            if event.get("fails") and (HERE / "failing").exists():
                raise LookupError("not yet")
            while event.get("held") and (HERE / "held").exists():
                pass
    return {"event": event, "id": context.aws_request_id,
            "custom": context.client_context and context.client_context.custom}
"""


@dataclass
class Api:
    """A process of the API, and the gateway of the one service that it has."""

    gateway: Gateway
    folder: Path
    port: int
    broker: int
    """The port of the broker that is told of dead letters."""
    process: subprocess.Popen[bytes]

    @property
    def queue(self) -> Path:
        return self.folder / "queue"

    def client(self, secret: str = ACCESS[1]) -> Any:
        return boto3.client(
            "lambda",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="eu-central-1",
            aws_access_key_id=ACCESS[0],
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=PATIENCE),
        )

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """A signed request of any kind."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method, f"http://127.0.0.1:{self.port}{path}", named, body)
        SigV4Auth(Credentials(*ACCESS), "lambda", "eu-central-1").add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request(method, path, body, dict(request.headers.items()))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def noted(self) -> list[tuple[str, Any]]:
        """What the function has noted: request id and event."""
        file = self.gateway.folder / "noted"
        lines = file.read_text().splitlines() if file.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def noted_by(self, condition: Callable[[Any], bool]) -> list[str]:
        """The request ids of such events, in the order in which they were executed."""
        return [number for number, event in self.noted() if condition(event)]

    def letters(self, *arguments: str) -> str:
        """What `hitless dead-letters` prints."""
        command = [sys.executable, "-m", "controller", "dead-letters", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


@contextmanager
def running_api(gateway: Gateway, folder: Path, callbacks: list[str], broker: int = 1) -> Iterator[Api]:
    """The API with one function; a folder that there was before is gone on with."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    place = {"service_id": SERVICE_ID, "address": "127.0.0.1", "port": gateway.port, "protocol": "tcp"}
    settings = {
        "listen": {"port": port},
        "invoke_key": str(folder / "invoke.key"),
        "access_keys": str(folder / "access"),
        "queue": str(folder / "queue"),
        "retries": [0.05, 0.05],
        "callbacks": callbacks,
        "on_failure": {
            "service": "org.example.Echo",
            "mqtt": {"topic": "dead/letters", "host": "127.0.0.1", "port": broker},
        },
        "tell_for": PATIENCE if broker > 1 else 0.1,
        "functions": {"echo": {"component": "org.example.Echo", "version": "$LATEST", **place}},
    }
    (folder / "invoke.key").write_text(KEY.hex())
    (folder / "access").write_text(f"[default]\naws_access_key_id={ACCESS[0]}\naws_secret_access_key={ACCESS[1]}\n")
    (folder / "api.yaml").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "controller", "lambda-api", str(folder / "api.yaml")]
    with (folder / "log").open("a") as log, child(command, cwd=ROOT, stderr=log) as process:
        api = Api(gateway, folder, port, broker, process)
        until(lambda: process.poll() is not None or "Invoke API at" in (folder / "log").read_text(), "the API is up")
        assert process.poll() is None, (folder / "log").read_text()
        yield api


@contextmanager
def called_back() -> Iterator[tuple[str, "queue.Queue[tuple[str, dict[str, str], bytes]]"]]:
    """An address that is called back, and what came; its first answer is an error."""
    came: queue.Queue[tuple[str, dict[str, str], bytes]] = queue.Queue()
    answers = iter((500,))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.put((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(next(answers, 204))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", came
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    key = tmp_path_factory.mktemp("key") / "invoke.key"
    key.write_text(KEY.hex())
    with running_gateway(FUNCTION, invoke_key=key) as own:
        own.configure(concurrency=2)
        own.serve()
        yield own


@pytest.fixture(scope="module")
def callback() -> Iterator[tuple[str, Any]]:
    with called_back() as own:
        yield own


@pytest.fixture(scope="module")
def api(gateway: Gateway, callback: tuple[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    with (
        mosquitto(folder / "broker") as broker,
        running_api(gateway, folder / "own", [callback[0]], broker.port) as own,
    ):
        yield own


def test_a_function_is_called_by_each_of_its_names(api: Api) -> None:
    names = ("echo", "org.example.Echo", "echo:$LATEST", "arn:aws:lambda:eu-central-1:123456789012:function:echo")
    context = base64.b64encode(b'{"custom": {"tenant": "a"}}').decode()
    for name in names:
        answer = api.client().invoke(FunctionName=name, Payload=json.dumps({"a": [1, "ü"]}), ClientContext=context)
        said = json.load(answer["Payload"])
        assert (answer["StatusCode"], answer["ExecutedVersion"], answer.get("FunctionError")) == (200, "$LATEST", None)
        assert (said["event"], said["custom"]) == ({"a": [1, "ü"]}, {"tenant": "a"})
        assert said["id"] == answer["ResponseMetadata"]["RequestId"]
    assert json.load(api.client().invoke(FunctionName="echo")["Payload"])["event"] == {}
    assert api.client().invoke(FunctionName="echo", InvocationType="DryRun")["StatusCode"] == 204


def test_what_goes_wrong_in_the_function_is_told_as_an_error_of_it(api: Api) -> None:
    for event, kind in (
        ("raise", "LookupError"),
        ("die", "Runtime.ExitError"),
        ("long", "Function.ResponseSizeTooLarge"),
    ):
        answer = api.client().invoke(FunctionName="echo", Payload=json.dumps({"do": event}))
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        assert json.load(answer["Payload"])["errorType"] == kind


def test_what_is_not_served_is_refused_as_lambda_refuses(api: Api) -> None:
    client = api.client()
    refused = client.exceptions
    for wrong, error in (
        ({"FunctionName": "other"}, refused.ResourceNotFoundException),
        ({"FunctionName": "echo", "Qualifier": "7"}, refused.ResourceNotFoundException),
        ({"FunctionName": "echo:1", "Qualifier": "2"}, refused.InvalidParameterValueException),
        ({"FunctionName": "echo", "LogType": "Tail"}, refused.InvalidParameterValueException),
        ({"FunctionName": "echo", "Payload": b"{"}, refused.InvalidRequestContentException),
        ({"FunctionName": "echo", "ClientContext": "no base64"}, refused.InvalidRequestContentException),
        ({"FunctionName": "echo", "Payload": b" " * (6 << 20) + b"12"}, refused.RequestTooLargeException),
        (
            {"FunctionName": "echo", "Payload": b" " * (1 << 20) + b"1", "InvocationType": "Event"},
            refused.RequestTooLargeException,
        ),
    ):
        with pytest.raises(error):
            client.invoke(**wrong)
    with pytest.raises(botocore.exceptions.ClientError, match="only Invoke is served"):
        client.get_function(FunctionName="echo")
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidSignatureException"):
        api.client("another secret").invoke(FunctionName="echo")
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=PATIENCE)
    connection.request("POST", "/2015-03-31/functions/echo/invocations", b"{}")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("x-amzn-ErrorType")) == (403, "MissingAuthenticationTokenException")


def test_an_event_that_fails_is_retried_twice(api: Api) -> None:
    (api.gateway.folder / "failing").touch()
    answer = api.client().invoke(FunctionName="echo", InvocationType="Event", Payload=json.dumps({"fails": "a"}))
    assert answer["StatusCode"] == 202
    number = answer["ResponseMetadata"]["RequestId"]

    def executed() -> list[str]:
        return api.noted_by(lambda event: event == {"fails": "a"})

    listed = until(lambda: api.queue.joinpath("dead", number).is_dir() and api.letters("list", str(api.queue)), "dead")
    assert number in listed
    assert "RetriesExhausted" in listed
    assert executed() == [number] * 3
    # The function that wants to know of dead letters got Lambda's record, under an id of its own.
    records = [event for _, event in api.noted() if isinstance(event, dict) and "requestPayload" in event]
    assert [(one["requestContext"]["requestId"], one["requestPayload"]) for one in records] == [
        (number, {"fails": "a"})
    ]
    (api.gateway.folder / "failing").unlink()
    api.letters("retry", str(api.queue), number)
    until(lambda: len(executed()) == 4, "it is executed again")
    assert executed() == [number] * 4
    until(lambda: not api.queue.joinpath("pending", number).exists(), "it is done and gone")
    assert api.letters("list", str(api.queue)) == ""


def test_who_listens_to_the_topic_of_dead_letters_gets_lambdas_record(api: Api) -> None:
    async def heard() -> tuple[str, Any]:
        async with aiomqtt.Client("127.0.0.1", api.broker) as client:
            await client.subscribe("dead/letters")
            answer = await asyncio.to_thread(
                lambda: api.client().invoke(
                    FunctionName="echo", InvocationType="Event", Payload=json.dumps({"fails": "b"})
                )
            )
            message = await asyncio.wait_for(anext(aiter(client.messages)), PATIENCE)
            assert isinstance(message.payload, bytes)
            return answer["ResponseMetadata"]["RequestId"], json.loads(message.payload)

    (api.gateway.folder / "failing").touch()
    number, record = asyncio.run(heard())
    (api.gateway.folder / "failing").unlink()
    assert (record["requestContext"]["requestId"], record["requestContext"]["condition"]) == (
        number,
        "RetriesExhausted",
    )
    assert (record["requestPayload"], record["responsePayload"]["errorMessage"]) == ({"fails": "b"}, "not yet")


def test_an_event_that_was_accepted_outlives_the_process(gateway: Gateway, tmp_path: Path) -> None:
    with gateway.holding(), running_api(gateway, tmp_path / "api", []) as first:
        answer = first.client().invoke(
            FunctionName="echo", InvocationType="Event", Payload=json.dumps({"held": str(tmp_path)})
        )
        number = answer["ResponseMetadata"]["RequestId"]
        until(lambda: first.noted_by(lambda event: event == {"held": str(tmp_path)}), "it is executed")
        first.process.kill()
        first.process.wait()
    with running_api(gateway, tmp_path / "api", []) as second:
        until(lambda: len(second.noted_by(lambda event: event == {"held": str(tmp_path)})) == 2, "it is executed again")
        assert set(second.noted_by(lambda event: event == {"held": str(tmp_path)})) == {number}
        until(lambda: not any((second.queue / "pending").iterdir()), "it is done and gone")


def test_a_request_whose_caller_does_not_wait_is_answered_by_a_callback(api: Api, callback: tuple[str, Any]) -> None:
    url, came = callback
    status, headers, _ = api.request(
        "POST",
        "/services/echo/a/b?c=d%20e",
        b"body",
        Prefer="respond-async",
        X_Hitless_Callback=f"{url}/done",
        X_Own="1",
    )
    number = headers["x-hitless-invocation-id"]
    assert (status, headers["location"]) == (202, f"/invocations/{number}")
    assert uuid.UUID(number)
    # The first answer of who is called back was an error: it is told again, with the same id.
    first, second = came.get(timeout=PATIENCE), came.get(timeout=PATIENCE)
    assert first == second
    assert (first[0], first[1]["x-hitless-invocation-id"], first[1]["x-hitless-status"]) == ("/done", number, "201")
    assert (first[1]["content-type"], base64.b64decode(first[2])) == ("text/x-own", b"body")
    ((_, noted),) = [one for one in api.noted() if isinstance(one[1], list)]
    assert noted == ["POST", "/a/b", "c=d%20e", number, "1"]

    def known() -> dict[str, Any]:
        document: dict[str, Any] = json.loads(api.request("GET", headers["location"])[2])
        return document

    until(lambda: known()["callback"] == "delivered", "it is known to be told")
    assert (known()["state"], known()["status"]) == ("succeeded", 201)
    status, _, body = api.request("GET", f"{headers['location']}/result")
    assert (status, body) == (200, first[2])


def test_who_asks_for_a_callback_to_elsewhere_or_wants_to_wait_is_refused(api: Api) -> None:
    elsewhere = {"Prefer": "respond-async", "X_Hitless_Callback": "http://169.254.169.254/"}
    assert api.request("POST", "/services/echo/", b"", **elsewhere)[0] == 403
    status, _, body = api.request("POST", "/services/echo/", b"")
    assert status == 400
    assert b"respond-async" in body
    assert api.request("POST", "/services/other/", b"", Prefer="respond-async")[0] == 404
    assert api.request("GET", f"/invocations/{uuid.uuid4()}")[0] == 404


def test_nobody_without_the_key_makes_an_event(gateway: Gateway) -> None:
    for body in (MAGIC, MAGIC + bytes(200)):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
        connection.request("POST", "/", body)
        assert connection.getresponse().status == 403
        assert gateway.call(body).status == 403


def test_a_service_of_the_invocation_protocol_is_called_as_well(gateway: Gateway) -> None:
    place = CalledAt(service_id=SERVICE_ID, address="127.0.0.1", port=gateway.port, protocol="udp")
    function = Function("echo", "org.example.Echo", None, place)

    async def both() -> tuple[Reply, Reply]:
        async with Caller(KEY, PATIENCE) as caller:
            with pytest.raises(TooLongError):
                await caller.event(function, Invoked("r"), bytes(4 << 20), again=True)
            event = await caller.event(function, Invoked("r"), b'{"do": "udp"}', again=True)
            return event, await caller.event(function, Invoked("r", version="2"), b"{}", again=False)

    event, other = asyncio.run(both())
    assert (event.status, json.loads(event.body)["id"], other.status) == (200, "r", 404)


def test_the_command_says_what_is_wrong_with_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text("queue: q\ninvoke_key: k\nlisten: {address: 10.0.0.1}\nretrys: [1]\n")
    command = [sys.executable, "-m", "controller", "lambda-api", str(tmp_path / "api.yaml")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 1
    assert "api.yaml:4: retrys" in ended.stderr
