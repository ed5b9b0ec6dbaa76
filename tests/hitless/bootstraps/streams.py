"""A bootstrap whose answers come in parts, as AWS's Node runtime sends them: chunked, errors in the trailers."""

import base64
import json
import os
import signal
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import NoReturn

API = "/2018-06-01/runtime/invocation"
WITH_HEAD = "application/vnd.awslambda.http-integration-response"
api = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def begin(request_id: str, kind: str = "text/plain") -> None:
    api.putrequest("POST", f"{API}/{request_id}/response")
    api.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    api.putheader("Transfer-Encoding", "chunked")
    api.putheader("Content-Type", kind)
    api.putheader("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body")
    api.endheaders()


def part(data: bytes) -> None:
    api.send(b"%x\r\n%s\r\n" % (len(data), data))


def end(trailers: str = "") -> None:
    api.send(f"0\r\n{trailers}\r\n".encode())
    assert api.getresponse().read()


def answer(request_id: str, value: object) -> None:
    api.request("POST", f"{API}/{request_id}/response", json.dumps(value))
    api.getresponse().read()


def leave(*_: object) -> NoReturn:
    time.sleep(0.05)
    Path(os.environ["LAMBDA_TASK_ROOT"], "left in order").touch()
    sys.exit()


signal.signal(signal.SIGTERM, leave)
while True:
    api.request("GET", f"{API}/next")
    given = api.getresponse()
    event, now = json.load(given), given.headers["Lambda-Runtime-Aws-Request-Id"]
    match event["rawPath"]:
        case "/head":
            begin(now, WITH_HEAD)
            head = json.dumps({"statusCode": 201, "headers": {"X-A": "1"}, "cookies": ["a=1", "b=2"]}).encode()
            for one in (head[:9], head[9:] + bytes(3), bytes(5) + b"one ", b"two"):
                part(one)
            end()
        case "/headless":
            begin(now, WITH_HEAD)
            part(b"no JSON" + bytes(8))
            end()
        case "/plain":
            begin(now)
            part(b"plain")
            end()
        case "/broken":
            begin(now)
            part(b"half")
            said = base64.b64encode(json.dumps({"errorType": "Trouble", "errorMessage": "half way"}).encode()).decode()
            end(f"Lambda-Runtime-Function-Error-Type: Trouble\r\nLambda-Runtime-Function-Error-Body: {said}\r\n")
        case "/cut":
            begin(now)
            part(b"half")
            api.close()
        case "/endless" | "/doomed":
            begin(now)
            try:
                while True:
                    part(b"x" * 1000)
                    time.sleep(0.001)
            except OSError:
                if event["rawPath"] == "/doomed":
                    sys.exit(3)
                api.close()
        case "/die":
            sys.exit(3)
        case "/crash":
            api.request("POST", f"{API}/{now}/error", json.dumps({"errorType": "Crash", "errorMessage": "at last"}))
            api.getresponse().read()
            sys.exit(3)
        case "/slow":
            time.sleep(0.5)
            answer(now, "slept")
        case _:
            answer(
                now, {"api": os.environ["AWS_LAMBDA_RUNTIME_API"], "pid": os.getpid(), "headers": dict(given.headers)}
            )
