"""Lambda's Runtime API: functions that are programs of their own, in any language, behind the worker protocol."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.bench.runtimes import REVERSE
from experiments.native.compiling import compile_program
from hitless.wire.worker_frames import (
    Cancel,
    End,
    HttpHead,
    Invoked,
    Ready,
    Response,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    Shutdown,
)
from tests.hitless.gateway import BOOTSTRAPS, Connection, Runtime, listening, runtime, start
from tests.patience import until

STREAMS = f'#!/bin/sh\nexec {sys.executable} -E "$LAMBDA_TASK_ROOT/streams.py"\n'
NEXT = 'curl -s "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"'
ECHO = """
function handler () {
  EVENT_DATA=$1
  echo "$EVENT_DATA" 1>&2;
  RESPONSE="Echoing request: '$EVENT_DATA'"
  echo $RESPONSE
}
"""
OF_AWS = """
import logging

def handler(event, context):
    if "rawPath" not in event:
        return [event, context.aws_request_id, context.client_context.custom]
    logging.getLogger().error("asked for %s", event["rawPath"])
    if event["rawPath"] == "/raise":
        raise LookupError("nobody is here")
    left = context.get_remaining_time_in_millis()
    return {"statusCode": 201, "cookies": ["a=1", "b=2"], "headers": {"X-A": "1"}, "isBase64Encoded": True,
            "body": __import__("base64").b64encode(f"{context.aws_request_id} {context.invoked_function_arn} "
            f"{context.memory_limit_in_mb} {300_000 < left <= 400_000}".encode()).decode()}
"""
NODE = """
export async function handler(event, context) {
  switch (event.rawPath) {
    case "/raise": throw new TypeError("nobody is here");
    case "/die": process.exit(7);
  }
  const left = context.getRemainingTimeInMillis();
  return {
    statusCode: 201, headers: { "X-Node": process.version }, cookies: ["a=1", "b=2"],
    body: JSON.stringify({ id: context.awsRequestId, name: context.functionName, left, said: event.body,
                           pid: process.pid }),
  };
}
"""
with_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js (Debian's package nodejs)")


def install(folder: Path, bootstrap: str) -> None:
    (folder / "bootstrap").write_text(bootstrap)
    (folder / "bootstrap").chmod(0o755)


@contextmanager
def function(folder: Path, bootstrap: str, handler: str = "function.handler") -> Iterator[Runtime]:
    """A function of this bootstrap's text, warm."""
    install(folder, bootstrap)
    with runtime(handler, folder, folder, "--bootstrap", "bootstrap") as running:
        yield running


@contextmanager
def function_in_parts(folder: Path) -> Iterator[Runtime]:
    shutil.copy(BOOTSTRAPS / "streams.py", folder)
    with function(folder, STREAMS) as running:
        yield running


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Runtime]:
    with function_in_parts(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """For tests that leave it as it was."""
    with function_in_parts(tmp_path_factory.mktemp("kept")) as running:
        yield running


def ask(worker: Connection, path: str, **headers: str) -> Response:
    return worker.call(http=HttpHead("GET", path, headers=headers), deadline_ms=400_000)


def parts(worker: Connection, path: str) -> tuple[ResponseHead, bytes, str]:
    """An answer that comes in parts: its head, its body, and why it is not complete."""
    worker.request(http=HttpHead("GET", path))
    head = worker.receive()
    assert isinstance(head, ResponseHead)
    body = b""
    while isinstance(frame := worker.receive(), ResponseBody):
        body += frame.data
    assert isinstance(frame, ResponseEnd)
    return head, body, frame.failure


def alive(pid: int) -> bool:
    """Whether a process runs, or ever will again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_shell_script_of_the_tutorial(tmp_path: Path) -> None:
    (tmp_path / "function.sh").write_text(ECHO)
    with function(tmp_path, (BOOTSTRAPS / "tutorial").read_text()) as running:
        for path in ("/one", "/two"):
            answer = ask(running.worker, path)
            assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
            assert answer.body.startswith(b"Echoing request: '{") and f'"rawPath": "{path}"'.encode() in answer.body


def test_a_program_in_c(tmp_path: Path) -> None:
    compile_program(tmp_path, "bootstrap", REVERSE)
    with runtime("bootstrap", tmp_path, tmp_path, "--bootstrap", "bootstrap") as running:
        for said, heard in ((b"stressed", b"desserts"), (b"", b"")):
            answer = running.worker.call(said, http=HttpHead("POST", "/", headers={"content-type": "text/plain"}))
            assert (answer.status, answer.body, answer.headers["content-type"]) == (200, heard, "text/plain")


def test_awss_runtime_for_python(tmp_path: Path) -> None:
    (tmp_path / "function.py").write_text(OF_AWS)
    with function(tmp_path, f'#!/bin/sh\nexec {sys.executable} -m awslambdaric "$_HANDLER"\n') as running:
        answer = ask(running.worker, "/")
        assert (answer.status, answer.headers["x-a"], answer.headers["set-cookie"]) == (201, "1", "a=1\nb=2")
        request_id, arn, memory, in_time = answer.body.decode().split()
        assert uuid.UUID(request_id) and arn.endswith(":function:org.Test") and (memory, in_time) == ("256", "True")
        answer = ask(running.worker, "/raise")
        said = json.loads(answer.body)
        assert (answer.status, said["errorType"], said["errorMessage"]) == (500, "LookupError", "nobody is here")
        invoked = running.worker.call(b'{"a": "\xc3\xbc"}', invoked=Invoked("r1", '{"custom": {"b": 1}}'))
        assert (invoked.status, json.loads(invoked.body)) == (200, [{"a": "ü"}, "r1", {"b": 1}])
        assert json.loads(running.worker.call(b"7", invoked=Invoked("r2")).body)["stackTrace"]
        running.process.terminate()
        code, errors = running.end()
        assert code == 0 and f'[ERROR] LookupError: nobody is here\n  File "{tmp_path}/function.py"' in errors
        assert f"RequestId: {said['requestId']}" in errors and "Traceback" not in errors


@with_node
def test_a_bootstrap_in_node(tmp_path: Path) -> None:
    (tmp_path / "function.mjs").write_text(NODE)
    with function(tmp_path, (BOOTSTRAPS / "node.js").read_text()) as running:
        worker = running.worker
        answer = worker.call(
            '"zwölf"'.encode() * 1000, http=HttpHead("POST", "/", headers={"content-type": "application/json"})
        )
        seen = json.loads(answer.body)
        assert (answer.status, answer.headers["set-cookie"], seen["name"]) == (201, "a=1\nb=2", "org.Test")
        assert seen["said"] == '"zwölf"' * 1000 and uuid.UUID(seen["id"]) and seen["left"] > 0
        answer = ask(worker, "/raise")
        assert answer.status == 500 and json.loads(answer.body)["errorType"] == "TypeError"
        assert json.loads(ask(worker, "/").body)["pid"] == seen["pid"], "an error ends no process"
        worker.request(http=HttpHead("GET", "/die"))
        assert worker.receive() is None
        assert ask(running.warm_worker(), "/").status == 201
        running.process.terminate()
        code, errors = running.end()
        assert code == 0 and "bootstrap exited with code 7" in errors.replace(f"{tmp_path}/", "")


def test_a_bootstrap_that_cannot_begin_says_why(tmp_path: Path) -> None:
    said = '{"errorType": "Shop.NoDatabase", "errorMessage": "it is away", "stackTrace": ["  at the shop"]}'
    install(
        tmp_path, f"#!/bin/sh\ncurl -sd '{said}' http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/init/error\nexit 4\n"
    )
    with listening(tmp_path / "sock") as listener:
        running = Runtime(start("function.handler", tmp_path, tmp_path / "sock", "--bootstrap", "bootstrap"), listener)
        running.accept()
        code, errors = running.end()
    assert code == 1 and errors.count("bootstrap: Shop.NoDatabase: it is away\n  at the shop\n") == 3
    assert "3 workers in a row ended" in errors and "Traceback" not in errors


def test_what_an_invocation_says_beside_its_event(kept: Runtime) -> None:
    before = time.time() * 1000
    headers = json.loads(ask(kept.worker, "/", **{"x-amzn-trace-id": "Root=1-5"}).body)["headers"]
    assert uuid.UUID(headers["Lambda-Runtime-Aws-Request-Id"]) and headers["Lambda-Runtime-Trace-Id"] == "Root=1-5"
    assert headers["Lambda-Runtime-Invoked-Function-Arn"].endswith(":function:org.Test")
    assert 0 < int(headers["Lambda-Runtime-Deadline-Ms"]) - before - 300_000 <= 100_000 + time.time() * 1000 - before
    headers = json.loads(ask(kept.worker, "/").body)["headers"]
    assert "Lambda-Runtime-Trace-Id" not in headers and "Lambda-Runtime-Client-Context" not in headers


def test_answers_in_parts(streams: Runtime) -> None:
    worker = streams.worker
    head, body, failure = parts(worker, "/head")
    assert (head.status, head.headers["x-a"], head.headers["set-cookie"]) == (201, "1", "a=1\nb=2")
    assert (body, failure) == (b"one two", "")
    head, body, failure = parts(worker, "/plain")
    assert (head.status, head.headers["content-type"]) == (200, "application/octet-stream")
    assert (body, failure) == (b"plain", "")
    assert parts(worker, "/broken")[1:] == (b"half", "Trouble: half way")
    _, body, failure = parts(worker, "/cut")
    assert body == b"half" and failure.startswith("Runtime.TruncatedResponse")
    assert ask(worker, "/headless").status == 502
    assert ask(worker, "/").status == 200
    streams.process.terminate()
    code, errors = streams.end()
    assert code == 0 and "Trouble: half way" in errors and "Traceback" not in errors


def test_an_answer_whose_client_has_gone_is_cut_off_and_the_runtime_goes_on(kept: Runtime) -> None:
    worker = kept.worker
    pid = json.loads(ask(worker, "/").body)["pid"]
    request = worker.request(http=HttpHead("GET", "/endless"))
    worker.receive()
    worker.send(Cancel(request.id))
    while isinstance(frame := worker.receive(), ResponseBody):
        pass
    assert isinstance(frame, ResponseEnd)
    assert json.loads(ask(worker, "/").body)["pid"] == pid


@pytest.mark.parametrize("path", ["/crash", "/doomed"])
def test_a_bootstrap_that_ends_itself_after_an_error_gets_no_further_request(streams: Runtime, path: str) -> None:
    """AWS's runtime for Node does, when it meets an exception that nobody has caught, or a broken connection."""
    worker = streams.worker
    request = worker.request(http=HttpHead("GET", path))
    if path == "/doomed":
        worker.receive()
        worker.send(Cancel(request.id))
        while isinstance(frame := worker.receive(), ResponseBody):
            pass
        assert isinstance(frame, ResponseEnd)
    else:
        answer = worker.receive()
        assert isinstance(answer, Response) and json.loads(answer.body)["errorType"] == "Crash"
    with pytest.raises(BrokenPipeError):  # so the gateway gives it to another
        worker.request()
    assert worker.receive() is None
    assert ask(streams.warm_worker(), "/").status == 200


def test_bodies_as_they_come_are_not_for_bootstraps(kept: Runtime) -> None:
    kept.worker.configure(streamed=True)
    answer = ask(kept.worker, "/")
    kept.worker.configure()
    assert answer.status == 500 and "`streamed: true`" in json.loads(answer.body)["errorMessage"]


@pytest.mark.parametrize("how", ["shutdown", "sigterm"])
def test_the_invocation_in_hand_is_finished(streams: Runtime, tmp_path: Path, how: str) -> None:
    worker = streams.worker
    pid = json.loads(ask(worker, "/").body)["pid"]
    assert os.getpgid(pid) == worker.hello.pid, "a signal to the component's processes is not for it"
    sent = worker.request(http=HttpHead("GET", "/slow"))
    if how == "shutdown":
        worker.send(Shutdown())
        streams.supervisor.send(Shutdown())
    else:
        streams.process.send_signal(signal.SIGTERM)
    answer = worker.receive()
    assert isinstance(answer, Response) and (answer.id, answer.body) == (sent.id, b"slept")
    assert streams.end() == (0, "") and not alive(pid) and (tmp_path / "left in order").exists()


def test_a_bootstrap_that_ends_costs_its_own_request(streams: Runtime) -> None:
    worker = streams.worker
    for path in ("/die", "", "/die"):  # in a request, and without one
        if path:
            worker.request(http=HttpHead("GET", path))
        else:
            os.kill(json.loads(ask(worker, "/").body)["pid"], signal.SIGSEGV)
        assert worker.receive() is None
        worker = streams.warm_worker()
    assert ask(worker, "/").status == 200
    streams.process.terminate()
    code, errors = streams.end()
    assert code == 0 and "bootstrap was ended by SIGSEGV" in errors and "exited with code 3: starting another" in errors


def test_a_worker_that_is_stuck_is_killed_with_all_that_its_bootstrap_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    with function(
        tmp_path, f"#!/bin/sh\n{NEXT}\nsleep 1000 &\necho $! > {child}.new; mv {child}.new {child}\nwait\n"
    ) as running:
        running.worker.request()
        until(child.exists, "the bootstrap has its invocation")
        running.supervisor.send(End(running.worker.hello.pid))
        assert running.worker.receive() is None
        until(lambda: not alive(int(child.read_text())), "what it started has ended")
        running.warm_worker()


def test_a_bootstrap_that_never_asks(tmp_path: Path) -> None:
    install(tmp_path, "#!/bin/sh\nexit 4\n")
    with listening(tmp_path / "sock") as listener:
        running = Runtime(start("function.handler", tmp_path, tmp_path / "sock", "--bootstrap", "bootstrap"), listener)
        running.accept()
        code, errors = running.end()
    assert code == 4 and f"bootstrap {tmp_path}/bootstrap exited with code 4" in errors and "giving up" in errors


def test_a_bootstrap_is_warm_when_it_asks_and_has_done_its_warm_up(tmp_path: Path) -> None:
    shutil.copy(BOOTSTRAPS / "streams.py", tmp_path)
    install(tmp_path, f"#!/bin/sh\ntouch {tmp_path}/started\n{STREAMS}")
    with listening(tmp_path / "sock") as listener:
        running = Runtime(start("function.handler", tmp_path, tmp_path / "sock", "--bootstrap", "bootstrap"), listener)
        running.accept(2)
        assert (tmp_path / "started").exists()
        running.worker.configure(warm_up={"rawPath": "/warm"})
        assert isinstance(running.worker.receive(), Ready)
        running.process.terminate()
        assert running.end() == (0, "")


@pytest.mark.parametrize(
    ("mode", "options", "complaint"),
    [
        (0o644, ["--bootstrap", "bootstrap"], "Permission: {Execute: OWNER}"),
        (0o755, ["--bootstrap", "other"], "other: there is no such file"),
    ],
)
def test_what_cannot_be_started_is_told(tmp_path: Path, mode: int, options: list[str], complaint: str) -> None:
    install(tmp_path, "#!/bin/sh\n")
    (tmp_path / "bootstrap").chmod(mode)
    with listening(tmp_path / "sock") as listener:
        running = Runtime(start("function.handler", tmp_path, tmp_path / "sock", *options), listener)
        running.accept()
        code, errors = running.end()
    assert code == 1 and complaint in errors and "Traceback" not in errors


@pytest.mark.root("needs root to be another user")
def test_other_users_processes_are_refused(streams: Runtime) -> None:
    api = json.loads(ask(streams.worker, "/").body)["api"]
    url = f"http://{api}/2018-06-01/runtime/invocation/next"
    as_nobody = ["setpriv", "--reuid", "65534", "--clear-groups"]
    done = subprocess.run(
        [*as_nobody, "curl", "-sS", "--max-time", "5", url], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and done.stdout == ""
    assert ask(streams.worker, "/").status == 200
    streams.process.terminate()
    assert "refused a connection of a process of user 65534" in streams.end()[1]
